import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ownName } from '../content/files';
import { errnoOf } from '../diagnostics/error';
import type { RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import type { FileContent } from './hash-files';

/** What `lstat` shows of a file, and what was in it then. */
interface Known {
  readonly facts: readonly number[];
  readonly content: FileContent;
}

/** A cache file as it is on disk, in columns: a file's place in all of them is its index. */
interface Columns {
  /** `FACTS` numbers a file. */
  readonly facts: Float64Array;
  /** 64 hex characters a file. */
  readonly hashes: string;
  readonly capabilities: ReadonlyMap<number, string>;
}

const FACTS = 6;
const HASH_BYTES = 32;
// Files, bytes of the names, bytes of the capabilities; padded so that the doubles behind it are aligned.
const HEADER = 32;
const MAGIC = 0x6d627331;
/** Entries of files that nobody asks for any more are dropped once there are more of them than this, and than of others. */
const MAX_STALE = 10_000;

// A file system's clock may tick coarsely: ext4's every 4 to 10 ms, some only each second or two.
const FINE_TICK_MS = 100;
const COARSE_TICK_MS = 2_100;

/**
 * Remembers the content hash of the files of one directory tree between builds, by what `lstat` shows of them (as git's
 * index does). Whoever changes a file changes its ctime, which nobody can set; so equal facts mean equal content, unless
 * the file changed in the same tick of the clock in which it was hashed: such an entry is not kept.
 */
export class StatCache {
  readonly #used = new Set<RawPath>();
  #loaded: { readonly files: Map<RawPath, number | Known>; readonly columns: Columns } | undefined;
  #changed = false;

  /** @param file read when it is first asked; what cannot be read is empty. */
  private constructor(private readonly file: string) {}

  /** Files as they were read, by name; a number is an index into the columns. */
  get #files(): Map<RawPath, number | Known> {
    return this.#load().files;
  }

  get #columns(): Columns {
    return this.#load().columns;
  }

  #load(): { readonly files: Map<RawPath, number | Known>; readonly columns: Columns } {
    if (this.#loaded === undefined) {
      const { names, ...columns } = readColumns(this.file);
      this.#loaded = { columns, files: new Map(names.map((name, index) => [name, index])) };
    }
    return this.#loaded;
  }

  /** @param folder of all such caches. @param root the directory, absolute and without symlinks. */
  static load(folder: string, root: RawPath): StatCache {
    return new StatCache(cacheFile(folder, root));
  }

  /** The content of a file that is as it was; `undefined` when that is not known. */
  get(name: RawPath, stats: FileStats): FileContent | undefined {
    this.#used.add(name);
    const known = this.#files.get(name);
    if (known === undefined) return undefined;
    if (typeof known !== 'number') return sameFacts(known.facts, 0, stats) ? known.content : undefined;
    return sameFacts(this.#columns.facts, known * FACTS, stats) ? this.#contentAt(known) : undefined;
  }

  /** Remembers a file's content. @param hashedAt when its reading began (ms since the epoch), before `stats` were confirmed. */
  put(name: RawPath, stats: FileStats, content: FileContent, hashedAt: number): void {
    this.#used.add(name);
    if (isSettled(stats, hashedAt)) {
      const { hash, capability } = content;
      this.#files.set(name, { facts: factsOf(stats), content: capability === undefined ? { hash } : { hash, capability } });
      this.#changed = true;
    } else if (this.#files.delete(name)) {
      // What was known is wrong by now, or would have been found.
      this.#changed = true;
    }
  }

  /** Writes what changed, as a whole or not at all. The cache is a convenience: failing to write it is not an error. */
  save(): void {
    if (!this.#changed) return;
    const temp = ownName(path.dirname(this.file), path.basename(this.file));
    try {
      mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
      writeFileSync(temp, this.#encoded(), { mode: 0o600, flag: 'wx' });
      renameSync(temp, this.file);
      this.#changed = false;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      forget(temp);
    }
  }

  #contentAt(index: number): FileContent {
    const hash = this.#columns.hashes.slice(index * HASH_BYTES * 2, (index + 1) * HASH_BYTES * 2);
    const capability = this.#columns.capabilities.get(index);
    return capability === undefined ? { hash } : { hash, capability };
  }

  #encoded(): Buffer {
    const stale = this.#files.size - this.#used.size;
    const dropStale = stale > MAX_STALE && stale > this.#used.size;
    const kept = [...this.#files].filter(([name]) => !dropStale || this.#used.has(name));
    const capabilities: [number, string][] = [];
    const facts = new Float64Array(kept.length * FACTS);
    const hashes = kept.map(([, known], index) => {
      const { hash, capability } = typeof known === 'number' ? this.#contentAt(known) : known.content;
      if (capability !== undefined) capabilities.push([index, capability]);
      facts.set(typeof known === 'number' ? this.#columns.facts.subarray(known * FACTS, (known + 1) * FACTS) : known.facts, index * FACTS);
      return hash;
    });
    const names = Buffer.from(kept.map(([name]) => name).join('\0'), 'latin1');
    const more = Buffer.from(JSON.stringify(capabilities), 'latin1');
    const header = Buffer.alloc(HEADER);
    [MAGIC, kept.length, names.length, more.length].forEach((number, i) => header.writeUInt32LE(number, i * 4));
    return Buffer.concat([header, Buffer.from(facts.buffer), Buffer.from(hashes.join(''), 'hex'), names, more]);
  }
}

function forget(temp: string): void {
  try {
    unlinkSync(temp);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** The file of a directory in a folder of caches. */
export function cacheFile(folder: string, root: RawPath): string {
  return path.join(folder, createHash('sha256').update(root, 'latin1').digest('hex').slice(0, 32));
}

/** True when a change of the file after `hashedAt` cannot leave it with the same times. */
export function isSettled(stats: FileStats, hashedAt: number): boolean {
  const coarse = stats.ctimeMs % 1000 === 0;
  const latest = hashedAt - (coarse ? COARSE_TICK_MS : FINE_TICK_MS);
  // Also false for times in the future: the clock was set back since.
  return stats.ctimeMs < latest && stats.mtimeMs < latest;
}

function factsOf({ dev, ino, size, mtimeMs, ctimeMs, mode }: FileStats): readonly number[] {
  return [dev, ino, size, mtimeMs, ctimeMs, mode];
}

function sameFacts(facts: ArrayLike<number>, at: number, stats: FileStats): boolean {
  return facts[at] === stats.dev && facts[at + 1] === stats.ino && facts[at + 2] === stats.size
    && facts[at + 3] === stats.mtimeMs && facts[at + 4] === stats.ctimeMs && facts[at + 5] === stats.mode;
}

/** The columns of a cache file; none when it is not there or not whole. The machine's byte order is the file's. */
function readColumns(file: string): Columns & { readonly names: readonly RawPath[] } {
  const none = { facts: new Float64Array(), hashes: '', capabilities: new Map<number, string>(), names: [] };
  const bytes = readWhole(file);
  if (bytes === undefined || bytes.length < HEADER || bytes.readUInt32LE(0) !== MAGIC) return none;
  const [count, nameBytes, moreBytes] = [bytes.readUInt32LE(4), bytes.readUInt32LE(8), bytes.readUInt32LE(12)];
  const hashesAt = HEADER + count * FACTS * 8;
  const namesAt = hashesAt + count * HASH_BYTES;
  const moreAt = namesAt + nameBytes;
  if (bytes.length !== moreAt + moreBytes) return none;
  const names = count === 0 ? [] : bytes.toString('latin1', namesAt, moreAt).split('\0');
  if (names.length !== count) return none;
  return {
    facts: new Float64Array(bytes.buffer.slice(bytes.byteOffset + HEADER, bytes.byteOffset + hashesAt)),
    hashes: bytes.toString('hex', hashesAt, namesAt),
    capabilities: new Map(JSON.parse(bytes.toString('latin1', moreAt)) as [number, string][]),
    names,
  };
}

function readWhole(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
