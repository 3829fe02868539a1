import { MbuildError } from '../../diagnostics/error';
import type { GoValue } from './go-value';

/** A piece of a template: text outside of actions, or a word of one. */
export interface Token {
  readonly kind:
    'text' | 'open' | 'close' | 'field' | 'variable' | 'word' | 'string' | 'number' | 'punctuation';
  readonly text: string;
  readonly at: number;
  /** White space stands before it: `a .b` are two operands, `(a).b` is one. */
  readonly spaced: boolean;
}

/** Text, and between `{{` and `}}` tokens. Trim marks and comments have had their effect. */
export function tokenize(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let trim = false;
  for (;;) {
    const open = source.indexOf('{{', at);
    const end = open < 0 ? source.length : open;
    const trimRight = open >= 0 && /^\{\{-\s/.test(source.slice(open, open + 4));
    let text = source.slice(at, end);
    if (trim) text = text.trimStart();
    if (trimRight) text = text.trimEnd();
    if (text !== '') tokens.push({ kind: 'text', text, at, spaced: false });
    if (open < 0) return tokens;
    const start = open + 2 + (trimRight ? 2 : 0);
    const comment = /^\s*\/\*[^]*?\*\/\s*?(\s-)?\}\}/.exec(source.slice(start));
    if (comment !== null) {
      at = start + comment[0].length;
      trim = comment[1] !== undefined;
      continue;
    }
    tokens.push({ kind: 'open', text: '{{', at: open, spaced: false });
    ({ at, trim } = tokenizeAction(source, start, tokens));
  }
}

const TOKEN =
  /(\s*)(?:(-?\}\})|("(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)+')|(\$[\w]*)|(\.[A-Za-z_]\w*|\.(?!\d))|([+-]?(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+))|([A-Za-z_]\w*)|(:=|[=,|()]))/y;

/** What the groups of {@link TOKEN} are, from the third on. */
const KINDS = ['string', 'variable', 'field', 'number', 'word'] as const;

function tokenizeAction(
  source: string,
  start: number,
  tokens: Token[],
): { readonly at: number; readonly trim: boolean } {
  TOKEN.lastIndex = start;
  for (;;) {
    const from = TOKEN.lastIndex;
    const match = TOKEN.exec(source);
    if (match === null) throw badToken(source.slice(from));
    const [whole, space = '', close, string, variable, field, number, word] = match;
    const at = from + space.length;
    const token = { text: whole.slice(space.length), at, spaced: space !== '' };
    if (close !== undefined) {
      tokens.push({ ...token, kind: 'close' });
      return { at: TOKEN.lastIndex, trim: close.startsWith('-') && space !== '' };
    }
    const found = [string, variable, field, number, word].findIndex((part) => part !== undefined);
    tokens.push({ ...token, kind: KINDS[found] ?? 'punctuation' });
  }
}

function badToken(rest: string): MbuildError {
  const character = rest.trimStart()[0];
  if (character === undefined) return failure('unclosed action');
  if (character === '"') return failure('unterminated quoted string');
  if (character === '`') return failure('unterminated raw quoted string');
  return failure(`unexpected ${JSON.stringify(character)} in command`);
}

/** The value that a string, a number or a character constant stands for. */
export function literal(token: Token): GoValue {
  const { text } = token;
  if (token.kind === 'number') {
    const number = Number(text.replace(/_/g, ''));
    if (Number.isNaN(number)) throw failure(`bad number syntax: ${JSON.stringify(text)}`);
    return number;
  }
  if (text.startsWith('`')) return text.slice(1, -1);
  const value = unquote(text.slice(1, -1));
  return text.startsWith("'") ? (value.codePointAt(0) ?? 0) : value;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};

function unquote(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{3})|(.))/g,
    (...match: string[]) => unescaped(match.slice(1, 6)),
  );
}

function unescaped([hex, short, long, octal, other]: readonly (string | undefined)[]): string {
  const code = hex ?? short ?? long;
  if (code !== undefined) return String.fromCodePoint(Math.min(parseInt(code, 16), 0x10ffff));
  if (octal !== undefined) return String.fromCharCode(parseInt(octal, 8));
  return ESCAPES[other ?? ''] ?? other ?? '';
}

/** A token as Go's messages name it. */
export function describe(token: Token | undefined): string {
  if (token === undefined || token.kind === 'text') return 'EOF';
  return token.kind === 'close' ? '"}}"' : `<${token.text}>`;
}

/** An error in a template, with the message that docker prints. */
export function failure(message: string, place = ':1'): MbuildError {
  return new MbuildError('USAGE', `template parsing error: template: ${place}: ${message}`);
}
