import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync, type Stats } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import type { RawPath } from '../linux/paths';
import type { FileContent } from './hash-files';

/** A remembered file, encoded, somewhere in a buffer. */
interface Slot {
  readonly bytes: Buffer;
  readonly offset: number;
}

// dev, ino, size, mtime, ctime as doubles; mode; hash; length of the capability, then its bytes.
const FIELDS = { dev: 0, ino: 8, size: 16, mtime: 24, ctime: 32, mode: 40, hash: 44, capability: 76 } as const;
const FIXED = 77;
const HASH_BYTES = 32;
const MAGIC = Buffer.from('mbuild stat cache 1\n');
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
  readonly #slots: Map<RawPath, Slot>;
  readonly #used = new Set<RawPath>();
  #changed = false;

  private constructor(private readonly file: string, slots: Map<RawPath, Slot>) {
    this.#slots = slots;
  }

  /** @param folder of all such caches. @param root the directory, absolute and without symlinks. What cannot be read is empty. */
  static load(folder: string, root: RawPath): StatCache {
    const file = path.join(folder, createHash('sha256').update(root, 'latin1').digest('hex').slice(0, 32));
    return new StatCache(file, readSlots(file));
  }

  /** The content of a file that is as it was; `undefined` when that is not known. */
  get(name: RawPath, stats: Stats): FileContent | undefined {
    this.#used.add(name);
    const slot = this.#slots.get(name);
    if (slot === undefined) return undefined;
    const { bytes, offset } = slot;
    if (bytes.readDoubleLE(offset + FIELDS.ctime) !== stats.ctimeMs || bytes.readDoubleLE(offset + FIELDS.mtime) !== stats.mtimeMs) return undefined;
    if (bytes.readDoubleLE(offset + FIELDS.ino) !== stats.ino || bytes.readDoubleLE(offset + FIELDS.size) !== stats.size) return undefined;
    if (bytes.readDoubleLE(offset + FIELDS.dev) !== stats.dev || bytes.readUInt32LE(offset + FIELDS.mode) !== stats.mode) return undefined;
    const hashAt = offset + FIELDS.hash;
    const hash = bytes.toString('hex', hashAt, hashAt + HASH_BYTES);
    const length = bytes[offset + FIELDS.capability] ?? 0;
    return length === 0 ? { hash } : { hash, capability: bytes.toString('hex', offset + FIXED, offset + FIXED + length) };
  }

  /** Remembers a file's content. @param hashedAt when its reading began (ms since the epoch), before `stats` were confirmed. */
  put(name: RawPath, stats: Stats, content: FileContent, hashedAt: number): void {
    this.#used.add(name);
    const known = this.#slots.has(name);
    if (!isSettled(stats, hashedAt)) {
      // What was known is wrong by now, or would have been found.
      if (known) this.#changed = this.#slots.delete(name);
      return;
    }
    this.#slots.set(name, { bytes: encode(stats, content), offset: 0 });
    this.#changed = true;
  }

  /** Writes what changed, as a whole or not at all. The cache is a convenience: failing to write it is not an error. */
  save(): void {
    if (!this.#changed) return;
    const temp = `${this.file}.${randomBytes(6).toString('hex')}`;
    try {
      mkdirSync(path.dirname(this.file), { recursive: true, mode: 0o700 });
      writeFileSync(temp, Buffer.concat(this.#encoded()), { mode: 0o600, flag: 'wx' });
      renameSync(temp, this.file);
      this.#changed = false;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      forget(temp);
    }
  }

  #encoded(): Buffer[] {
    const stale = this.#slots.size - this.#used.size;
    const dropStale = stale > MAX_STALE && stale > this.#used.size;
    const parts: Buffer[] = [MAGIC];
    for (const [name, { bytes, offset }] of this.#slots) {
      if (dropStale && !this.#used.has(name)) continue;
      const key = Buffer.alloc(2 + name.length);
      key.writeUInt16LE(name.length);
      key.write(name, 2, 'latin1');
      parts.push(key, bytes.subarray(offset, offset + FIXED + (bytes[offset + FIELDS.capability] ?? 0)));
    }
    return parts;
  }
}

function forget(temp: string): void {
  try {
    unlinkSync(temp);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** True when a later change of the file cannot leave it with the same times. */
function isSettled(stats: Stats, hashedAt: number): boolean {
  const coarse = stats.ctimeMs % 1000 === 0;
  const latest = hashedAt - (coarse ? COARSE_TICK_MS : FINE_TICK_MS);
  // Also false for times in the future: the clock was set back since.
  return stats.ctimeMs < latest && stats.mtimeMs < latest;
}

function encode(stats: Stats, content: FileContent): Buffer {
  const capability = Buffer.from(content.capability ?? '', 'hex');
  const bytes = Buffer.alloc(FIXED + capability.length);
  bytes.writeDoubleLE(stats.dev, FIELDS.dev);
  bytes.writeDoubleLE(stats.ino, FIELDS.ino);
  bytes.writeDoubleLE(stats.size, FIELDS.size);
  bytes.writeDoubleLE(stats.mtimeMs, FIELDS.mtime);
  bytes.writeDoubleLE(stats.ctimeMs, FIELDS.ctime);
  bytes.writeUInt32LE(stats.mode, FIELDS.mode);
  bytes.write(content.hash, FIELDS.hash, 'hex');
  bytes[FIELDS.capability] = capability.length;
  capability.copy(bytes, FIXED);
  return bytes;
}

function readSlots(file: string): Map<RawPath, Slot> {
  const slots = new Map<RawPath, Slot>();
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return slots;
  }
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return slots;
  for (let at = MAGIC.length; at + 2 <= bytes.length;) {
    const nameEnd = at + 2 + bytes.readUInt16LE(at);
    const end = nameEnd + FIXED + (bytes[nameEnd + FIELDS.capability] ?? 0);
    // A file that was cut short is worth what is whole in it.
    if (end > bytes.length) break;
    slots.set(bytes.toString('latin1', at + 2, nameEnd), { bytes, offset: nameEnd });
    at = end;
  }
  return slots;
}
