import { MbuildError } from '../diagnostics/error';
import { csvFields } from './entry-text';
import { evaluate, placed, type Scope } from './hcl/evaluate';
import { mistake, type Attribute, type Block, type Expression } from './hcl/syntax';
import { convert, readType, toBool, toNumber, toText, typeText, type Type } from './hcl/type';
import {
  formatNumber,
  fromJson,
  isPrimitive,
  list,
  map,
  set,
  toJson,
  tuple,
  type Value,
} from './hcl/value';
import type { Variable } from './target';

/** A text from outside that takes the place of a variable's default. */
export interface Override {
  readonly text: string;
  /** It came from a variable NAME_JSON. */
  readonly json: boolean;
}

/** Where overrides come from; `undefined` where there is none. */
export type FindOverride = (name: string, preferJson: boolean) => Override | undefined;

const VARIABLE_ATTRIBUTES = ['type', 'default', 'description'];

/** A variable's block, checked. @throws MbuildError BAKE_INVALID. */
export function declaredType(block: Block): Type | undefined {
  for (const { name, span } of block.body.attributes)
    if (!VARIABLE_ATTRIBUTES.includes(name))
      throw mistake(span, `a variable has no attribute "${name}"`);
  const type = attributeOf(block, 'type');
  if (type === undefined || isNull(type.value)) return undefined;
  return readType(type.value);
}

/**
 * The value of a variable: what is given from outside, else its default.
 * @throws MbuildError BAKE_INVALID.
 */
export function variableValue(block: Block, scope: Scope, find: FindOverride): Value {
  const name = block.labels[0] ?? '';
  const type = declaredType(block);
  const preset = attributeOf(block, 'default');
  const override = find(name, type !== undefined);
  const initial = defaultValue(preset, type, scope);
  if (override === undefined) {
    // Without a type and a default a variable is an empty text.
    return preset === undefined && type === undefined ? '' : initial;
  }
  return placed(block.span, () => overridden(override, { name, type, preset: initial }));
}

/**
 * The checks of a variable. @throws MbuildError BAKE_INVALID with its own message where one fails.
 */
export function checkVariable(block: Block, scope: Scope): void {
  for (const { type, body, span } of block.body.blocks) {
    if (type !== 'validation') throw mistake(span, `a variable has no block "${type}"`);
    const find = (name: string): Attribute => {
      const found = body.attributes.find((attribute) => attribute.name === name);
      if (found === undefined) throw mistake(span, `a validation needs "${name}"`);
      return found;
    };
    const condition = find('condition');
    const message = find('error_message');
    const result = evaluate(condition.value, scope);
    if (placed(condition.value.span, () => toBool(result))) continue;
    const text = evaluate(message.value, scope);
    throw mistake(
      condition.value.span,
      text === null ? 'this check failed' : placed(message.value.span, () => toText(text)),
      `variable "${block.labels[0] ?? ''}" has a value that its validation refuses`,
    );
  }
}

/** The variable as `--list variables` shows it. */
export function describeVariable(block: Block, value: Value, scope: Scope): Variable {
  const type = declaredType(block);
  const description = attributeOf(block, 'description');
  return {
    name: block.labels[0] ?? '',
    description: description === undefined ? undefined : textOf(evaluate(description.value, scope)),
    type: type === undefined ? undefined : typeText(type),
    value: value === null ? undefined : textOf(value),
  };
}

function textOf(value: Value): string {
  if (typeof value === 'number') return formatNumber(value);
  return typeof value === 'string' ? value : JSON.stringify(toJson(value));
}

function attributeOf(block: Block, name: string): Attribute | undefined {
  return block.body.attributes.find((attribute) => attribute.name === name);
}

function isNull(expression: Expression): boolean {
  return expression.kind === 'literal' && expression.value === null;
}

function defaultValue(preset: Attribute | undefined, type: Type | undefined, scope: Scope): Value {
  if (preset === undefined) return null;
  const value = evaluate(preset.value, scope);
  return type === undefined ? value : placed(preset.value.span, () => convert(value, type));
}

interface Declared {
  readonly name: string;
  readonly type: Type | undefined;
  /** The default's value, whose type counts where none is declared. */
  readonly preset: Value;
}

function overridden({ text, json }: Override, { name, type, preset }: Declared): Value {
  if (type !== undefined && json) return convert(parseJson(name, text), type);
  if (type !== undefined) return fromText(name, text, type);
  if (preset === null) return text;
  if (!isPrimitive(preset))
    throw refusal(
      name,
      'to set a list or an object from outside, declare the type of the variable',
    );
  return fromText(name, text, { kind: kindOf(preset) });
}

function kindOf(value: boolean | number | string): 'bool' | 'number' | 'string' {
  if (typeof value === 'boolean') return 'bool';
  return typeof value === 'number' ? 'number' : 'string';
}

function parseJson(name: string, text: string): Value {
  try {
    return fromJson(JSON.parse(text));
  } catch {
    throw refusal(name, `${name}_JSON is not JSON`);
  }
}

/** Lists, sets, tuples and maps of plain values are given as CSV; map entries are `key:value`. */
function fromText(name: string, text: string, type: Type): Value {
  switch (type.kind) {
    case 'list':
      return list(csvFields(text).map((field) => plain(name, field, type.of)));
    case 'set':
      return set(csvFields(text).map((field) => plain(name, field, type.of)));
    case 'tuple': {
      const fields = csvFields(text);
      if (fields.length !== type.items.length)
        throw refusal(
          name,
          `${type.items.length} values are needed, but ${fields.length} are given`,
        );
      return tuple(fields.map((field, i) => plain(name, field, type.items[i] ?? { kind: 'any' })));
    }
    case 'map':
      return map(
        csvFields(text).map((field) => {
          const [key = '', ...rest] = field.split(':');
          if (rest.length !== 1) throw refusal(name, `"${field}" is not KEY:VALUE`);
          return [key, plain(name, rest[0] ?? '', type.of)];
        }),
      );
    default:
      return plain(name, text, type);
  }
}

/** Go's strconv.ParseBool takes these. */
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

function plain(name: string, text: string, type: Type): Value {
  switch (type.kind) {
    case 'string':
    case 'any':
      return text;
    case 'bool':
      if (TRUE.includes(text) || FALSE.includes(text)) return TRUE.includes(text);
      throw refusal(name, `"${text}" is neither true nor false`);
    case 'number':
      return toNumber(text);
    default:
      throw refusal(name, `give a value of this type as JSON, in ${name}_JSON`);
  }
}

function refusal(name: string, message: string): MbuildError {
  return new MbuildError('BAKE_INVALID', `the value given for variable "${name}": ${message}`);
}
