import { createHash, type Hash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { MbuildError } from '../diagnostics/error';
import { fsPath, type RawPath } from '../linux/paths';
import { throwIfStopped } from '../linux/stop-flag';
import { toDigest, type DiffID, type Digest } from '../oci/digest';
import { decompressStream } from './decompress';
import { Growth, checkSize, type Applied, type ApplySource, type OverlayXattrs } from './layer';
import { isOpaque, parentOf } from './marks';
import { ParentTree, copyAttributes } from './parents';
import { TarReader } from './tar/read';
import { Unpacker, type ApplyOptions } from './unpack';

export type { ApplyOptions } from './unpack';

const READ_SIZE = 1024 * 1024;
/** Milliseconds until a file that is being written is looked at again. */
const WAIT = 5;

/**
 * Unpacks a layer into an empty directory in overlay's form, verifying it on the way. The directory
 * must be nobody else's; it is left half written when this throws. Without `options.parents` some
 * layers need {@link completeApplied} after.
 * @throws MbuildError DIGEST_MISMATCH, ARCHIVE_INVALID (no tar, damaged, truncated), ARCHIVE_UNSAFE
 * (an entry that would lead out of the tree), LIMIT_EXCEEDED, NO_SPACE, CANCELED.
 */
export async function applyLayer(
  source: ApplySource,
  dir: RawPath,
  options: ApplyOptions,
): Promise<Applied> {
  mkdirSync(fsPath(dir), { recursive: true });
  const unpacker = new Unpacker(dir, options, umask());
  const isKnown =
    source.isHashedElsewhere === true || source.digest !== undefined || source.diffId !== undefined;
  const reader = new TarReader(unpacker, { endRequired: !isKnown });
  const input = new Input(source);
  const tarHash = source.compression === 'none' ? undefined : createHash('sha256');
  try {
    const take = (chunk: Buffer): void => {
      throwIfStopped(options.stop);
      tarHash?.update(chunk);
      checkSize('layer', reader.offset + chunk.length, options.limits);
      reader.push(chunk);
    };
    if (source.compression === 'none') await input.readAll(take);
    else
      for await (const chunk of decompressStream(input.stream(), source.compression)) take(chunk);
    reader.finish();
    const stored = await input.finish();
    const diffId = (tarHash === undefined ? stored : toDigest(tarHash)) as string | undefined as
      DiffID | undefined;
    if (stored !== undefined) verify(source.digest, stored, 'digest');
    if (diffId !== undefined) verify(source.diffId, diffId, 'DiffID');
    return {
      ...unpacker.finish(),
      diffId,
      size: reader.offset,
      entries: unpacker.entries,
      contentSize: unpacker.contentSize,
    };
  } catch (error) {
    unpacker.abort();
    throw error;
  } finally {
    input.close();
  }
}

/**
 * Finishes a layer that was unpacked without its parents, now that they are known (`parents`: their
 * directories, top first): implied directories get the parents' attributes.
 * @returns false when the layer must be applied again, in an emptied directory and with `parents`:
 * a name of it leads through a symlink of a parent's, it has hard links to a parent's files, or it
 * hides the whole root.
 */
export function completeApplied(
  applied: Applied,
  dir: RawPath,
  parents: readonly string[],
  options: Pick<ApplyOptions, 'xattrs'>,
): boolean {
  // Both are rare enough not to be worth a second way of doing what unpacking does.
  if (applied.foreignLinks.length > 0 || isOpaque(dir, options.xattrs)) return false;
  const tree = new ParentTree(parents, options.xattrs);
  const below = applied.implied.map(
    (path) => [path, isCut(dir, path, options.xattrs) ? undefined : tree.lstat(path)] as const,
  );
  if (below.some(([, entry]) => entry?.stats.isSymbolicLink() === true)) return false;
  // Deepest first, for a parent's mode may shut its children off from a user who is not root.
  for (const [path, entry] of below.reverse()) {
    if (entry?.stats.isDirectory() === true)
      copyAttributes(entry, path === '' ? dir : `${dir}/${path}`);
  }
  return true;
}

/** True when an opaque directory of this layer hides all below the path's parents. */
function isCut(dir: RawPath, path: RawPath, xattrs: OverlayXattrs): boolean {
  for (let parent = parentOf(path); parent !== ''; parent = parentOf(parent))
    if (isOpaque(`${dir}/${parent}`, xattrs)) return true;
  return false;
}

function verify(expected: Digest | DiffID | undefined, found: Digest | DiffID, what: string): void {
  if (expected === undefined || expected === found) return;
  throw new MbuildError('DIGEST_MISMATCH', `the layer's ${what} is ${found}, not ${expected}`);
}

/**
 * The permission bits that new files are denied. Asking through `process.umask()` would change it
 * for a moment, for all threads.
 */
function umask(): number {
  const [, octal] = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  return octal === undefined ? 0o777 : parseInt(octal, 8);
}

/**
 * The bytes of a blob, or of a part of a file, hashed as they are read unless their writer does
 * that.
 */
class Input {
  /** Infinite for a file whose writer does not know yet. */
  readonly size: number;
  readonly #hash: Hash | undefined;
  readonly #fd: number;
  readonly #growing: ApplySource['growing'];
  #position: number;
  #left: number;

  constructor(source: ApplySource) {
    const isHashed =
      source.compression === 'none'
        ? source.isHashedElsewhere !== true
        : source.growing === undefined;
    this.#hash = isHashed ? createHash('sha256') : undefined;
    this.#fd = openSync(source.path, 'r');
    this.#position = source.start ?? 0;
    this.#growing = source.growing;
    this.size =
      source.length ??
      (source.growing === undefined
        ? Math.max(0, fstatSync(this.#fd).size - this.#position)
        : Infinity);
    this.#left = this.size;
  }

  /** Hands over all of it; a chunk is valid during the call alone. */
  async readAll(take: (chunk: Buffer) => void): Promise<void> {
    const buffer = Buffer.allocUnsafe(READ_SIZE);
    for await (const chunk of this.#chunks(() => buffer)) take(chunk);
  }

  /** All of it as a stream, for what does not take chunk after chunk. */
  stream(): Readable {
    return Readable.from(
      this.#chunks((size) => Buffer.allocUnsafe(size)),
      { objectMode: false, highWaterMark: READ_SIZE },
    );
  }

  /**
   * The digest of all bytes, those included that a decompressor left behind the end of its data;
   * `undefined` where they are not hashed here.
   */
  async finish(): Promise<Digest | undefined> {
    if (this.#hash === undefined) return undefined;
    await this.readAll(() => {});
    return toDigest(this.#hash);
  }

  close(): void {
    closeSync(this.#fd);
  }

  async *#chunks(room: (size: number) => Buffer): AsyncGenerator<Buffer, void> {
    while (this.#left > 0) {
      const there = this.#growing === undefined ? this.#left : this.#come(this.#growing);
      if (there === 0) await sleep(WAIT);
      else if (there !== undefined) yield this.#read(room(Math.min(READ_SIZE, there)), there);
      else this.#left = 0;
    }
  }

  /** How many bytes have come that were not read yet; `undefined` after the last. */
  #come(growing: Int32Array): number | undefined {
    const state = Atomics.load(growing, 0);
    if (state === Growth.stopped) throw new MbuildError('CANCELED', 'the layer was not received');
    const there = Math.min(this.#left, fstatSync(this.#fd).size - this.#position);
    return there <= 0 && state === Growth.whole ? undefined : Math.max(0, there);
  }

  #read(buffer: Buffer, most: number): Buffer {
    const read = readSync(this.#fd, buffer, 0, Math.min(buffer.length, most), this.#position);
    if (read === 0)
      throw new MbuildError('ARCHIVE_INVALID', 'the layer is shorter than it should be');
    this.#position += read;
    this.#left -= read;
    const chunk = buffer.subarray(0, read);
    this.#hash?.update(chunk);
    return chunk;
  }
}
