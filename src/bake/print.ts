import path from 'node:path';
import { jsonText } from '../diagnostics/visible';
import type { Selection } from './select';
import { FIELDS, isFieldName, type Attributes, type Entry } from './target';

/** Fields whose texts could be taken for templates when they are read again. */
const ESCAPED = ['annotations', 'dockerfile-inline', 'labels', 'args', 'extra-hosts'];

/** `--print`: the definition as docker's buildx prints it, as JSON that is a bake file in turn. */
export function printSelection({ groups, targets }: Selection): string {
  const group = Object.fromEntries(
    [...groups.values()]
      .sort(byName)
      .map(({ name, description, targets: of }) => [
        name,
        { ...(description ? { description } : {}), targets: of },
      ]),
  );
  const target = Object.fromEntries(
    [...targets.values()].sort(byName).map(({ name, attributes }) => [name, printed(attributes)]),
  );
  return `${jsonText({ group, target }, 2)}\n`;
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function printed({ context, ...others }: Attributes): Record<string, unknown> {
  const attributes: Attributes = { ...others, context: cleanContext(context) };
  const names = Object.keys(FIELDS).filter(isFieldName);
  return Object.fromEntries(
    names
      .filter((name) => attributes[name] !== undefined && attributes[name] !== '')
      .map((name) => [name, printedValue(attributes[name], ESCAPED.includes(name))]),
  );
}

/** Paths are shown in their shortest form, addresses as they are. */
function cleanContext(context: string | undefined): string | undefined {
  if (context === undefined || /^[a-z][a-z0-9+.-]*:|^git@/i.test(context)) return context;
  return path.posix.normalize(context).replace(/(?<=.)\/$/, '');
}

function printedValue(value: unknown, escaped: boolean): unknown {
  if (typeof value === 'string') return escaped ? escape(value) : value;
  if (value instanceof Map)
    return Object.fromEntries(
      [...(value as ReadonlyMap<string, string>)]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, text]) => [name, escaped ? escape(text) : text]),
    );
  if (Array.isArray(value))
    return value.map((item: string | Entry) =>
      typeof item === 'string' ? printedValue(item, escaped) : printedEntry(item),
    );
  return value;
}

/** A flag of an attestation is a flag in JSON, too. */
function printedEntry({ disabled, ...entry }: Entry): Record<string, unknown> {
  return disabled === 'true' ? { ...entry, disabled: true } : entry;
}

function escape(text: string): string {
  return text.replace(/\$\{/g, () => '$${').replaceAll('%{', '%%{');
}
