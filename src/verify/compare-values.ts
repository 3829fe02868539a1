import type { FieldDifference } from './difference';

/**
 * The fields in which two JSON values differ, by their paths: `config.Env[2]`, `Labels["a.b"]`.
 * Where one has no value at all, the whole of the other's is one difference. The order of an
 * object's fields is none.
 */
export function compareValues(first: unknown, second: unknown, path: string): FieldDifference[] {
  if (isObject(first) && isObject(second) && Array.isArray(first) === Array.isArray(second)) {
    const names = [...new Set([...Object.keys(first), ...Object.keys(second)])];
    return names.flatMap((name) =>
      compareValues(first[name], second[name], memberPath(path, name, Array.isArray(first))),
    );
  }
  const [a, b] = [shown(first), shown(second)];
  return a === b ? [] : [{ field: path, first: a, second: b }];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function memberPath(path: string, name: string, inArray: boolean): string {
  if (inArray) return `${path}[${name}]`;
  if (!/^\w+$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
  return path === '' ? name : `${path}.${name}`;
}

/** As JSON; `undefined` for a field that is not there. */
function shown(value: unknown): string | undefined {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
