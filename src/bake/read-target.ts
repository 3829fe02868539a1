import type { Diagnostic } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { readEntries } from './entry-text';
import { evaluate, placed, type Scope } from './hcl/evaluate';
import { mistake, rangeOf, type Attribute, type Body, type Span } from './hcl/syntax';
import { toBool, toText } from './hcl/type';
import { isMapping, isSequence, typeName, type Value } from './hcl/value';
import { FIELDS, isFieldName, type Attributes, type Entry, type FieldName } from './target';

/** Attributes of a target that are not among its fields. */
const OTHERS = ['inherits', 'matrix', 'name'];

/**
 * What a target's block holds. @throws MbuildError BAKE_INVALID with the place.
 * @param warn hears of attributes that nobody knows: docker passes over them, so they are no error
 */
export function readAttributes(
  body: Body,
  scope: Scope,
  warn: (diagnostic: Diagnostic) => void,
): Attributes {
  const found: Record<string, unknown> = {};
  for (const attribute of body.attributes) {
    if (OTHERS.includes(attribute.name)) continue;
    if (!isFieldName(attribute.name)) {
      warn(unknownAttribute(attribute));
      continue;
    }
    const value = readField(attribute, scope);
    if (value !== undefined) found[attribute.name] = value;
  }
  const [inner] = body.blocks;
  if (inner !== undefined)
    throw mistake(
      inner.span,
      `a target has no blocks: "${inner.type}" is one`,
      `${inner.type} = …`,
    );
  return found as Attributes;
}

/** A list of names, such as `inherits` has. */
export function readTexts(attribute: Attribute | undefined, scope: Scope): readonly string[] {
  if (attribute === undefined) return [];
  return textsOf(evaluate(attribute.value, scope), attribute);
}

function unknownAttribute({ name, span }: Attribute): Diagnostic {
  return {
    severity: 'warning',
    code: 'UnknownAttribute',
    message: `a target has no attribute "${name}", so this line does nothing`,
    file: span.file,
    range: rangeOf(span),
    hint: didYouMean(name, [...Object.keys(FIELDS), ...OTHERS]),
  };
}

function readField(attribute: Attribute, scope: Scope): unknown {
  const { name } = attribute;
  if (!isFieldName(name)) return undefined;
  const value = evaluate(attribute.value, scope);
  if (value === null) return undefined;
  switch (FIELDS[name].kind) {
    case 'text':
      return placed(attribute.value.span, () => toText(value));
    case 'flag':
      return placed(attribute.value.span, () => toBool(value));
    case 'texts':
      return textsOf(value, attribute);
    case 'map':
      return mapOf(value, attribute);
    case 'entries':
      return itemsOf(value, attribute).flatMap((item) =>
        entriesOf(name, item, attribute.value.span),
      );
  }
}

function itemsOf(value: Value, { name, value: { span } }: Attribute): readonly Value[] {
  if (isSequence(value)) return value.items;
  throw mistake(
    span,
    `"${name}" must be a list, but this is a ${typeName(value)}`,
    `${name} = [ … ]`,
  );
}

function textsOf(value: Value, attribute: Attribute): string[] {
  if (value === null) return [];
  return itemsOf(value, attribute)
    .filter((item) => item !== null)
    .map((item) => placed(attribute.value.span, () => toText(item)));
}

/** Entries that are null are left out. */
function mapOf(value: Value, { name, value: { span } }: Attribute): ReadonlyMap<string, string> {
  if (!isMapping(value))
    throw mistake(
      span,
      `"${name}" must be a map, but this is a ${typeName(value)}`,
      `${name} = { … }`,
    );
  const entries = [...value.entries].filter(([, entry]) => entry !== null);
  return new Map(entries.map(([key, entry]) => [key, placed(span, () => toText(entry))]));
}

/** An entry is a text, as on the command line, or an object of texts. */
function entriesOf(field: FieldName, value: Value, span: Span): readonly Entry[] {
  if (value === null || value === '') return [];
  if (!isMapping(value)) return placed(span, () => readEntries(field, toText(value)));
  const entry: Record<string, string | readonly string[]> = {};
  for (const [name, item] of value.entries) {
    if (item === null) continue;
    entry[name] = isSequence(item)
      ? item.items.map((each) => placed(span, () => toText(each)))
      : placed(span, () => toText(item));
  }
  return [entry];
}
