import { MbuildError, type ErrorCode } from '../diagnostics/error';
import { parseShellPattern, removePrefix, removeSuffix, replacePattern } from './shell-pattern';
import type { ShellPattern } from './shell-pattern';
import { isSpace } from './whitespace';

/** What a variable is worth; `undefined` when it is not set. */
export type Lookup = (name: string) => string | undefined;

/** The escape character of the Dockerfile. */
export type Escape = '\\' | '`';

/** A word after expansion. */
export interface Expansion {
  readonly value: string;
  /** Variables that were asked for and are not set, each once, in order: for warnings. */
  readonly unmatched: readonly string[];
}

/** How a text is read. All default to false: a word of an instruction. */
export interface ExpandMode {
  /** Quotes are ordinary characters: bodies of heredocs. */
  readonly skipQuotes?: boolean;
  /** Quotes quote, and stay in the result. */
  readonly rawQuotes?: boolean;
  /** Escapes escape, and stay in the result. */
  readonly rawEscapes?: boolean;
  /** Variables that are not set stay as they are written. */
  readonly keepUnset?: boolean;
}

/**
 * Deeper nesting of `${x:-${y:-…}}` than any person writes; the reader calls itself for each level.
 */
const MAX_DEPTH = 200;

/**
 * Characters that variables may add to a text: values that are doubled line by line would fill the
 * memory.
 */
const MAX_GROWTH = 1024 * 1024;

