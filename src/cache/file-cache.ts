import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { Aside } from '../content/aside';
import { createFile, namesIn, readJson, readRecord, replaceFile } from '../content/files';
import { isMbuildError } from '../diagnostics/error';
import { removeFile } from '../linux/remove-tree';
import { hashValue, type CacheKey, type KeyInput, type ResultId } from './key';
import type { CacheRecord, CacheStore } from './record';

/**
 * One file a record: `<root>/cache/records/<key>.json`; and an empty file for each record's family,
 * or for the tree that it copies onto, `<root>/cache/families/<family>/<key>`. Remembered digests
 * are in `<root>/cache/digests`; `<root>/cache/evicted/<key>` is an empty file whose time says when
 * the record was deleted.
 */
export class FileCacheStore implements CacheStore {
  readonly #records: string;
  readonly #families: string;
  readonly #digests: string;
  readonly #evicted: string;

  /** @param aside takes records that are damaged. */
  constructor(
    private readonly root: string,
    private readonly aside: Aside = new Aside(root),
  ) {
    this.#records = path.join(root, 'cache', 'records');
    this.#families = path.join(root, 'cache', 'families');
    this.#digests = path.join(root, 'cache', 'digests');
    this.#evicted = path.join(root, 'cache', 'evicted');
  }

  get(key: CacheKey): CacheRecord | undefined {
    const file = this.#file(key);
    try {
      const record = readJson<CacheRecord>(file);
      // Another version's is nothing here, and stays: that version may come back.
      if (record === undefined || isForeign(record)) return undefined;
      if (record.key === key && typeof record.result === 'string') return record;
    } catch (error) {
      if (!isMbuildError(error, 'STORE_CORRUPT')) throw error;
    }
    this.aside.move(file);
    return undefined;
  }

  put(record: CacheRecord): void {
    const family = folderOf(record.input);
    // First, for a record that is there is not written again by who finds it.
    if (family !== undefined)
      createFile(this.root, path.join(this.#families, family, record.key), '');
    replaceFile(this.root, this.#file(record.key), JSON.stringify(record));
  }

  candidates(family: string): CacheRecord[] {
    return namesIn(path.join(this.#families, family)).flatMap(
      (name) => this.get(name as CacheKey) ?? [],
    );
  }

  knowsCopyOnto(parent: ResultId): boolean {
    return namesIn(path.join(this.#families, copiesOnto(parent))).length > 0;
  }

  list(): CacheRecord[] {
    return namesIn(this.#records).flatMap((name) =>
      name.endsWith('.json') ? (this.get(name.slice(0, -'.json'.length) as CacheKey) ?? []) : [],
    );
  }

  delete(key: CacheKey): void {
    const record = this.get(key);
    if (record !== undefined) replaceFile(this.root, path.join(this.#evicted, key), '');
    removeFile(this.#file(key));
    const family = record === undefined ? undefined : folderOf(record.input);
    if (family !== undefined) removeFile(path.join(this.#families, family, key));
  }

  isForeign(key: CacheKey): boolean {
    return isForeign(readRecord<CacheRecord>(this.#file(key)));
  }

  evictedAt(key: CacheKey): string | undefined {
    if (statSync(this.#file(key), { throwIfNoEntry: false }) !== undefined) return undefined;
    return statSync(path.join(this.#evicted, key), { throwIfNoEntry: false })?.mtime.toISOString();
  }

  forget(before: number): void {
    for (const file of namesIn(this.#records).map((name) => path.join(this.#records, name))) {
      if (isOlder(file, before) && isForeign(readRecord<CacheRecord>(file))) removeFile(file);
    }
    this.#settleFamilies();
    for (const folder of [this.#evicted, this.#digests]) {
      for (const file of namesIn(folder).map((name) => path.join(folder, name)))
        if (isOlder(file, before)) removeFile(file);
    }
  }

  /**
   * Forgets members of families whose records are gone, and brings back those that a loss of power
   * took from records that are there.
   */
  #settleFamilies(): void {
    for (const { key, input } of this.list()) {
      const family = folderOf(input);
      if (family !== undefined && !existsSync(path.join(this.#families, family, key)))
        createFile(this.root, path.join(this.#families, family, key), '');
    }
    for (const family of namesIn(this.#families)) {
      for (const key of namesIn(path.join(this.#families, family)))
        if (!existsSync(this.#file(key as CacheKey)))
          removeFile(path.join(this.#families, family, key));
    }
  }

  recall(name: string): string | undefined {
    const digest = readRecord<{ readonly digest?: unknown }>(
      path.join(this.#digests, name),
    )?.digest;
    return typeof digest === 'string' ? digest : undefined;
  }

  remember(name: string, digest: string): void {
    replaceFile(this.root, path.join(this.#digests, name), JSON.stringify({ digest }));
  }

  #file(key: CacheKey): string {
    return path.join(this.#records, `${key}.json`);
  }
}

/** True for a record that another version of mbuild wrote in a form of its own. */
function isForeign(record: { readonly version?: unknown } | undefined): boolean {
  return typeof record?.version === 'number' && record.version !== 1;
}

function isOlder(file: string, time: number): boolean {
  return (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? time) < time;
}

/**
 * Steps of one family run the same command on the same tree, with other variables or mounts: they
 * may well leave the same tree. Only commands have one; a copy's key says all about what it leaves.
 */
export function familyOf(input: Pick<KeyInput, 'kind' | 'parent' | 'inputs'>): string | undefined {
  return input.kind === 'run'
    ? hashValue([input.kind, input.parent, input.inputs['args']])
    : undefined;
}

/** Where among the families a record is noted. */
function folderOf(input: KeyInput): string | undefined {
  return input.kind === 'copy' ? copiesOnto(input.parent) : familyOf(input);
}

function copiesOnto(parent: ResultId): string {
  return hashValue(['copy', parent]);
}
