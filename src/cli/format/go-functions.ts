import { displayWidth } from '../../progress/width';
import { compareTexts, goJson, goQuote, goString, goType, isTrue, type GoValue } from './go-value';

/**
 * A function of the template language. `apply` throws a TypeError or RangeError with what is wrong
 * with the arguments.
 */
export interface TemplateFunction {
  readonly min: number;
  /** Absent: any number. */
  readonly max?: number | undefined;
  readonly apply: (args: readonly GoValue[]) => GoValue;
}

/** The message for a call with too few or too many arguments. */
export function wrongCount(name: string, { min, max }: TemplateFunction, got: number): string {
  return `wrong number of args for ${name}: want ${max === min ? min : `at least ${min}`} got ${got}`;
}

/**
 * Go's functions (text/template, "Functions") and docker's (cli/templates/templates.go). `and` and
 * `or` are listed for their names; the interpreter evaluates them itself, for they do not evaluate
 * all of their arguments.
 */
export const builtins: Readonly<Record<string, TemplateFunction>> = {
  and: { min: 1, apply: ([first]) => first },
  or: { min: 1, apply: ([first]) => first },
  not: fixed(1, ([value]) => !isTrue(value)),
  len: fixed(1, ([value]) => length(value)),
  index: { min: 1, apply: ([value, ...keys]) => keys.reduce(indexOnce, value) },
  slice: { min: 1, max: 4, apply: slice },
  print: { min: 0, apply: print },
  println: { min: 0, apply: (args) => `${args.map(goString).join(' ')}\n` },
  printf: { min: 1, apply: ([format, ...args]) => sprintf(text(format), args) },
  html: {
    min: 0,
    apply: (args) => print(args).replace(/[<>&'"\0]/g, (character) => HTML[character] ?? character),
  },
  js: {
    min: 0,
    apply: (args) =>
      print(args)
        .replace(/[\\'"<>&=]/g, (character) => JS[character] ?? character)
        .replace(/\n/g, '\\u000A'),
  },
  urlquery: {
    min: 0,
    apply: (args) =>
      encodeURIComponent(print(args))
        .replace(/%20/g, '+')
        .replace(
          /[!'()*]/g,
          (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
        ),
  },
  call: {
    min: 1,
    apply: ([value]) => {
      throw new TypeError(`non-function of type ${goType(value)}`);
    },
  },
  eq: { min: 1, apply: ([first, ...others]) => compared(others, (other) => same(first, other)) },
  ne: fixed(2, ([a, b]) => !same(a, b)),
  lt: fixed(2, ([a, b]) => order(a, b) < 0),
  le: fixed(2, ([a, b]) => order(a, b) <= 0),
  gt: fixed(2, ([a, b]) => order(a, b) > 0),
  ge: fixed(2, ([a, b]) => order(a, b) >= 0),
  json: fixed(1, ([value]) => goJson(value)),
  split: fixed(2, ([value, separator]) => text(value).split(text(separator))),
  join: fixed(2, ([values, separator]) => list(values).map(goString).join(text(separator))),
  title: fixed(1, ([value]) =>
    text(value).replace(
      /(^|[^\p{L}\p{N}_'])(\p{L})/gu,
      (_, before: string, letter: string) => before + letter.toUpperCase(),
    ),
  ),
  lower: fixed(1, ([value]) => text(value).toLowerCase()),
  upper: fixed(1, ([value]) => text(value).toUpperCase()),
  pad: fixed(3, ([value, before, after]) =>
    text(value) === '' ? '' : ' '.repeat(count(before)) + text(value) + ' '.repeat(count(after)),
  ),
  truncate: fixed(2, ([value, size]) => [...text(value)].slice(0, count(size)).join('')),
};

const HTML: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '&': '&amp;',
  "'": '&#39;',
  '"': '&#34;',
  '\0': '\ufffd',
};
const JS: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
  '<': '\\u003C',
  '>': '\\u003E',
  '&': '\\u0026',
  '=': '\\u003D',
};

function fixed(size: number, apply: TemplateFunction['apply']): TemplateFunction {
  return { min: size, max: size, apply };
}

function length(value: GoValue): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  throw new TypeError(
    value === undefined || value === null ? 'len of nil pointer' : `len of type ${goType(value)}`,
  );
}

function indexOnce(value: GoValue, key: GoValue): GoValue {
  if (value instanceof Map) return value.has(key) ? value.get(key) : zeroOf(value);
  if (!Array.isArray(value) && typeof value !== 'string')
    throw new TypeError(
      value === undefined || value === null
        ? 'index of untyped nil'
        : `can't index item of type ${goType(value)}`,
    );
  if (typeof key !== 'number')
    throw new TypeError(`cannot index slice/array with type ${goType(key)}`);
  if (key < 0 || key >= value.length) throw new RangeError(`index out of range: ${key}`);
  return typeof value === 'string' ? value.charCodeAt(key) : (value[key] as GoValue);
}

/** What Go gives for a key that a map does not have. */
function zeroOf(map: ReadonlyMap<unknown, unknown>): GoValue {
  return [...map.values()].every((item) => typeof item === 'string') ? '' : undefined;
}

function slice([value, ...bounds]: readonly GoValue[]): GoValue {
  if (typeof value !== 'string' && !Array.isArray(value))
    throw new TypeError(`can't slice item of type ${goType(value)}`);
  const [start = 0, end = value.length] = bounds.map(count);
  if (end > value.length || start > value.length)
    throw new RangeError(`index out of range: ${Math.max(start, end)}`);
  if (start > end) throw new RangeError(`invalid slice index: ${start} > ${end}`);
  return value.slice(start, end) as GoValue;
}

/** Go's Sprint: a space between operands of which neither is a string. */
function print(args: readonly GoValue[]): string {
  return args
    .map((arg, i) => {
      const spaced = i > 0 && typeof arg !== 'string' && typeof args[i - 1] !== 'string';
      return (spaced ? ' ' : '') + goString(arg);
    })
    .join('');
}

function same(a: GoValue, b: GoValue): boolean {
  if (typeof a !== typeof b && a !== undefined && b !== undefined && a !== null && b !== null)
    throw new TypeError('incompatible types for comparison');
  if (typeof a === 'object' && a !== null && typeof b === 'object' && b !== null)
    throw new TypeError('non-comparable type');
  return (a ?? undefined) === (b ?? undefined);
}

function compared(others: readonly GoValue[], test: (other: GoValue) => boolean): boolean {
  if (others.length === 0) throw new TypeError('missing argument for comparison');
  return others.some(test);
}

function order(a: GoValue, b: GoValue): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return compareTexts(a, b);
  throw new TypeError('incompatible types for comparison');
}

/**
 * Go's Printf: flags, width, precision and the verbs that make sense for strings, numbers, booleans
 * and lists.
 */
function sprintf(format: string, args: readonly GoValue[]): string {
  let next = 0;
  const result = format.replace(
    /%([-+# 0]*)(\d+)?(?:\.(\d+))?(.)/gs,
    (...match: [string, string, string | undefined, string | undefined, string]) => {
      const [, flags, width, precision, verb] = match;
      if (verb === '%') return '%';
      if (next >= args.length) return `%!${verb}(MISSING)`;
      const value = args[next];
      next += 1;
      const body = formatVerb(
        verb,
        value,
        flags,
        precision === undefined ? undefined : Number(precision),
      );
      const missing = ' '.repeat(
        Math.min(4096, Math.max(0, Number(width ?? 0) - displayWidth(body))),
      );
      if (flags.includes('-')) return body + missing;
      return flags.includes('0') && typeof value === 'number'
        ? zeroPadded(body, missing.length)
        : missing + body;
    },
  );
  const extra = args.slice(next).map((arg) => `${goType(arg)}=${goString(arg)}`);
  return extra.length === 0 ? result : `${result}%!(EXTRA ${extra.join(', ')})`;
}

function zeroPadded(body: string, zeros: number): string {
  return body.startsWith('-') ? `-${'0'.repeat(zeros)}${body.slice(1)}` : '0'.repeat(zeros) + body;
}

function formatVerb(
  verb: string,
  value: GoValue,
  flags: string,
  precision: number | undefined,
): string {
  const bad = `%!${verb}(${goType(value)}=${goString(value)})`;
  const signed = (body: string): string =>
    flags.includes('+') && typeof value === 'number' && value >= 0 ? `+${body}` : body;
  const upper = verb === verb.toUpperCase();
  switch (verb) {
    case 'v':
      return signed(goString(value));
    case 's':
      return typeof value === 'number' || typeof value === 'boolean'
        ? bad
        : cut(goString(value), precision);
    case 'q':
      return Array.isArray(value)
        ? `[${value.map((item) => goQuote(goString(item))).join(' ')}]`
        : goQuote(cut(goString(value), precision));
    case 'd':
      return typeof value === 'number' && Number.isInteger(value) ? signed(String(value)) : bad;
    case 'f':
    case 'F':
      return typeof value === 'number' ? signed(value.toFixed(Math.min(100, precision ?? 6))) : bad;
    case 'g':
      return typeof value === 'number' ? signed(String(value)) : bad;
    case 'e':
      return typeof value === 'number'
        ? signed(
            value.toExponential(Math.min(100, precision ?? 6)).replace(/e([+-])(\d)$/, 'e$10$2'),
          )
        : bad;
    case 'x':
    case 'X': {
      const hex = hexOf(value) ?? bad;
      return upper ? hex.toUpperCase() : hex;
    }
    case 'o':
    case 'b':
      return typeof value === 'number' ? value.toString(verb === 'o' ? 8 : 2) : bad;
    case 'c':
      return typeof value === 'number'
        ? String.fromCodePoint(Math.max(0, Math.min(value, 0x10ffff)))
        : bad;
    case 't':
      return typeof value === 'boolean' ? String(value) : bad;
    case 'T':
      return goType(value);
    default:
      return bad;
  }
}

function hexOf(value: GoValue): string | undefined {
  if (typeof value === 'number') return value.toString(16);
  return typeof value === 'string' ? Buffer.from(value).toString('hex') : undefined;
}

function cut(value: string, precision: number | undefined): string {
  return precision === undefined ? value : [...value].slice(0, precision).join('');
}

function text(value: GoValue): string {
  if (typeof value === 'string') return value;
  throw new TypeError(`wrong type for value; expected string; got ${goType(value)}`);
}

function list(value: GoValue): readonly GoValue[] {
  if (Array.isArray(value)) return value;
  throw new TypeError(`wrong type for value; expected []string; got ${goType(value)}`);
}

function count(value: GoValue): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 1e6)
    return value;
  throw new TypeError(`wrong type for value; expected int; got ${goType(value)}`);
}
