import { MbuildError } from '../../diagnostics/error';
import { mistake, type Expression } from './syntax';
import {
  formatNumber,
  isMapping,
  isSequence,
  list,
  map,
  object,
  set,
  tuple,
  typeName,
  type Value,
} from './value';

/** A type that a variable or `convert` asks for (HCL's typeexpr extension). */
export type Type =
  | { readonly kind: 'any' | 'string' | 'number' | 'bool' }
  | { readonly kind: 'list' | 'set' | 'map'; readonly of: Type }
  | { readonly kind: 'tuple'; readonly items: readonly Type[] }
  | { readonly kind: 'object'; readonly attributes: ReadonlyMap<string, Type> };

const KEYWORDS = ['any', 'string', 'number', 'bool'] as const;

/** Reads `string`, `list(number)`, `object({ a = bool })`, … @throws MbuildError BAKE_INVALID. */
export function readType(expression: Expression): Type {
  if (expression.kind === 'variable') {
    const kind = KEYWORDS.find((keyword) => keyword === expression.name);
    if (kind !== undefined) return { kind };
  }
  if (expression.kind === 'call') {
    const [argument] = expression.args;
    if (argument !== undefined && expression.args.length === 1)
      return readConstructor(expression.name, argument);
  }
  throw mistake(
    expression.span,
    'this is not a type',
    'types are string, number, bool, any, list(T), set(T), map(T), tuple([T, …]) and object({ name = T, … }), written without quotes',
  );
}

function readConstructor(name: string, argument: Expression): Type {
  switch (name) {
    case 'list':
    case 'set':
    case 'map':
      return { kind: name, of: readType(argument) };
    case 'tuple':
      if (argument.kind !== 'tuple') throw mistake(argument.span, 'tuple takes a list of types');
      return { kind: 'tuple', items: argument.items.map(readType) };
    case 'object':
      if (argument.kind !== 'object') throw mistake(argument.span, 'object takes { name = type }');
      return { kind: 'object', attributes: readAttributes(argument) };
    default:
      throw mistake(argument.span, `"${name}" is not a type constructor`);
  }
}

function readAttributes({ items }: Extract<Expression, { kind: 'object' }>): Map<string, Type> {
  return new Map(
    items.map(({ key, value }) => {
      if (key.kind === 'literal' && typeof key.value === 'string')
        return [key.value, readType(value)];
      throw mistake(key.span, 'an attribute of an object type must be a plain word');
    }),
  );
}

/** The type in words, as docker shows it: `list of string`. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case 'list':
    case 'set':
    case 'map':
      return `${type.kind} of ${typeText(type.of)}`;
    case 'any':
      return 'any type';
    default:
      return type.kind;
  }
}

/**
 * The value as the type has it.
 * @throws MbuildError BAKE_INVALID, without a place, where it cannot be.
 */
export function convert(value: Value, type: Type): Value {
  if (value === null || type.kind === 'any') return value;
  switch (type.kind) {
    case 'string':
      return toText(value);
    case 'number':
      return toNumber(value);
    case 'bool':
      return toBool(value);
    case 'list':
      return list(itemsOf(value, type).map((item) => convert(item, type.of)));
    case 'set':
      return set(itemsOf(value, type).map((item) => convert(item, type.of)));
    case 'tuple':
      return toTuple(value, type.items);
    case 'map':
      return map([...entriesOf(value, type)].map(([name, item]) => [name, convert(item, type.of)]));
    case 'object':
      return toObject(value, type);
  }
}

function toTuple(value: Value, types: readonly Type[]): Value {
  const items = itemsOf(value, { kind: 'tuple', items: types });
  if (items.length !== types.length)
    throw refusal(`a tuple of ${types.length} items is required, but there are ${items.length}`);
  return tuple(items.map((item, i) => convert(item, types[i] ?? { kind: 'any' })));
}

function toObject(value: Value, type: Extract<Type, { kind: 'object' }>): Value {
  const entries = entriesOf(value, type);
  return object(
    [...type.attributes].map(([name, of]) => {
      const entry = entries.get(name);
      if (entry === undefined) throw refusal(`the attribute "${name}" is required`);
      return [name, convert(entry, of)];
    }),
  );
}

function itemsOf(value: Value, type: Type): readonly Value[] {
  if (isSequence(value)) return value.items;
  throw refusal(`${typeText(type)} is required, but this is a ${typeName(value)}`);
}

function entriesOf(value: Value, type: Type): ReadonlyMap<string, Value> {
  if (isMapping(value)) return value.entries;
  throw refusal(`${typeText(type)} is required, but this is a ${typeName(value)}`);
}

/** @throws MbuildError BAKE_INVALID, without a place, for what has no text. */
export function toText(value: Value): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
      return formatNumber(value);
    case 'boolean':
      return String(value);
    default:
      throw refusal(`a string is required, but this is ${typeName(value)}`);
  }
}

/** @throws MbuildError BAKE_INVALID, without a place, for what is not a number. */
export function toNumber(value: Value): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(value))
    return Number(value);
  throw refusal(`a number is required, but this is ${shown(value)}`);
}

/** @throws MbuildError BAKE_INVALID, without a place, for what is neither true nor false. */
export function toBool(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === 'true' || value === '1') return true;
  if (value === 'false' || value === '0') return false;
  throw refusal(`true or false is required, but this is ${shown(value)}`);
}

function shown(value: Value): string {
  return typeof value === 'string' ? JSON.stringify(value) : `a ${typeName(value)}`;
}

function refusal(message: string): MbuildError {
  return new MbuildError('BAKE_INVALID', message);
}