/** What may have a meaning anywhere. */
const SPECIAL = /[$'"\\`]/;

// Read from a position on (`y`). Text without meaning is taken in one piece: in a word, up to what
// may end it; between double quotes.
const PLAIN = /[^$'"\\`}/\s\u0085]+/y;
const PLAIN_QUOTED = /[^$"\\`]+/y;
const PARTS = /[^\s\u0085]+|[\s\u0085]/g;
const NAME = /\p{Nd}+|[@*#?\-$!0]|[\p{L}\p{Nd}_]+/uy;

/**
 * Expands variables and takes quotes and escapes off, as BuildKit does for one word (Dockerfile
 * reference, "Environment replacement"): `$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?w} ${x?w}
 * ${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}`, nested. Spaces stay: the result is one word
 * whatever it holds.
 * @throws {MbuildError} DOCKERFILE_SYNTAX for an unclosed quote or brace, an unknown operator, and
 * `${x:?…}` of an unset x.
 */
export function expandWord(
  word: string,
  env: Lookup,
  escape: Escape,
  mode: ExpandMode = {},
): Expansion {
  // Most words have nothing to expand, and most files have thousands of words.
  return SPECIAL.test(word)
    ? expand(new WordReader(word, env, escape, mode))
    : { value: word, unmatched: [] };
}

/**
 * Expands like {@link expandWord}, then splits at unquoted spaces, those of values included:
 * `EXPOSE $PORTS`. Empty words fall away, even quoted ones, as in BuildKit.
 */
export function expandWords(
  text: string,
  env: Lookup,
  escape: Escape,
  mode: ExpandMode = {},
): string[] {
  const collector = new WordCollector();
  expand(new WordReader(text, env, escape, mode), collector);
  return collector.finish();
}

/**
 * Expands the body of an unquoted heredoc of COPY and ADD. Quotes stay; a backslash takes the
 * meaning off the next character and goes away, whatever escape character the file has chosen.
 */
export function expandHeredoc(content: string, env: Lookup): Expansion {
  return expandWord(content, env, '\\', { skipQuotes: true });
}

/**
 * A name or value of ENV, LABEL or ARG without its quotes and escapes; variables stay as written.
 */
export function unquote(word: string, escape: Escape): string {
  return expandWord(word, () => undefined, escape, { keepUnset: true }).value;
}

function expand(reader: WordReader, collector?: WordCollector): Expansion {
  try {
    return { value: reader.readAll(collector), unmatched: [...reader.unmatched] };
  } catch (error) {
    if (!(error instanceof ExpansionProblem)) throw error;
    throw new MbuildError(error.code, `cannot expand ${shortened(reader.text)}: ${error.message}`, {
      hint: error.hint,
    });
  }
}

function shortened(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
}

class ExpansionProblem extends Error {
  constructor(
    message: string,
    readonly hint?: string,
    readonly code: ErrorCode = 'DOCKERFILE_SYNTAX',
  ) {
    super(message);
  }
}

function tooLong(): ExpansionProblem {
  return new ExpansionProblem(
    `the result is more than ${MAX_GROWTH} characters longer`,
    'put long values into a file, and COPY the file',
    'LIMIT_EXCEEDED',
  );
}

/** Collects words: unquoted spaces end one, quoted text never does. */
class WordCollector {
  readonly words: string[] = [];
  private word = '';
  private open = false;

  addUnquoted(text: string): void {
    for (const [part] of text.matchAll(PARTS)) {
      if (!isSpace(part.charAt(0))) this.addQuoted(part);
      else if (this.open && this.word !== '') this.finish();
    }
  }

  addQuoted(text: string): void {
    this.word += text;
    this.open = true;
  }

  finish(): string[] {
    if (this.word !== '') this.words.push(this.word);
    this.word = '';
    this.open = false;
    return this.words;
  }
}

/** Reads a text from left to right, once. */
class WordReader {
  readonly unmatched = new Set<string>();
  private position = 0;
  private depth = 0;

  constructor(
    readonly text: string,
    private readonly env: Lookup,
    private readonly escape: Escape,
    private readonly mode: ExpandMode,
  ) {}

  /** The text as one word; a collector also gets the words that it falls into. */
  readAll(collector?: WordCollector): string {
    return this.readUntil(undefined, this.mode.rawEscapes ?? false, collector);
  }

  /** Reads up to `stop` (which is consumed), or to the end of the text when there is none. */
  private readUntil(
    stop: string | undefined,
    rawEscapes: boolean,
    collector?: WordCollector,
  ): string {
    let value = '';
    for (let character = this.peek(); character !== undefined; character = this.peek()) {
      if (character === stop) {
        this.position++;
        return value;
      }
      if (character === '$') {
        const expanded = this.readVariable();
        value += expanded;
        if (value.length > this.text.length + MAX_GROWTH) throw tooLong();
        collector?.addUnquoted(expanded);
      } else if (character === "'" && !this.mode.skipQuotes) {
        const quoted = this.readSingleQuotes();
        value += quoted;
        collector?.addQuoted(quoted);
      } else if (character === '"' && !this.mode.skipQuotes) {
        const quoted = this.readDoubleQuotes(rawEscapes);
        value += quoted;
        collector?.addQuoted(quoted);
      } else if (character === this.escape) {
        this.position++;
        // An escape at the very end stands for nothing.
        const escaped = (rawEscapes ? character : '') + (this.next() ?? '');
        value += escaped;
        if (escaped !== '') collector?.addQuoted(escaped);
      } else {
        const plain = this.read(PLAIN) || (this.next() ?? '');
        value += plain;
        collector?.addUnquoted(plain);
      }
    }
    if (stop !== undefined) throw new ExpansionProblem(`"${stop}" is missing in "\${…}"`);
    return value;
  }

  private readSingleQuotes(): string {
    return this.readQuotes("'", () => {
      const start = this.position;
      const end = this.text.indexOf("'", start);
      this.position = end < 0 ? this.text.length : end;
      return this.text.slice(start, this.position);
    });
  }

  private readDoubleQuotes(rawEscapes: boolean): string {
    return this.readQuotes('"', (character) => {
      if (character === '$') return this.readVariable();
      const plain = this.read(PLAIN_QUOTED);
      if (plain !== '') return plain;
      this.position++;
      if (character !== this.escape) return character;
      const next = this.peek();
      const kept = rawEscapes ? character : '';
      if (next === undefined) return kept;
      // Before anything but these, an escape character is an ordinary one.
      if (next !== '"' && next !== '$' && next !== this.escape) return kept + character;
      this.position++;
      return kept + next;
    });
  }

  /**
   * Reads from one quote to the next; `readOne` consumes and returns what lies between, piece by
   * piece.
   */
  private readQuotes(quote: '"' | "'", readOne: (character: string) => string): string {
    this.position++;
    let value = '';
    for (let character = this.peek(); character !== undefined; character = this.peek()) {
      if (character === quote) {
        this.position++;
        return this.mode.rawQuotes ? quote + value + quote : value;
      }
      value += readOne(character);
      if (value.length > this.text.length + MAX_GROWTH) throw tooLong();
    }
    throw new ExpansionProblem(
      `the closing ${quote === '"' ? 'double' : 'single'} quote is missing`,
    );
  }

  private readVariable(): string {
    this.position++;
    if (this.peek() !== '{') {
      const name = this.readName();
      if (name === '') return '$';
      return this.valueOf(name) ?? (this.mode.keepUnset ? `$${name}` : '');
    }
    if (this.depth >= MAX_DEPTH) throw new ExpansionProblem('variables are nested too deep');
    this.depth++;
    const value = this.readBraces();
    this.depth--;
    return value;
  }

  /** `{name}` or `{name operator word}`. */
  private readBraces(): string {
    this.position++;
    const first = this.peek();
    if (first === undefined) throw new ExpansionProblem('"}" is missing');
    if (first === '{' || first === '}' || first === ':')
      throw new ExpansionProblem('"${" needs the name of a variable');
    const name = this.readName();
    const operator = this.next();
    switch (operator) {
      case undefined:
        throw new ExpansionProblem('"}" is missing');
      case '}':
        return this.valueOf(name) ?? (this.mode.keepUnset ? `\${${name}}` : '');
      case '/':
        return this.readReplacement(name);
      case ':':
        return this.readDefault(name, this.next() ?? '', true);
      default:
        return this.readDefault(name, operator, false);
    }
  }

  /** `-w +w ?w #p %p` behind a name. With a colon before, an empty value counts as unset. */
  private readDefault(name: string, operator: string, colon: boolean): string {
    const written = (colon ? ':' : '') + operator;
    if (operator === '' || !'-+?#%'.includes(operator)) {
      throw new ExpansionProblem(
        `unknown operator "${written}" in "\${${name}${written}…}"`,
        'known operators are :- - :+ + :? ? # ## % %% / //',
      );
    }
    const isPattern = operator === '#' || operator === '%';
    if (isPattern && colon)
      throw new ExpansionProblem(
        `unknown operator "${written}" in "\${${name}${written}…}"`,
        `write \${${name}${operator}…}, without the colon`,
      );
    const word = this.readUntil('}', isPattern);
    const value = this.valueOf(name);
    if (value === undefined && this.mode.keepUnset) return `\${${name}${written}${word}}`;
    if (isPattern) return this.trimmed(operator, word, value ?? '');
    const missing = value === undefined || (colon && value === '');
    if (operator === '+') return missing ? '' : word;
    if (!missing) return value;
    if (operator === '-') return word;
    const state = value === undefined ? 'unset' : 'empty';
    throw new ExpansionProblem(
      `${name}: ${word === '' ? `is not allowed to be ${state}` : word}`,
      `give ${name} a value, e.g. with --build-arg ${name}=…`,
    );
  }

  private trimmed(operator: string, word: string, value: string): string {
    const longest = word.startsWith(operator);
    const pattern = this.pattern(longest ? word.slice(1) : word);
    return operator === '#'
      ? removePrefix(pattern, value, longest)
      : removeSuffix(pattern, value, longest);
  }

  private readReplacement(name: string): string {
    const all = this.peek() === '/';
    if (all) this.position++;
    const pattern = this.readUntil('/', true);
    const replacement = this.readUntil('}', true);
    const value = this.valueOf(name);
    if (value === undefined && this.mode.keepUnset)
      return `\${${name}/${all ? '/' : ''}${pattern}/${replacement}}`;
    // No pattern finds more than there are characters.
    const most = (all ? (value ?? '').length + 1 : 1) * replacement.length;
    if (most > 64 * MAX_GROWTH) throw tooLong();
    return replacePattern(this.pattern(pattern), value ?? '', replacement, all);
  }

  private pattern(text: string): ShellPattern {
    try {
      return parseShellPattern(text);
    } catch (error) {
      throw new ExpansionProblem(
        `unknown escape "${(error as RangeError).message}" in the pattern "${text}"`,
      );
    }
  }

  /** A name, a number, or one of the shell's special parameters; empty when none stands here. */
  private readName(): string {
    return this.read(NAME);
  }

  private valueOf(name: string): string | undefined {
    const value = this.env(name);
    if (value === undefined) this.unmatched.add(name);
    return value;
  }

  /** What a pattern finds at the position, consumed; else nothing. */
  private read(pattern: RegExp): string {
    pattern.lastIndex = this.position;
    const [found = ''] = pattern.exec(this.text) ?? [];
    this.position += found.length;
    return found;
  }

  private peek(): string | undefined {
    return this.position < this.text.length ? this.text.charAt(this.position) : undefined;
  }

  private next(): string | undefined {
    return this.position < this.text.length ? this.text.charAt(this.position++) : undefined;
  }
}
