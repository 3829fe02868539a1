import { closeSync, constants, createReadStream, ftruncateSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';
import zlib from 'node:zlib';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import { decompressed, detectCompression } from '../layer/decompress';
import { LAYER_LIMITS, checkEntries, checkSize } from '../layer/layer';
import { BLOCK, type TarEntry } from '../layer/tar/entry';
import { explained } from '../layer/tar/explain';
import { TarReader, type TarSink } from '../layer/tar/read';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { writeAll } from '../linux/write-all';
import { keptXattrs } from '../snapshot/kept-xattrs';
import { cleanPath, splitPath } from '../snapshot/resolve';
import type { Attributes, TreeDirectory } from '../snapshot/tree-entry';
import type { TreeWriter } from '../snapshot/tree-writer';
import { openForReading } from './hash-files';

/** How an archive is unpacked. */
export interface ExtractOptions {
  /** Owner of everything, whatever the archive says. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface OpenFile {
  readonly fd: number;
  readonly hostPath: RawPath;
  readonly entry: TarEntry;
  readonly attributes: Attributes;
  position: number;
}

// Enough for the first header behind any compression's own.
const SAMPLE = 64 * 1024;

/**
 * Unpacks a tar archive (plain, gzip, bzip2, xz or zstd, by content) into a directory of a tree, as
 * ADD does: directories merge, anything else replaces what is there, a directory included. The
 * destination is the archive's root: no `..`, absolute name or symlink leads out of it. Of extended
 * attributes capabilities and those of users are kept.
 * @throws MbuildError ARCHIVE_INVALID, ARCHIVE_UNSAFE (an entry that leaves the destination),
 * LIMIT_EXCEEDED, NO_SPACE, UNSUPPORTED (a missing program); the signal's reason.
 */
export async function extractArchive(
  source: Readable,
  writer: TreeWriter,
  destination: TreeDirectory,
  options: ExtractOptions = {},
): Promise<void> {
  const extraction = new Extraction(writer, destination, options);
  const reader = new TarReader(extraction);
  try {
    for await (const chunk of decompressed(source)) {
      options.signal?.throwIfAborted();
      reader.push(chunk);
    }
    reader.finish();
    extraction.finish();
  } finally {
    extraction.close();
  }
}

/** The same from a file. */
export async function extractFile(
  hostPath: RawPath,
  writer: TreeWriter,
  destination: TreeDirectory,
  options: ExtractOptions = {},
): Promise<void> {
  const fd = openForReading(hostPath);
  await extractArchive(
    createReadStream('', { fd, highWaterMark: 1024 * 1024 }),
    writer,
    destination,
    options,
  );
}

/**
 * True when a file's content is a tar archive with at least one entry, compressed or not. Names do
 * not matter.
 * @throws MbuildError ARCHIVE_INVALID for bzip2 and xz data that is damaged: its programs tell
 * nothing of what is in front of the damage.
 */
export async function isArchive(hostPath: RawPath): Promise<boolean> {
  const fd = openForReading(hostPath);
  let head: Buffer;
  try {
    const sample = Buffer.alloc(SAMPLE);
    head = sample.subarray(0, readSync(fd, sample, 0, SAMPLE, 0));
  } finally {
    closeSync(fd);
  }
  switch (detectCompression(head)) {
    case 'none':
      return isTarHeader(head);
    case 'gzip':
      return isTarHeader(gunzipHead(head));
    default:
      return isTarHeader(await firstBytes(hostPath, isUnmistakable(head)));
  }
}

/** True for the beginning of bzip2 and xz files, which no other file has by chance. */
function isUnmistakable(head: Buffer): boolean {
  return /^(?:BZh[1-9](?:1AY&SY|\x17rE8P\x90)|\xfd7zXZ\0)/.test(head.toString('latin1', 0, 10));
}

/**
 * A header's checksum is the sum of its bytes, its own field taken as spaces (IEEE 1003.1, pax,
 * "ustar Interchange Format").
 */
function isTarHeader(head: Buffer): boolean {
  if (head.length < BLOCK) return false;
  const [from, to] = [148, 156];
  const written = parseInt(
    head
      .toString('latin1', from, to)
      .replace(/[\0 ]+$/, '')
      .trim(),
    8,
  );
  let unsigned = 0;
  let signed = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = i >= from && i < to ? 0x20 : (head[i] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  return written === unsigned || written === signed;
}

/**
 * What the first bytes of a gzip file hold, up to the first that is damaged: that is no reason to
 * take an archive for something else. Whatever a number of bytes is too many for, more are: the
 * most that can be unpacked is searched by halves.
 */
function gunzipHead(head: Buffer): Buffer {
  const whole = gunzipped(head);
  if (whole !== undefined) return whole;
  let [sound, damaged] = [0, head.length];
  let unpacked = Buffer.alloc(0);
  while (damaged - sound > 1) {
    const middle = (sound + damaged) >> 1;
    const found = gunzipped(head.subarray(0, middle));
    if (found === undefined) damaged = middle;
    else [sound, unpacked] = [middle, found];
  }
  return unpacked;
}

/** `undefined` for what is damaged, or too much. */
function gunzipped(bytes: Buffer): Buffer<ArrayBuffer> | undefined {
  try {
    return zlib.gunzipSync(bytes, {
      finishFlush: zlib.constants.Z_SYNC_FLUSH,
      maxOutputLength: 64 * 1024 * 1024,
    });
  } catch (error) {
    if (errnoOf(error)?.startsWith('Z_') !== true && errnoOf(error) !== 'ERR_BUFFER_TOO_LARGE')
      throw error;
    return undefined;
  }
}

/** @param mustUnpack whether damage in front of the first header is an error */
async function firstBytes(hostPath: RawPath, mustUnpack: boolean): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of decompressed(
      createReadStream('', { fd: openForReading(hostPath) }),
    )) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= BLOCK) break;
    }
  } catch (error) {
    if (!isMbuildError(error, 'ARCHIVE_INVALID') || (mustUnpack && length < BLOCK)) throw error;
  }
  return Buffer.concat(chunks);
}

