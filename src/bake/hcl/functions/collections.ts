import {
  compareText,
  equals,
  identity,
  isMapping,
  isSequence,
  list,
  map,
  object,
  set,
  tuple,
  typeName,
  type Sequence,
  type Value,
} from '../value';
import { toText } from '../type';
import { define, defineVariadic, refuse, type Library } from './define';

/** Functions on lists, sets, maps and objects. */
export const COLLECTIONS: Library = {
  chunklist: define(['sequence', 'number'], ({ items }, size) => list(chunks(items, size))),
  coalesce: defineVariadic([], 'any', (_, values) => {
    const found = values.find((value) => value !== null);
    if (found === undefined) throw refuse('all arguments are null');
    return found;
  }),
  coalescelist: defineVariadic([], 'sequence', (_, lists) => {
    const found = lists.find(({ items }) => items.length > 0);
    if (found === undefined) throw refuse('all lists are empty');
    return found;
  }),
  compact: define(['sequence'], ({ items }) =>
    list(items.filter((item) => item !== null && toText(item) !== '')),
  ),
  concat: defineVariadic([], 'sequence', (_, lists) => tuple(lists.flatMap(({ items }) => items))),
  contains: define(['sequence', 'any'], (sequence, value) => holds(sequence, value)),
  distinct: define(['sequence'], ({ items }) => {
    const seen = new Set<string>();
    const isNew = (item: Value): boolean => seen.size < seen.add(identity(item)).size;
    return list(items.filter(isNew));
  }),
  element: define(['sequence', 'number'], ({ items }, index) => {
    if (items.length === 0) throw refuse('the list is empty');
    return items[((index % items.length) + items.length) % items.length] ?? null;
  }),
  equal: define(['any', 'any'], equals),
  notequal: define(['any', 'any'], (a, b) => !equals(a, b)),
  flatten: define(['sequence'], (sequence) => tuple(flat(sequence))),
  hasindex: define(['any', 'any'], (of, key) => at(of, key) !== undefined),
  index: define(['any', 'any'], (of, key) => {
    const found = at(of, key);
    if (found === undefined) throw refuse('the item does not exist');
    return found;
  }),
  indexof: define(['sequence', 'any'], ({ items }, value) => {
    const index = items.findIndex((item) => equals(item, value));
    if (index < 0) throw refuse('the item is not in the list');
    return index;
  }),
  keys: define(['mapping'], ({ entries }) => list([...entries.keys()])),
  values: define(['mapping'], ({ entries }) => tuple([...entries.values()])),
  length: define(['any'], lengthOf),
  lookup: define(['mapping', 'string', 'any'], ({ entries }, key, otherwise) =>
    entries.has(key) ? (entries.get(key) ?? null) : otherwise,
  ),
  merge: defineVariadic([], 'any', (_, all) =>
    object(all.flatMap((value) => (isMapping(value) ? [...value.entries] : notMapping(value)))),
  ),
  range: defineVariadic(['number'], 'number', ([first], rest) => range(first, rest)),
  reverselist: define(['sequence'], ({ items }) => tuple(items.toReversed())),
  sethaselement: define(['sequence', 'any'], (sequence, value) => holds(sequence, value)),
  setintersection: defineVariadic(['sequence'], 'sequence', ([first], others) =>
    set(first.items.filter((item) => others.every((other) => holds(other, item)))),
  ),
  setproduct: defineVariadic(['sequence'], 'sequence', ([first], others) =>
    list(product([first, ...others]).map(tuple)),
  ),
  setsubtract: define(['sequence', 'sequence'], (a, b) =>
    set(a.items.filter((item) => !holds(b, item))),
  ),
  setsymmetricdifference: defineVariadic(['sequence'], 'sequence', ([first], others) =>
    others.reduce(
      (a, b) =>
        set([
          ...a.items.filter((item) => !holds(b, item)),
          ...b.items.filter((item) => !holds(a, item)),
        ]),
      set(first.items),
    ),
  ),
  setunion: defineVariadic(['sequence'], 'sequence', ([first], others) =>
    set([first, ...others].flatMap(({ items }) => items)),
  ),
  slice: define(['sequence', 'number', 'number'], ({ items, kind }, from, to) => {
    if (from < 0 || to < from || to > items.length)
      throw refuse(`cannot take items ${from} to ${to}: there are ${items.length} items`);
    return { kind, items: items.slice(from, to) };
  }),
  sort: define(['sequence'], ({ items }) => list(items.map(toText).sort(compareText))),
  zipmap: define(['sequence', 'sequence'], (names, values) => {
    if (names.items.length !== values.items.length) throw refuse('the lists differ in length');
    return map(names.items.map((name, i) => [toText(name), values.items[i] ?? null]));
  }),
};

/** No function makes a longer list: cty's limit for `range`. */
const MAX_RANGE = 1024;

function holds({ items }: Sequence, value: Value): boolean {
  return items.some((item) => equals(item, value));
}

function at(of: Value, key: Value): Value | undefined {
  if (isMapping(of)) return key === null ? undefined : of.entries.get(toText(key));
  if (!isSequence(of)) throw refuse(`a ${typeName(of)} has no items`);
  return typeof key === 'number' ? of.items[key] : undefined;
}

function lengthOf(value: Value): number {
  if (isSequence(value)) return value.items.length;
  if (isMapping(value)) return value.entries.size;
  throw refuse(`a ${typeName(value)} has no length; strlen counts the characters of a string`);
}

function notMapping(value: Value): [] {
  if (value === null) return [];
  throw refuse(`objects and maps are needed, but this is a ${typeName(value)}`);
}

function flat({ items }: Sequence): Value[] {
  return items.flatMap((item) => (isSequence(item) ? flat(item) : [item]));
}

function chunks(items: readonly Value[], size: number): Sequence[] {
  if (size < 0) throw refuse('the size must not be negative');
  if (size === 0) return [list(items)];
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) =>
    list(items.slice(i * size, (i + 1) * size)),
  );
}

function product(sets: readonly Sequence[]): Value[][] {
  return sets.reduce<Value[][]>(
    (rows, { items }) => rows.flatMap((row) => items.map((item) => [...row, item])),
    [[]],
  );
}

/**
 * `range(end)`, `range(start, end)`, `range(start, end, step)`; without a step it goes towards the
 * end.
 */
function range(first: number, [second, third]: readonly number[]): Value {
  const start = second === undefined ? 0 : first;
  const end = second ?? first;
  const step = third ?? (end < start ? -1 : 1);
  if (step === 0 || Math.sign(end - start) * step < 0)
    throw refuse('a step in this direction never reaches the end');
  const length = Math.ceil((end - start) / step);
  if (length > MAX_RANGE) throw refuse(`more than ${MAX_RANGE} items`);
  return list(Array.from({ length }, (_, i) => start + i * step));
}
