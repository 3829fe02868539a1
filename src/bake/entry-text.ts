import { splitCsv } from '../diagnostics/csv';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { Entry, FieldName } from './target';

/** Entries out of a text, as the option of `build` with the same name takes them. */
const READERS: Partial<Record<FieldName, (text: string) => readonly Entry[]>> = {
  'cache-from': readCaches,
  'cache-to': readCaches,
  output: (text) => [readOutput(text)],
  attest: (text) => [readPairs(text, 'attest')],
  secret: (text) => [readSecret(text)],
  ssh: (text) => [readSsh(text)],
  policy: (text) => [readPairs(text, 'policy')],
};

/** The entries that a text stands for. @throws MbuildError BAKE_INVALID without a place. */
export function readEntries(field: FieldName, text: string): readonly Entry[] {
  return READERS[field]?.(text) ?? [];
}

/** `a=1,"b=2,3"`: fields of one line of CSV. @throws MbuildError BAKE_INVALID without a place. */
export function csvFields(text: string): string[] {
  try {
    return splitCsv(text);
  } catch (error) {
    if (!isMbuildError(error, 'USAGE')) throw error;
    throw new MbuildError('BAKE_INVALID', error.message, { hint: error.hint });
  }
}

function readPairs(text: string, what: string): Entry {
  const pairs = csvFields(text).map((field): [string, string] => {
    const at = field.indexOf('=');
    if (at < 0)
      throw new MbuildError('BAKE_INVALID', `"${field}" of ${what} "${text}" has no "="`, {
        hint: 'write KEY=VALUE pairs, separated by commas',
      });
    return [field.slice(0, at).trim().toLowerCase(), field.slice(at + 1)];
  });
  return withType(Object.fromEntries(pairs), text, what);
}

function withType(entry: Entry, text: string, what: string): Entry {
  if (typeof entry['type'] === 'string' && entry['type'] !== '') return entry;
  throw new MbuildError('BAKE_INVALID', `${what} "${text}" has no type`);
}

/** A plain name is a registry's. */
function readCaches(text: string): Entry[] {
  if (text === '') return [];
  if (text.includes('=')) return [readPairs(text, 'cache')];
  return csvFields(text).map((ref) => ({ type: 'registry', ref }));
}

/** A plain path is a directory; `-` is a tar archive on standard output. */
function readOutput(text: string): Entry {
  if (text === '-') return { type: 'tar', dest: '-' };
  const [only = '', ...others] = csvFields(text);
  if (others.length === 0 && only === text && !text.startsWith('type='))
    return { type: 'local', dest: text };
  return readPairs(text, 'output');
}

function readSecret(text: string): Entry {
  const entry: Record<string, string> = {};
  let type = '';
  for (const field of csvFields(text)) {
    const [key = '', ...rest] = field.split('=');
    const value = rest.join('=');
    const name = key.toLowerCase() === 'source' ? 'src' : key.toLowerCase();
    if (rest.length === 0 || !['id', 'src', 'env', 'type'].includes(name))
      throw new MbuildError('BAKE_INVALID', `"${field}" of secret "${text}" is unknown`, {
        hint: 'write id=NAME with src=FILE or env=VARIABLE',
      });
    if (name === 'type') type = value;
    else entry[name] = value;
  }
  if (type !== 'env' || entry['env'] !== undefined) return entry;
  const { src, ...others } = entry;
  return src === undefined ? others : { ...others, env: src };
}

function readSsh(text: string): Entry {
  const at = text.indexOf('=');
  if (at < 0) return { id: text };
  return { id: text.slice(0, at), paths: text.slice(at + 1).split(',') };
}
