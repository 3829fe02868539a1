import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ownName } from '../content/files';
import { errnoOf } from '../diagnostics/error';
import type { RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import type { FileContent } from './hash-files';

/**
 * What `lstat` showed of files, and what was in them then, in columns: a file's place in all of
 * them is its index.
 */
interface Columns {
  readonly count: number;
  /** `FACTS` numbers a file. */
  readonly facts: Float64Array;
  /** 64 hex characters a file. */
  readonly hashes: string;
  readonly xattrs: ReadonlyMap<number, string>;
}

const FACTS = 6;
const HASH_BYTES = 32;
// Files, bytes of the names, bytes of the attributes; padded so that the doubles behind it are
// aligned.
const HEADER = 32;
/** The second form: hashes of the first were made without the attributes of users. */
const MAGIC = 0x6d627332;
/**
 * Entries of files that nobody asks for any more are dropped once there are more of them than this,
 * and than of others.
 */
const MAX_STALE = 10_000;

// A file system's clock may tick coarsely: ext4's every 4 to 10 ms, some only each second or two.
const FINE_TICK_MS = 100;
const COARSE_TICK_MS = 2_100;

/**
 * Remembers the content hash of the files of one directory tree between builds, by what `lstat`
 * shows of them (as git's index does). Whoever changes a file changes its ctime, which nobody can
 * set; so equal facts mean equal content, unless the file changed in the same tick of the clock in
 * which it was hashed: such an entry is not kept.
 */
export class StatCache {
  readonly #used = new Set<RawPath>();
  /**
   * What was put: flat numbers, for an object a file is a lot where there are hundreds of
   * thousands.
   */
  readonly #added = { facts: [] as number[], contents: [] as FileContent[] };
  #loaded: { readonly files: Map<RawPath, number>; readonly columns: Columns } | undefined;
  #changed = false;

  /** @param file read when it is first asked; what cannot be read is empty. */
  private constructor(private readonly file: string) {}

  /** Indices of files by name: first of those that were read, then of those that were put. */
  get #files(): Map<RawPath, number> {
    return this.#load().files;
  }

  get #columns(): Columns {
    return this.#load().columns;
  }

  #load(): { readonly files: Map<RawPath, number>; readonly columns: Columns } {
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

  /** Whether nothing is remembered. */
  get isEmpty(): boolean {
    return this.#files.size === 0;
  }

  /** The content of a file that is as it was; `undefined` when that is not known. */
  get(name: RawPath, stats: FileStats): FileContent | undefined {
    this.#used.add(name);
    const index = this.#files.get(name);
    return index !== undefined && sameFacts(this.#factsAt(index), stats)
      ? this.#contentAt(index)
      : undefined;
  }

  /**
   * Remembers a file's content.
   * @param hashedAt when its reading began (ms since the epoch), before `stats` were confirmed.
   */
  put(name: RawPath, stats: FileStats, content: FileContent, hashedAt: number): void {
    this.#used.add(name);
    if (isSettled(stats, hashedAt)) {
      this.#files.set(name, this.#columns.count + this.#added.contents.length);
      this.#added.facts.push(...factsOf(stats));
      this.#added.contents.push(content);
      this.#changed = true;
    } else if (this.#files.delete(name)) {
      // What was known is wrong by now, or would have been found.
      this.#changed = true;
    }
  }

  /**
   * Writes what changed, as a whole or not at all. The cache is a convenience: failing to write it
   * is not an error.
   */
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

  #factsAt(index: number): ArrayLike<number> {
    const { facts, count } = this.#columns;
    return index < count
      ? facts.subarray(index * FACTS, (index + 1) * FACTS)
      : this.#added.facts.slice((index - count) * FACTS, (index - count + 1) * FACTS);
  }

  #contentAt(index: number): FileContent {
    const { hashes, xattrs, count } = this.#columns;
    if (index >= count) return this.#added.contents[index - count] ?? { hash: '' };
    const hash = hashes.slice(index * HASH_BYTES * 2, (index + 1) * HASH_BYTES * 2);
    const kept = xattrs.get(index);
    return kept === undefined ? { hash } : { hash, xattrs: kept };
  }

  #encoded(): Buffer {
    const stale = this.#files.size - this.#used.size;
    const dropStale = stale > MAX_STALE && stale > this.#used.size;
    const kept = [...this.#files.keys()].filter((name) => !dropStale || this.#used.has(name));
    const facts = new Float64Array(kept.length * FACTS);
    const hashes = Buffer.alloc(kept.length * HASH_BYTES);
    const attributes: [number, string][] = [];
    kept.forEach((name, at) => {
      const index = this.#files.get(name) ?? 0;
      const { hash, xattrs } = this.#contentAt(index);
      facts.set(this.#factsAt(index), at * FACTS);
      hashes.write(hash, at * HASH_BYTES, 'hex');
      if (xattrs !== undefined) attributes.push([at, xattrs]);
    });
    const names = Buffer.from(kept.join('\0'), 'latin1');
    const more = Buffer.from(JSON.stringify(attributes), 'latin1');
    const header = Buffer.alloc(HEADER);
    [MAGIC, kept.length, names.length, more.length].forEach((number, i) =>
      header.writeUInt32LE(number, i * 4),
    );
    return Buffer.concat([header, Buffer.from(facts.buffer), hashes, names, more]);
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

function sameFacts(facts: ArrayLike<number>, stats: FileStats): boolean {
  return (
    facts[0] === stats.dev &&
    facts[1] === stats.ino &&
    facts[2] === stats.size &&
    facts[3] === stats.mtimeMs &&
    facts[4] === stats.ctimeMs &&
    facts[5] === stats.mode
  );
}

/**
 * The columns of a cache file; none when it is not there or not whole. The machine's byte order is
 * the file's.
 */
function readColumns(file: string): Columns & { readonly names: readonly RawPath[] } {
  const none = {
    count: 0,
    facts: new Float64Array(),
    hashes: '',
    xattrs: new Map<number, string>(),
    names: [],
  };
  const bytes = readWhole(file);
  if (bytes === undefined || bytes.length < HEADER || bytes.readUInt32LE(0) !== MAGIC) return none;
  const [count, nameBytes, moreBytes] = [
    bytes.readUInt32LE(4),
    bytes.readUInt32LE(8),
    bytes.readUInt32LE(12),
  ];
  const hashesAt = HEADER + count * FACTS * 8;
  const namesAt = hashesAt + count * HASH_BYTES;
  const moreAt = namesAt + nameBytes;
  if (bytes.length !== moreAt + moreBytes) return none;
  const names = count === 0 ? [] : bytes.toString('latin1', namesAt, moreAt).split('\0');
  if (names.length !== count) return none;
  return {
    count,
    facts: new Float64Array(
      bytes.buffer.slice(bytes.byteOffset + HEADER, bytes.byteOffset + hashesAt),
    ),
    hashes: bytes.toString('hex', hashesAt, namesAt),
    xattrs: new Map(JSON.parse(bytes.toString('latin1', moreAt)) as [number, string][]),
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
