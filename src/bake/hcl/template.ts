import type { Reader } from './reader';
import { mistake, type Expression, type Span, type TemplatePart } from './syntax';

/** Reads the expression inside of `${…}`; handed in, since expressions hold templates in turn. */
type ReadExpression = (reader: Reader) => Expression;

/** A template in pieces, before directives are put together. */
type Token = Opening | Closing;

type Opening = { readonly span: Span } & (
  | { readonly kind: 'text'; readonly text: string }
  | ({ readonly kind: 'value'; readonly value: Expression } & Trims)
  | ({ readonly kind: 'if'; readonly condition: Expression } & Trims)
  | ({
      readonly kind: 'for';
      readonly keyName: string | undefined;
      readonly valueName: string;
      readonly collection: Expression;
    } & Trims)
);

type Closing = { readonly span: Span; readonly kind: 'else' | 'endif' | 'endfor' } & Trims;

/** `${~` and `~}`: white space before and after goes. */
interface Trims {
  readonly before: boolean;
  readonly after: boolean;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '"': '"',
  '\\': '\\',
};

/** Reads `"…"`. @throws MbuildError BAKE_INVALID. */
export function readQuoted(reader: Reader, read: ReadExpression): Expression {
  const start = reader.position;
  reader.position += 1;
  const tokens = readTokens(reader, {
    read,
    atEnd: () => reader.looksAt('"'),
    text: () => readQuotedText(reader, start),
  });
  reader.position += 1;
  return templateOf(tokens, reader.span(start));
}

/** Reads `<<WORD` or `<<-WORD` and its lines. @throws MbuildError BAKE_INVALID. */
export function readHeredoc(reader: Reader, read: ReadExpression): Expression {
  const start = reader.position;
  const opening = reader.match(/<<(-?)([\p{ID_Start}_][\p{ID_Continue}-]*)\r?\n/uy);
  if (opening === undefined) throw reader.unexpected('expected <<WORD and a line feed');
  const [, flush, word = ''] = opening;
  const closing = new RegExp(`[ \\t]*${word}(?=\\r?\\n|$)`, 'y');
  const atClosing = (): boolean => {
    closing.lastIndex = reader.position;
    return reader.text[reader.position - 1] === '\n' && closing.test(reader.text);
  };
  const tokens = readTokens(reader, {
    read,
    atEnd: atClosing,
    text: () => readHeredocText(reader, start, word),
  });
  reader.match(closing);
  return templateOf(flush === '' ? tokens : withoutIndent(tokens), reader.span(start));
}

/** A template out of the text of a JSON string: `text` is what JSON's escapes have left. */
export function readPlainTemplate(reader: Reader, read: ReadExpression): Expression {
  const start = reader.position;
  const tokens = readTokens(reader, {
    read,
    atEnd: () => reader.atEnd(),
    text: () => textUpTo(reader, /[^$%]+|[$%]/y),
  });
  return templateOf(tokens, reader.span(start));
}

interface Source {
  readonly read: ReadExpression;
  readonly atEnd: () => boolean;
  /** Reads text that does not begin with `${` or `%{`; at least one character. */
  readonly text: () => string;
}

function readTokens(reader: Reader, source: Source): Token[] {
  const tokens: Token[] = [];
  let text = '';
  let start = reader.position;
  const flush = (): void => {
    if (text !== '') tokens.push({ kind: 'text', text, span: reader.span(start) });
    text = '';
  };
  while (!source.atEnd()) {
    if (reader.looksAt('$${') || reader.looksAt('%%{')) {
      text += reader.text.slice(reader.position + 1, reader.position + 3);
      reader.position += 3;
    } else if (reader.looksAt('${') || reader.looksAt('%{')) {
      flush();
      tokens.push(readSequence(reader, source.read));
      start = reader.position;
    } else text += source.text();
  }
  flush();
  return tokens;
}

