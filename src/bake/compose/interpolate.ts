import { MbuildError } from '../../diagnostics/error';

/** What a name stands for; `undefined` where nothing has it. */
export type Lookup = (name: string) => string | undefined;

const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;

/**
 * Puts variables into a text: `$X`, `${X}`, `${X:-default}`, `${X-default}`, `${X:?message}`,
 * `${X?message}`, `${X:+other}`, `${X+other}`; `$$` is a dollar sign (Compose specification,
 * "Interpolation"). What is not set is an empty text.
 * @throws MbuildError BAKE_INVALID, without a place.
 */
export function interpolate(text: string, lookup: Lookup): string {
  if (!text.includes('$')) return text;
  let result = '';
  let position = 0;
  while (position < text.length) {
    const dollar = text.indexOf('$', position);
    if (dollar < 0) return result + text.slice(position);
    result += text.slice(position, dollar);
    const found = readVariable(text, dollar + 1, lookup);
    result += found.value;
    position = found.end;
  }
  return result;
}

interface Found {
  readonly value: string;
  /** Behind the variable. */
  readonly end: number;
}

function readVariable(text: string, at: number, lookup: Lookup): Found {
  if (text[at] === '$') return { value: '$', end: at + 1 };
  if (text[at] === '{') return readBraced(text, at + 1, lookup);
  const name = nameAt(text, at);
  if (name === undefined) throw invalid(text, 'write $$ for a dollar sign');
  return { value: lookup(name) ?? '', end: at + name.length };
}

function readBraced(text: string, at: number, lookup: Lookup): Found {
  const name = nameAt(text, at);
  const end = closingBrace(text, at);
  if (name === undefined || end < 0) throw invalid(text, 'the form is ${NAME} or ${NAME:-default}');
  const [, colon = '', operator, rest = ''] =
    /^(:?)([-?+])?(.*)$/s.exec(text.slice(at + name.length, end)) ?? [];
  const value = lookup(name);
  const isSet = value !== undefined && (colon === '' || value !== '');
  return { value: resolve(), end: end + 1 };

  function resolve(): string {
    const other = (): string => interpolate(rest, lookup);
    switch (operator) {
      case '-':
        return isSet ? value : other();
      case '+':
        return isSet ? other() : '';
      case '?':
        if (isSet) return value;
        throw new MbuildError('BAKE_INVALID', `the variable ${name ?? ''} is required: ${other()}`);
      default:
        if (colon + rest !== '') throw invalid(text, 'the form is ${NAME} or ${NAME:-default}');
        return value ?? '';
    }
  }
}

function nameAt(text: string, at: number): string | undefined {
  NAME.lastIndex = at;
  return NAME.exec(text)?.[0];
}

/** Defaults may hold variables in turn. */
function closingBrace(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i += 1) {
    if (text[i] === '{' && text[i - 1] === '$') depth += 1;
    if (text[i] === '}') depth -= 1;
    if (depth === 0) return i;
  }
  return -1;
}

function invalid(text: string, hint: string): MbuildError {
  return new MbuildError('BAKE_INVALID', `${JSON.stringify(text)} has an invalid variable`, {
    hint,
  });
}
