import { toText } from '../linux/paths';
import type { RawPath } from '../linux/paths';

/** What a character of a path must be. A `literal` is one character, escapes are gone. */
type CharacterTest =
  | { readonly kind: 'literal'; readonly character: string }
  /** Anything but `/`. */
  | { readonly kind: 'any' }
  | {
      readonly kind: 'class';
      readonly negated: boolean;
      readonly ranges: readonly (readonly [from: string, to: string])[];
    };

/**
 * One step of a pattern: a character, or a stretch of any length. `many` holds no `/`; `folders` is
 * nothing, or anything that ends in `/`; `rest` is anything.
 */
type Token =
  | CharacterTest
  | { readonly kind: 'many' }
  | { readonly kind: 'folders' }
  | { readonly kind: 'rest' };

/** A compiled pattern: matches whole paths, in time bounded by path × pattern. */
export interface PathMatcher {
  matches(path: RawPath): boolean;
}

const META = /[*?[\\]/;

/**
 * True when `pattern` is more than a plain name: Go's filepath patterns
 * (https://pkg.go.dev/path/filepath#Match).
 */
export function hasMeta(pattern: string): boolean {
  return META.test(pattern);
}

/**
 * True for a source of COPY that is a pattern: a backslash takes the meaning off the character
 * behind it, as in BuildKit.
 */
export function hasWildcard(source: string): boolean {
  return /^(?:[^\\*?[]|\\[^])*[*?[]/.test(source);
}

/** A name without the backslashes that stand before wildcards and brackets. */
export function unquoted(name: string): string {
  return name.replace(/\\([*?[\]])/g, '$1');
}

/** What is wrong with a pattern, for a message; `undefined` when nothing is. */
export function globProblem(pattern: string): string | undefined {
  const tokens = tokenize(pattern, false);
  return typeof tokens === 'string' ? tokens : undefined;
}

/** What is wrong with a pattern for {@link compilePathPattern}; `undefined` when nothing is. */
export function pathPatternProblem(pattern: string): string | undefined {
  const tokens = tokenize(pattern, true);
  return globProblem(pattern) ?? (typeof tokens === 'string' ? tokens : undefined);
}

/**
 * Go's filepath.Match: `*` and `?` for characters other than `/`, `[a-z]`, `[^a]`, `\` before a
 * character that stands for itself. The whole name must match. A pattern that is none (see
 * {@link globProblem}) matches nothing.
 */
export function matchGlob(pattern: string, name: RawPath): boolean {
  if (!hasMeta(pattern)) return pattern === toText(name);
  const tokens = tokenize(pattern, false);
  return typeof tokens !== 'string' && matchTokens(tokens, charactersOf(name));
}

/**
 * Compiles a pattern as `.dockerignore`, `COPY --exclude` and `COPY --parents` have them:
 * filepath.Match, and `**` for any number of folders. The pattern must be clean (no `./`, `//` or
 * trailing slash) and valid (see {@link pathPatternProblem}). moby makes a regular expression of
 * it, so an escaped letter means what it means there: `\d` is a digit.
 */
export function compilePathPattern(pattern: string): PathMatcher {
  if (!hasMeta(pattern)) return { matches: (path) => toText(path) === pattern };
  const ends = plainEnds(pattern);
  if (ends !== undefined) return ends;
  const tokens = tokenize(pattern, true);
  return {
    matches:
      typeof tokens === 'string' ? () => false : (path) => matchTokens(tokens, charactersOf(path)),
  };
}

/**
 * `**` at one end of an otherwise plain pattern asks for an ending or a beginning, even within a
 * name: `**.log` is `*.log` at any depth.
 */
function plainEnds(pattern: string): PathMatcher | undefined {
  if (pattern.startsWith('**') && !hasMeta(pattern.slice(2))) {
    const suffix = pattern.slice(2);
    return {
      matches: (path) =>
        toText(path).endsWith(suffix) ||
        (suffix.startsWith('/') && toText(path) === suffix.slice(1)),
    };
  }
  if (pattern.endsWith('**') && !hasMeta(pattern.slice(0, -2))) {
    const prefix = pattern.slice(0, -2);
    return { matches: (path) => toText(path).startsWith(prefix) };
  }
  return undefined;
}

const DIGITS = [['0', '9']] as const;
const WORD = [...DIGITS, ['A', 'Z'], ['a', 'z'], ['_', '_']] as const;
const BLANK = [
  ['\t', '\n'],
  ['\f', '\r'],
  [' ', ' '],
] as const;

/**
 * Escaped letters in Go's regular expressions (https://pkg.go.dev/regexp/syntax), those that stand
 * for one character.
 */
const REGEXP_ESCAPES: Readonly<Record<string, CharacterTest | undefined>> = {
  d: { kind: 'class', negated: false, ranges: DIGITS },
  D: { kind: 'class', negated: true, ranges: DIGITS },
  w: { kind: 'class', negated: false, ranges: WORD },
  W: { kind: 'class', negated: true, ranges: WORD },
  s: { kind: 'class', negated: false, ranges: BLANK },
  S: { kind: 'class', negated: true, ranges: BLANK },
  a: { kind: 'literal', character: '\x07' },
  f: { kind: 'literal', character: '\f' },
  n: { kind: 'literal', character: '\n' },
  r: { kind: 'literal', character: '\r' },
  t: { kind: 'literal', character: '\t' },
  v: { kind: 'literal', character: '\v' },
};

/** The tokens of a pattern, or what is wrong with it. */
function tokenize(pattern: string, doubleStars: boolean): Token[] | string {
  const tokens: Token[] = [];
  const characters = [...pattern];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? '';
    if (character === '*') {
      const double = doubleStars && characters[i + 1] === '*';
      if (double) {
        i++;
        if (characters[i + 1] === '/') i++;
      }
      const token: Token = { kind: starKind(double, i + 1 === characters.length) };
      // Repeated stars are one: they would only multiply the work.
      if (tokens.at(-1)?.kind !== token.kind) tokens.push(token);
    } else if (character === '?') {
      tokens.push({ kind: 'any' });
    } else if (character === '[') {
      const read = readClass(characters, i);
      if (read === undefined) return 'a "[" has no "]", or a range in it has no end';
      tokens.push(read.token);
      i = read.last;
    } else {
      const isEscaped = character === '\\';
      const literal = isEscaped ? characters[++i] : character;
      if (literal === undefined) return 'a "\\" at the end has nothing to escape';
      const test =
        isEscaped && doubleStars && /[A-Za-z0-9]/.test(literal)
          ? REGEXP_ESCAPES[literal]
          : { kind: 'literal' as const, character: literal };
      if (test === undefined)
        return `"\\${literal}" is not a valid escape: write the letter without \\`;
      tokens.push(test);
    }
  }
  return tokens;
}

function starKind(isDouble: boolean, isLast: boolean): 'many' | 'rest' | 'folders' {
  if (!isDouble) return 'many';
  return isLast ? 'rest' : 'folders';
}

/** Reads `[^a-z\]]` at `start`; `last` is the index of its `]`. */
function readClass(
  characters: readonly string[],
  start: number,
): { token: Token; last: number } | undefined {
  let i = start + 1;
  const negated = characters[i] === '^';
  if (negated) i++;
  const ranges: [string, string][] = [];
  /** One character of the class; `]` and `-` only with an escape. */
  const readOne = (): string | undefined => {
    let character = characters[i++];
    if (character === '-' || character === ']') return undefined;
    if (character === '\\') character = characters[i++];
    return character;
  };
  while (characters[i] !== ']' || ranges.length === 0) {
    const from = readOne();
    let to = from;
    if (characters[i] === '-') {
      i++;
      to = readOne();
    }
    if (from === undefined || to === undefined || i >= characters.length) return undefined;
    ranges.push([from, to]);
  }
  return { token: { kind: 'class', negated, ranges }, last: i };
}

/** Follows all ways through the pattern at once, one character after another. */
function matchTokens(tokens: readonly Token[], characters: ArrayLike<string>): boolean {
  const end = tokens.length;
  let states = new Uint8Array(end + 1);
  open(tokens, states, 0);
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? '';
    const next = new Uint8Array(end + 1);
    let alive = false;
    for (let state = 0; state < end; state++) {
      const token = tokens[state];
      if (!states[state] || token === undefined) continue;
      if (token.kind === 'many' || token.kind === 'rest' || token.kind === 'folders') {
        if (token.kind === 'many' && character === '/') continue;
        next[state] = 1;
        // `folders` may be left right behind a slash, the others anywhere.
        if (token.kind !== 'folders' || character === '/') open(tokens, next, state + 1);
        alive = true;
      } else if (fits(token, character)) {
        open(tokens, next, state + 1);
        alive = true;
      }
    }
    if (!alive) return false;
    states = next;
  }
  return states[end] === 1;
}

/** Marks a state, and those behind it that are reached over stretches that may be empty. */
function open(tokens: readonly Token[], states: Uint8Array, from: number): void {
  for (let state = from; ; state++) {
    states[state] = 1;
    const kind = tokens[state]?.kind;
    if (kind !== 'many' && kind !== 'rest' && kind !== 'folders') return;
  }
}

function fits(test: CharacterTest, character: string): boolean {
  switch (test.kind) {
    case 'literal':
      return test.character === character;
    case 'any':
      return character !== '/';
    case 'class':
      return (
        test.negated !== test.ranges.some(([from, to]) => from <= character && character <= to)
      );
  }
}

/** The characters (code points) of a path; ASCII paths, nearly all, are their own. */
function charactersOf(path: RawPath): ArrayLike<string> {
  const text = toText(path);
  return text === path ? path : [...text];
}