/** Writes an archive's entries through a tree writer. */
class Extraction implements TarSink {
  readonly #mtimes: (readonly [TreeDirectory, number])[] = [];
  #file: OpenFile | undefined;
  #entries = 0;
  #holes = 0;

  constructor(
    private readonly writer: TreeWriter,
    private readonly destination: TreeDirectory,
    private readonly options: ExtractOptions,
  ) {}

  entry(entry: TarEntry): void {
    this.#entries++;
    checkEntries('archive', this.#entries, LAYER_LIMITS);
    explained(entry, () => this.#make(entry));
  }

  #make(entry: TarEntry): void {
    const path = cleanInside(entry.path);
    const { dir, name } = splitPath(path);
    // The archive's root is the destination, which keeps its attributes.
    if (name === '') return;
    const parent = this.writer.mkdirAll(dir, { mode: 0o755, isModeExact: true }, this.destination);
    if (entry.type === 'directory') {
      this.#directory(parent, name, entry);
      return;
    }
    if (this.writer.find(parent, name)?.stats.isDirectory() === true)
      this.writer.remove(parent, name);
    const attributes = this.#attributes(entry);
    switch (entry.type) {
      case 'file': {
        const hostPath = this.writer.place(parent, name);
        const fd = openSync(
          fsPath(hostPath),
          constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
          0o600,
        );
        this.#file = { fd, hostPath, entry, attributes, position: 0 };
        break;
      }
      case 'symlink':
        this.writer.symlink(parent, name, entry.linkPath, attributes);
        break;
      case 'link':
        this.writer.link(parent, name, cleanInside(entry.linkPath), this.destination);
        // The file that has two names now is as the archive describes the second.
        this.writer.setLinkAttributes(parent, name, attributes);
        break;
      default:
        this.writer.node(parent, name, { kind: entry.type, device: entry.device }, attributes);
    }
  }

  data(bytes: Buffer): void {
    const file = this.#file;
    if (file === undefined) return;
    explained(file.entry, () => writeAll(file.fd, bytes, file.position));
    file.position += bytes.length;
  }

  hole(length: number): void {
    this.#holes += length;
    checkSize('archive', this.#holes, LAYER_LIMITS);
    if (this.#file !== undefined) this.#file.position += length;
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    explained(file.entry, () => {
      ftruncateSync(file.fd, file.position);
      this.close();
      this.writer.complete(file.hostPath, file.attributes);
    });
  }

  /** Directories get their times last: writing into them would change these. */
  finish(): void {
    for (const [directory, mtime] of this.#mtimes) this.writer.setMtime(directory, mtime);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #directory(parent: TreeDirectory, name: RawPath, entry: TarEntry): void {
    const found = this.writer.find(parent, name);
    if (found !== undefined && !found.stats.isDirectory()) this.writer.remove(parent, name);
    const attributes = this.#attributes(entry);
    const { directory, made } = this.writer.makeDirectory(parent, name, attributes);
    if (!made) this.writer.setAttributes(directory, attributes);
    this.#mtimes.push([directory, entry.mtime]);
  }

  #attributes({ mode, uid, gid, mtime, xattrs }: TarEntry): Attributes {
    const kept = keptXattrs(xattrs);
    return {
      mode,
      uid,
      gid,
      ...this.options.owner,
      mtime,
      ...(kept === undefined ? {} : { xattrs: kept }),
    };
  }
}

/**
 * A name of the archive from its root on, without `.` and `..`.
 * @throws MbuildError ARCHIVE_UNSAFE where it leads out.
 */
function cleanInside(name: RawPath): RawPath {
  let depth = 0;
  for (const part of name.split('/')) {
    if (part === '..') depth--;
    else if (part !== '' && part !== '.') depth++;
    if (depth < 0)
      throw new MbuildError(
        'ARCHIVE_UNSAFE',
        `the archive has a name that leads out of its destination: ${toText(name)}`,
      );
  }
  return cleanPath(name);
}
