import { createHash } from 'node:crypto';

/** Hash of what a step would do, given its inputs: 64 hex characters. */
export type CacheKey = string & { readonly __brand: 'CacheKey' };

/**
 * What a key is made of: plain data. Members of records are hashed by name, in byte order, so their
 * order says nothing; an absent member and one that is `undefined` are the same, and so is `null`
 * in a list (JSON has nothing else for it), so that what was stored as JSON has the key that it had
 * before.
 */
export type KeyValue =
  | string
  | number
  | boolean
  | undefined
  | null
  | readonly KeyValue[]
  | { readonly [name: string]: KeyValue };

/**
 * The structured input of a key. It is stored beside the result, so that a later miss can be told
 * in these terms.
 */
export interface KeyInput {
  /** Operation kind: `run`, `copy`, `mkdir`. */
  readonly kind: string;
  /** What the tree that the step starts on holds: see {@link ResultId}. */
  readonly parent: ResultId;
  /** Everything else that the outcome depends on. */
  readonly inputs: Readonly<Record<string, KeyValue>>;
}

/**
 * Identifies what a tree holds. Where a tree came about for the first time it is the key of the
 * step that made it; a step that was run again and left the same tree keeps the earlier one, so
 * that what follows is not run again.
 */
export type ResultId = string & { readonly __brand: 'ResultId' };

/**
 * Changes whenever the same input would have to give another key: an old store's records then are
 * plainly not found.
 */
export const KEY_VERSION = 'mbuild-key-2';

/**
 * The key of an input. Different inputs never hash alike: every part is framed by its type and
 * length.
 */
export function cacheKey(input: KeyInput): CacheKey {
  return hashValue({
    version: KEY_VERSION,
    kind: input.kind,
    parent: input.parent,
    inputs: input.inputs,
  }) as CacheKey;
}

/** The framed sha256 of plain data, 64 hex characters. */
export function hashValue(value: KeyValue): string {
  const hash = createHash('sha256');
  frame(value, (part) => hash.update(part));
  return hash.digest('hex');
}

/**
 * Writes a value so that it can be read back in one way only: a type letter, then a decimal length
 * or count and a colon, then the content (strings as UTF-8, their length in bytes).
 */
export function frame(value: KeyValue, write: (part: string | Buffer) => void): void {
  if (value === undefined || value === null) return write('u0:');
  if (typeof value === 'boolean') return write(value ? 't0:' : 'f0:');
  if (typeof value === 'string' || typeof value === 'number') {
    const bytes = Buffer.from(String(value), 'utf8');
    write(`${typeof value === 'string' ? 's' : 'n'}${bytes.length}:`);
    return write(bytes);
  }
  if (isList(value)) {
    write(`l${value.length}:`);
    for (const item of value) frame(item, write);
    return undefined;
  }
  const names = Object.keys(value)
    .filter((name) => value[name] !== undefined && value[name] !== null)
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  write(`r${names.length}:`);
  for (const name of names) {
    frame(name, write);
    frame(value[name], write);
  }
  return undefined;
}

function isList(value: object): value is readonly KeyValue[] {
  return Array.isArray(value);
}

/** The result id of a tree that no step made: an image's, by its ChainID, or the empty one. */
export function sourceResult(chainId: string | undefined): ResultId {
  return hashValue({ version: KEY_VERSION, source: chainId ?? 'scratch' }) as ResultId;
}

/** The result id of a step that, run anew under a known key, left another tree than before. */
export function divergedResult(key: CacheKey, diffId: string): ResultId {
  return hashValue({ version: KEY_VERSION, key, diffId }) as ResultId;
}
