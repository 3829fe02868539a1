import { toBool, toNumber, toText } from '../type';
import { formatNumber, toJson, type Value } from '../value';
import { refuse } from './define';

/** One verb: `%[1]-08.3f` */
const VERB = /%(?:\[(\d+)\])?([-+ 0#]*)(\d+)?(?:\.(\d+))?(.)/gsu;

interface Verb {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
}

const VERBS: Readonly<Record<string, (value: Value, verb: Verb) => string>> = {
  v: (value) => plain(value),
  s: (value, { precision }) => cut(toText(value), precision),
  q: (value, { precision }) => JSON.stringify(cut(toText(value), precision)),
  d: (value, verb) => signed(String(Math.trunc(toNumber(value))), verb),
  b: (value, verb) => signed(Math.trunc(toNumber(value)).toString(2), verb),
  o: (value, verb) => signed(Math.trunc(toNumber(value)).toString(8), verb),
  x: (value) => hex(value),
  X: (value) => hex(value).toUpperCase(),
  f: (value, verb) => signed(toNumber(value).toFixed(verb.precision ?? 6), verb),
  e: (value, verb) => signed(exponent(toNumber(value), verb), verb),
  E: (value, verb) => signed(exponent(toNumber(value), verb), verb).toUpperCase(),
  g: (value, verb) => signed(formatNumber(toNumber(value)), verb),
  t: (value) => String(toBool(value)),
};

/**
 * cty's `format`: Go's verbs for the values of HCL.
 * @throws MbuildError BAKE_INVALID without a place.
 */
export function formatText(pattern: string, values: readonly Value[]): string {
  let next = 0;
  const text = pattern.replace(VERB, (...found: readonly (string | undefined)[]) => {
    const [whole = '', index, flags = '', width, precision, letter = ''] = found;
    if (letter === '%') return '%';
    const write = VERBS[letter];
    if (write === undefined) throw refuse(`unknown verb ${whole}`);
    if (index !== undefined) next = Number(index) - 1;
    const value = values[next];
    if (value === undefined) throw refuse(`no value is given for ${whole}`);
    next += 1;
    const verb = { flags, width: Number(width ?? 0), precision: numberOf(precision) };
    return pad(write(value, verb), verb, letter);
  });
  if (next < values.length && !/%\[/.test(pattern))
    throw refuse(`${values.length} values are given, but only ${next} are used`);
  return text;
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function plain(value: Value): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number') return formatNumber(value);
  return JSON.stringify(toJson(value));
}

function cut(text: string, precision: number | undefined): string {
  return precision === undefined ? text : [...text].slice(0, precision).join('');
}

function hex(value: Value): string {
  if (typeof value === 'number') return Math.trunc(value).toString(16);
  return Buffer.from(toText(value)).toString('hex');
}

/** Go writes at least two digits of an exponent. */
function exponent(value: number, { precision }: Verb): string {
  return value.toExponential(precision ?? 6).replace(/e([+-])(\d)$/, 'e$10$2');
}

function signed(text: string, { flags }: Verb): string {
  if (text.startsWith('-')) return text;
  if (flags.includes('+')) return `+${text}`;
  return flags.includes(' ') ? ` ${text}` : text;
}

function pad(text: string, { flags, width }: Verb, letter: string): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes('-')) return text + ' '.repeat(missing);
  if (!flags.includes('0') || letter === 's' || letter === 'q' || letter === 'v')
    return ' '.repeat(missing) + text;
  const sign = /^[+\- ]?/.exec(text)?.[0] ?? '';
  return sign + '0'.repeat(missing) + text.slice(sign.length);
}
