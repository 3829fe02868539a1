import { rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { createFile, namesIn, readJson, readRecord, removeFile, replaceFile } from '../content/files';
import { isMbuildError } from '../diagnostics/error';
import { hashValue, type CacheKey, type KeyInput } from './key';
import type { CacheRecord, CacheStore } from './record';

/**
 * One file a record: `<root>/cache/records/<key>.json`; and an empty file for each record's family,
 * `<root>/cache/families/<family>/<key>`. Remembered digests are in `<root>/cache/digests`; `<root>/cache/evicted/<key>` is an
 * empty file whose time says when the record was deleted.
 */
export class FileCacheStore implements CacheStore {
  readonly #records: string;
  readonly #families: string;
  readonly #digests: string;
  readonly #evicted: string;

  /** @param onCorrupt is told of a record that cannot be read; it counts as missing and is removed. */
  constructor(private readonly root: string, private readonly onCorrupt: (file: string) => void = () => undefined) {
    this.#records = path.join(root, 'cache', 'records');
    this.#families = path.join(root, 'cache', 'families');
    this.#digests = path.join(root, 'cache', 'digests');
    this.#evicted = path.join(root, 'cache', 'evicted');
  }

  get(key: CacheKey): CacheRecord | undefined {
    const file = this.#file(key);
    try {
      const record = readJson<CacheRecord>(file);
      if (record === undefined) return undefined;
      if (record.version === 1 && record.key === key && typeof record.result === 'string') return record;
    } catch (error) {
      if (!isMbuildError(error, 'STORE_CORRUPT')) throw error;
    }
    this.onCorrupt(file);
    removeFile(file);
    return undefined;
  }

  put(record: CacheRecord): void {
    replaceFile(this.root, this.#file(record.key), JSON.stringify(record));
    const family = familyOf(record.input);
    if (family !== undefined) createFile(this.root, path.join(this.#families, family, record.key), '');
  }

  candidates(family: string): CacheRecord[] {
    return namesIn(path.join(this.#families, family)).flatMap((name) => this.get(name as CacheKey) ?? []);
  }

  list(): CacheRecord[] {
    return namesIn(this.#records).flatMap((name) => (name.endsWith('.json') ? this.get(name.slice(0, -'.json'.length) as CacheKey) ?? [] : []));
  }

  delete(key: CacheKey): void {
    const record = this.get(key);
    if (record !== undefined) replaceFile(this.root, path.join(this.#evicted, key), '');
    removeFile(this.#file(key));
    const family = record === undefined ? undefined : familyOf(record.input);
    if (family !== undefined) rmSync(path.join(this.#families, family, key), { force: true });
  }

  evictedAt(key: CacheKey): string | undefined {
    if (statSync(this.#file(key), { throwIfNoEntry: false }) !== undefined) return undefined;
    return statSync(path.join(this.#evicted, key), { throwIfNoEntry: false })?.mtime.toISOString();
  }

  forget(before: number): void {
    for (const folder of [this.#evicted, this.#digests]) {
      for (const file of namesIn(folder).map((name) => path.join(folder, name))) if ((statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? before) < before) removeFile(file);
    }
  }

  recall(name: string): string | undefined {
    const digest = readRecord<{ readonly digest?: unknown }>(path.join(this.#digests, name))?.digest;
    return typeof digest === 'string' ? digest : undefined;
  }

  remember(name: string, digest: string): void {
    replaceFile(this.root, path.join(this.#digests, name), JSON.stringify({ digest }));
  }

  #file(key: CacheKey): string {
    return path.join(this.#records, `${key}.json`);
  }
}

/**
 * Steps of one family run the same command on the same tree, with other variables or mounts: they may well leave the
 * same tree. Only commands have one; a copy's key says all about what it leaves.
 */
export function familyOf(input: Pick<KeyInput, 'kind' | 'parent' | 'inputs'>): string | undefined {
  return input.kind === 'run' ? hashValue([input.kind, input.parent, input.inputs['args']]) : undefined;
}
