import { harmlessJson } from '../../diagnostics/visible';

/**
 * Values as Go's templates see them, in JavaScript: a plain object is a struct, a Map is a map, an
 * array a slice, `undefined` and `null` are nil. Numbers without a fraction are ints.
 */
export type GoValue = unknown;

/**
 * A value with a printed form of its own, such as a duration; `toJSON` gives what `json` prints.
 */
export interface Printable {
  goString(): string;
  toJSON(): unknown;
}

/** A nil slice: prints as `[]` and is `null` in JSON. */
export class NilSlice extends Array<never> {
  toJSON(): null {
    return null;
  }
}

/** A nil map: prints as `map[]` and is `null` in JSON. */
export class NilMap extends Map<string, never> {
  toJSON(): null {
    return null;
  }
}

export function isPrintable(value: GoValue): value is Printable {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { goString?: unknown }).goString === 'function'
  );
}

/** Go text/template, "Pipelines": false, 0, nil and whatever is empty count as false. */
export function isTrue(value: GoValue): boolean {
  if (value === undefined || value === null || value === false || value === 0 || value === '')
    return false;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  return true;
}

/** Go's `%v`. */
export function goString(value: GoValue): string {
  if (value === undefined || value === null) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(goString).join(' ')}]`;
  if (isPrintable(value)) return value.goString();
  if (value instanceof Map)
    return `map[${sortedEntries(value)
      .map(([key, item]) => `${key}:${goString(item)}`)
      .join(' ')}]`;
  if (typeof value === 'object') return `{${Object.values(value).map(goString).join(' ')}}`;
  return String(value);
}

/**
 * `json.Marshal`: maps sorted by key; `<`, `>` and `&` escaped when asked for, as Go does by
 * itself.
 */
export function goJson(
  value: GoValue,
  options: { readonly escapeHtml?: boolean; readonly indent?: number } = {},
): string {
  const text =
    JSON.stringify(
      value,
      (_, item: unknown) => (item instanceof Map ? Object.fromEntries(sortedEntries(item)) : item),
      options.indent,
    ) ?? 'null';
  const safe = harmlessJson(text);
  return options.escapeHtml === true ? safe.replace(/[<>&]/g, escapeUnicode) : safe;
}

/** Go's `%q`. */
export function goQuote(text: string): string {
  return JSON.stringify(text)
    .replace(/\\u00([0-9a-f]{2})/g, '\\x$1')
    .replace(/\\x07/g, '\\a')
    .replace(/\\x0b/g, '\\v')
    .replace(/\x7f/g, '\\x7f');
}

/** The name of the value's type, for error messages. */
export function goType(value: GoValue): string {
  if (value === undefined || value === null) return 'nil';
  if (Array.isArray(value)) return 'slice';
  if (value instanceof Map) return 'map';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

export function sortedEntries(map: ReadonlyMap<unknown, unknown>): [string, unknown][] {
  return [...map]
    .map(([key, item]): [string, unknown] => [String(key), item])
    .sort(([a], [b]) => compareTexts(a, b));
}

/** As Go compares strings, as far as JavaScript's UTF-16 has the same order. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function escapeUnicode(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
