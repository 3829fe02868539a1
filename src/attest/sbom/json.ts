import type { LayerFile } from './package';

/** The object that a file holds. @throws Error where it holds something else. */
export function readJson(file: Pick<LayerFile, 'read'>): Readonly<Record<string, unknown>> {
  const json: unknown = JSON.parse(
    file
      .read()
      .toString('utf8')
      .replace(/^\uFEFF/, ''),
  );
  if (typeof json === 'object' && json !== null && !Array.isArray(json))
    return json as Readonly<Record<string, unknown>>;
  throw new Error('it is not a JSON object');
}

/** A member that is an object; an empty one where it is something else. */
export function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}

/** A member that is a list; an empty one where it is something else. */
export function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
