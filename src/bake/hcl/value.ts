/** A value of HCL's: what cty calls null, bool, number, string, sequences and mappings. */
export type Value = null | boolean | number | string | Sequence | Mapping;

/**
 * `[1, "a"]` is a tuple; a declared type or a function makes lists and sets (sets are sorted and
 * hold each item once).
 */
export interface Sequence {
  readonly kind: 'tuple' | 'list' | 'set';
  readonly items: readonly Value[];
}

/** `{ a = 1 }` is an object; a declared type makes maps. Names are in lexical order. */
export interface Mapping {
  readonly kind: 'object' | 'map';
  readonly entries: ReadonlyMap<string, Value>;
}

/** A sequence of the given items. */
export function tuple(items: readonly Value[]): Sequence {
  return { kind: 'tuple', items };
}

/** A list of the given items, which are of one type. */
export function list(items: readonly Value[]): Sequence {
  return { kind: 'list', items };
}

/** A set of the given items: sorted, each once. */
export function set(items: readonly Value[]): Sequence {
  const unique = new Map(items.map((item) => [identity(item), item]));
  return { kind: 'set', items: [...unique.values()].sort(compareItems) };
}

/** An object with the given attributes, put into lexical order. */
export function object(entries: Iterable<readonly [string, Value]>): Mapping {
  return { kind: 'object', entries: sorted(entries) };
}

/** A map with the given entries, put into lexical order. */
export function map(entries: Iterable<readonly [string, Value]>): Mapping {
  return { kind: 'map', entries: sorted(entries) };
}

/** True for tuples, lists and sets. */
export function isSequence(value: Value): value is Sequence {
  return typeof value === 'object' && value !== null && 'items' in value;
}

/** True for objects and maps. */
export function isMapping(value: Value): value is Mapping {
  return typeof value === 'object' && value !== null && 'entries' in value;
}

/** True for bool, number and string. */
export function isPrimitive(value: Value): value is boolean | number | string {
  return value !== null && typeof value !== 'object';
}

/** The type's name in messages: `string`, `tuple`, … */
export function typeName(value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'object') return value.kind;
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

/**
 * True where both are of the same kind and hold the same; a tuple equals a list of the same items.
 */
export function equals(a: Value, b: Value): boolean {
  return identity(a) === identity(b);
}

/** A text that two values share exactly when they are equal. */
export function identity(value: Value): string {
  return JSON.stringify(toJson(value)) + (isSequence(value) && value.kind === 'set' ? '#' : '');
}

/** The value as `JSON.stringify` takes it; sets are arrays. */
export function toJson(value: Value): unknown {
  if (isSequence(value)) return value.items.map(toJson);
  if (!isMapping(value)) return value;
  // No prototype: `__proto__` is a name like any other.
  const json = Object.create(null) as Record<string, unknown>;
  for (const [name, entry] of value.entries) json[name] = toJson(entry);
  return json;
}

/** A value out of what `JSON.parse` gives. */
export function fromJson(json: unknown): Value {
  if (Array.isArray(json)) return tuple(json.map(fromJson));
  if (typeof json !== 'object' || json === null) return json as Value;
  return object(Object.entries(json).map(([name, entry]) => [name, fromJson(entry)]));
}

/**
 * A number as HCL writes it: without an exponent, and without what binary fractions add
 * (cty counts with 512 bits, so that 0.1 + 0.2 is 0.3 there).
 */
export function formatNumber(value: number): string {
  const text = String(Number.isSafeInteger(value) ? value : Number(value.toPrecision(15)));
  return text.includes('e') ? withoutExponent(text) : text;
}

function withoutExponent(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?e([+-]?\d+)$/.exec(text) ?? [];
  const shift = Number(exponent);
  if (shift < 0) return `${sign}0.${'0'.repeat(-shift - 1)}${whole}${fraction}`;
  return sign + whole + fraction.padEnd(shift, '0');
}

function sorted(entries: Iterable<readonly [string, Value]>): ReadonlyMap<string, Value> {
  return new Map([...new Map(entries)].sort(([a], [b]) => compareText(a, b)));
}

/** As Go compares strings: by their bytes in UTF-8, which is by code points. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function compareItems(a: Value, b: Value): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  return compareText(identity(a), identity(b));
}