function readQuotedText(reader: Reader, start: number): string {
  const plain = reader.match(/[^"\\\n$%]+/y);
  if (plain !== undefined) return plain[0];
  if (reader.match(/[$%]/y) !== undefined) return reader.text[reader.position - 1] ?? '';
  if (!reader.looksAt('\\')) {
    const span = { file: reader.file, start, end: start + 1 };
    throw mistake(
      span,
      'this text has no closing quotation mark on its line',
      'use \\n for a line feed, or <<WORD for text of several lines',
    );
  }
  return readEscape(reader);
}

function readEscape(reader: Reader): string {
  const unicode = reader.match(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/y);
  if (unicode !== undefined) {
    const code = Number.parseInt(unicode[1] ?? unicode[2] ?? '', 16);
    if (code <= 0x10ffff) return String.fromCodePoint(code);
  }
  const escaped = ESCAPES[reader.text[reader.position + 1] ?? ''];
  if (escaped === undefined)
    throw reader.unexpected(
      'unknown escape: \\n, \\r, \\t, \\", \\\\, \\uNNNN and \\UNNNNNNNN are',
    );
  reader.position += 2;
  return escaped;
}

function readHeredocText(reader: Reader, start: number, word: string): string {
  if (reader.atEnd()) {
    const span = { file: reader.file, start, end: start + 2 + word.length };
    throw mistake(span, `this text has no end: no line "${word}" follows`);
  }
  return textUpTo(reader, /[^\n$%]*\n|[^\n$%]+|[$%]/y);
}

function textUpTo(reader: Reader, expression: RegExp): string {
  return reader.match(expression)?.[0] ?? '';
}

/** `${ value }` or a directive `%{ … }`. */
function readSequence(reader: Reader, read: ReadExpression): Token {
  const start = reader.position;
  const isValue = reader.looksAt('${');
  reader.position += 2;
  const before = reader.match(/~/y) !== undefined;
  const made = reader.bracketed(() => {
    const inner = isValue
      ? { kind: 'value' as const, value: read(reader) }
      : readDirective(reader, read);
    reader.skipSpace();
    return inner;
  });
  const after = reader.match(/~/y) !== undefined;
  if (!reader.looksAt('}')) throw reader.unexpected('expected "}" at the end of ${…}');
  reader.position += 1;
  return { ...made, before, after, span: reader.span(start) } as Token;
}

function readDirective(reader: Reader, read: ReadExpression): object {
  const word = reader.identifier();
  switch (word) {
    case 'if':
      return { kind: 'if', condition: read(reader) };
    case 'for': {
      const first = reader.identifier();
      const second = reader.take(',') ? reader.identifier() : undefined;
      if (first === undefined || !reader.keyword('in'))
        throw reader.unexpected('expected %{ for NAME in COLLECTION }');
      const keyName = second === undefined ? undefined : first;
      return { kind: 'for', keyName, valueName: second ?? first, collection: read(reader) };
    }
    case 'else':
    case 'endif':
    case 'endfor':
      return { kind: word };
    default:
      throw reader.unexpected('expected if, else, endif, for or endfor');
  }
}

function templateOf(tokens: readonly Token[], span: Span): Expression {
  const [only] = tokens;
  if (only === undefined) return { kind: 'literal', value: '', span };
  if (tokens.length === 1 && only.kind === 'text')
    return { kind: 'literal', value: only.text, span };
  if (tokens.length === 1 && only.kind === 'value')
    return { kind: 'wrapped', inner: only.value, span };
  const queue = trimmed(tokens);
  const parts = readParts(queue);
  const [rest] = queue;
  if (rest !== undefined) throw mistake(rest.span, `%{ ${rest.kind} } has no matching beginning`);
  return { kind: 'template', parts, span };
}

/** White space next to `${~` and `~}` is taken away. */
function trimmed(tokens: readonly Token[]): Token[] {
  return tokens.map((token, i) => {
    if (token.kind !== 'text') return token;
    const previous = tokens[i - 1];
    const next = tokens[i + 1];
    let { text } = token;
    if (previous !== undefined && previous.kind !== 'text' && previous.after)
      text = text.replace(/^\s+/, '');
    if (next !== undefined && next.kind !== 'text' && next.before) text = text.replace(/\s+$/, '');
    return { ...token, text };
  });
}

/** Takes parts off the queue up to a closing directive, which stays. */
function readParts(queue: Token[]): TemplatePart[] {
  const parts: TemplatePart[] = [];
  for (;;) {
    const [token] = queue;
    if (token === undefined || isClosing(token)) return parts;
    queue.shift();
    parts.push(readPart(token, queue));
  }
}

function isClosing(token: Token): token is Closing {
  return token.kind === 'else' || token.kind === 'endif' || token.kind === 'endfor';
}

function readPart(token: Opening, queue: Token[]): TemplatePart {
  switch (token.kind) {
    case 'text':
      return { kind: 'text', text: token.text };
    case 'value':
      return { kind: 'value', value: token.value };
    case 'if': {
      const yes = readParts(queue);
      const hasElse = queue[0]?.kind === 'else';
      if (hasElse) queue.shift();
      const no = hasElse ? readParts(queue) : [];
      closeDirective(queue, 'endif', token.span);
      return { kind: 'if', condition: token.condition, yes, no };
    }
    case 'for': {
      const parts = readParts(queue);
      closeDirective(queue, 'endfor', token.span);
      const { keyName, valueName, collection } = token;
      return { kind: 'for', keyName, valueName, collection, parts };
    }
  }
}

function closeDirective(queue: Token[], kind: 'endif' | 'endfor', opened: Span): void {
  if (queue.shift()?.kind !== kind) throw mistake(opened, `no %{ ${kind} } closes this`);
}

/** `<<-`: what all lines are indented by goes. */
function withoutIndent(tokens: readonly Token[]): Token[] {
  let atLineStart = true;
  let least = Infinity;
  const indents = (text: string): void => {
    for (const line of text.split(/(?<=\n)/)) {
      // Empty lines have no indent that would count.
      if (atLineStart && line.trim() !== '')
        least = Math.min(least, /^ */.exec(line)?.[0].length ?? 0);
      atLineStart = line.endsWith('\n');
    }
  };
  for (const token of tokens) {
    if (token.kind === 'text') indents(token.text);
    else {
      if (atLineStart) least = 0;
      atLineStart = false;
    }
  }
  atLineStart = true;
  return tokens.map((token) => {
    if (token.kind !== 'text') {
      atLineStart = false;
      return token;
    }
    const lines = token.text.split(/(?<=\n)/).map((line) => {
      const cut = atLineStart ? line.slice(indentOf(line, least)) : line;
      atLineStart = line.endsWith('\n');
      return cut;
    });
    return { ...token, text: lines.join('') };
  });
}

/** How many of the leading spaces go: an empty line may have fewer. */
function indentOf(line: string, most: number): number {
  return Math.min(most, /^ */.exec(line)?.[0].length ?? 0);
}
