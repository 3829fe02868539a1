import type { CsvField } from '../diagnostics/csv';
import { MbuildError } from './error';
import { didYouMean } from './suggest';

/*
 * Options that are lists of key=value: --output, --cache-to, --secret and the like. Every key is
 * read by a table, so that none is passed
 * over: it is done, or refused by name.
 */

/** Makes the error for a value. */
export type Wrong = (message: string, hint?: string) => MbuildError;

/** A key that is read. */
export interface ReadKey<T> {
  /** @throws what `wrong` makes, for a value that is not one. */
  readonly read: (value: string, key: string, wrong: Wrong) => T;
  /** What the key without a value stands for; absent where it needs one. */
  readonly bare?: T | undefined;
}

/** Another spelling of a key. */
export interface AliasKey {
  readonly alias: string;
}

/** A key that other builders have. */
export interface RefusedKey {
  /** Why not, behind the key: "needs …". */
  readonly refused: string;
  readonly hint?: string | undefined;
}

export type KeyTable = Readonly<Record<string, ReadKey<unknown> | AliasKey | RefusedKey>>;

/** What was read, by key; aliases are under the key that they stand for. */
export type KeyValues<T extends KeyTable> = {
  readonly [K in keyof T as T[K] extends ReadKey<unknown> ? K : never]?: T[K] extends ReadKey<
    infer V
  >
    ? V
    : never;
};

/** How an option is read. */
export interface StructuredOption<T extends KeyTable> {
  /** As messages name it: `--output type=oci`. */
  readonly title: string;
  readonly keys: T;
  /**
   * Takes a key that no table can list, as `annotation.NAME`; false for one that it does not know.
   */
  readonly further?: ((key: string, value: string) => boolean) | undefined;
}

/**
 * Reads all fields of an option. Of a key that stands twice the last one counts.
 * @throws MbuildError USAGE, UNSUPPORTED.
 */
export function readKeys<T extends KeyTable>(
  { title, keys, further }: StructuredOption<T>,
  fields: readonly CsvField[],
): KeyValues<T> {
  const values: Record<string, unknown> = {};
  for (const { key, value } of fields) {
    if (value !== undefined && further?.(key, value) === true) continue;
    const [name, entry] = findKey(key, keys, title);
    if (value === undefined && entry.bare === undefined)
      throw usage(`"${key}" of ${title} needs a value`, `write ${key}=…`);
    values[name] = value === undefined ? entry.bare : entry.read(value, key, usage);
  }
  return values as KeyValues<T>;
}

/** The entry of a key, and the name that it is known by. */
function findKey(key: string, keys: KeyTable, title: string): readonly [string, ReadKey<unknown>] {
  const entry = Object.hasOwn(keys, key) ? keys[key] : undefined;
  if (entry === undefined)
    throw usage(
      `unknown key "${key}" in ${title}`,
      didYouMean(key, Object.keys(keys)) ?? `known keys are ${knownKeys(keys).join(', ')}`,
    );
  if ('alias' in entry) return findKey(entry.alias, keys, title);
  if ('refused' in entry)
    throw new MbuildError('UNSUPPORTED', `"${key}" of ${title} ${entry.refused}`, {
      hint: entry.hint,
    });
  return [key, entry];
}

/** The keys that are read, for hints. */
export function knownKeys(keys: KeyTable): string[] {
  return Object.keys(keys).filter((key) => 'read' in (keys[key] ?? {}));
}

/** A value as it is written. */
export const TEXT: ReadKey<string> = { read: (value) => value };

/** A value that is there. */
export const NOT_EMPTY: ReadKey<string> = {
  read: (value, key, wrong) => {
    if (value === '') throw wrong(`"${key}" is empty`, `write ${key}=…, or leave it out`);
    return value;
  },
};

/** A name of a file, or the beginning of one: no path. */
export const FILE_NAME: ReadKey<string> = {
  read: (value, key, wrong) => {
    if (value === '' || value.includes('/') || value.includes('\0') || value.startsWith('..'))
      throw wrong(`${key}=${value} is not the name of a file`, 'give a name without slashes');
    return value;
  },
};

// What Go's strconv.ParseBool takes.
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** True or false; the key alone is true. */
export const FLAG: ReadKey<boolean> = { bare: true, read: readFlag };

/** Only one of both: the other one is refused. */
export function onlyFlag(allowed: boolean, refused: string, hint?: string): ReadKey<boolean> {
  return {
    ...FLAG,
    read: (value, key, wrong) => {
      if (readFlag(value, key, wrong) === allowed) return allowed;
      throw new MbuildError('UNSUPPORTED', `${key}=${value} ${refused}`, { hint });
    },
  };
}

/** One of a few words. */
export function oneOf<const W extends string>(words: readonly W[]): ReadKey<W> {
  return {
    read: (value, key, wrong) => {
      const known = words.find((word) => word === value);
      if (known !== undefined) return known;
      throw wrong(
        `${key}=${value} is unknown`,
        didYouMean(value, words) ?? `known values are ${words.join(', ')}`,
      );
    },
  };
}

function readFlag(value: string, key: string, wrong: Wrong): boolean {
  if (TRUE.includes(value)) return true;
  if (FALSE.includes(value)) return false;
  throw wrong(`${key}=${value} is neither true nor false`);
}

function usage(message: string, hint?: string): MbuildError {
  return new MbuildError('USAGE', message, { hint });
}
