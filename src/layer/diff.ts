import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync, readdirSync, readlinkSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { decodeDevice, isWhiteout } from '../linux/mknod';
import { lstatOwned } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { listXattrs, readXattrs, type Xattrs } from '../linux/xattr';
import type { FileStats } from '../linux/stat';
import { toDigest, type DiffID, type Digest } from '../oci/digest';
import type { OverlayXattrs, TarOptions, TarSummary } from './layer';
import { OPAQUE_MARK, WHITEOUT_PREFIX, isOpaque, joinRaw, layerXattrs } from './marks';
import { NeedleSearch } from './needles';
import { BLOCK, NO_DEVICE, NO_XATTRS, paddingOf, type TarEntry, type TarEntryType } from './tar/entry';
import { END_OF_ARCHIVE, encodePax, writeHeader } from './tar/write';

/** How a layer directory is read. */
export interface TreeOptions extends TarOptions {
  /** Which of overlay's two sets of marks the directory carries. */
  readonly xattrs: OverlayXattrs;
  /** Byte strings that are looked for on the way, each longer than a byte; `found` of the summary tells which are there. */
  readonly needles?: readonly Uint8Array[] | undefined;
}

/** What `hashSmallTree` may spend. */
export interface TreeBudget {
  readonly entries: number;
  readonly bytes: number;
}

/** A tree that hashes faster than a message to a worker takes. */
export const SMALL_TREE: TreeBudget = { entries: 64, bytes: 1024 * 1024 };

const CHUNK = 1024 * 1024;

/**
 * The DiffID of a layer directory: hash of the tar that {@link tarTree} streams. Synchronous, in constant memory.
 * Nothing may write to the directory meanwhile. @throws MbuildError UNSUPPORTED for a name that a layer cannot hold.
 */
export function hashTree(dir: RawPath, options: TreeOptions): TarSummary {
  const summary = hashWithin(dir, options, undefined, true);
  if (summary === undefined) throw new MbuildError('INTERNAL', 'a hash without a budget exceeded it');
  return summary;
}

/** The same for a small tree; `undefined` as soon as it turns out not to be one. */
export function hashSmallTree(dir: RawPath, options: TreeOptions, budget: TreeBudget = SMALL_TREE): TarSummary | undefined {
  return hashWithin(dir, options, budget, true);
}

/** A digest of everything in a layer directory but its times: equal for two runs of a step that made the same. */
export function treeDigest(dir: RawPath, options: TreeOptions): Digest {
  const summary = hashWithin(dir, options, undefined, false);
  if (summary === undefined) throw new MbuildError('INTERNAL', 'a hash without a budget exceeded it');
  return summary.diffId as unknown as Digest;
}

/**
 * The tar of a layer directory in OCI's form: entries sorted by name in each directory and each directory before what is
 * in it, deletions as `.wh.` entries, times in whole seconds. The same tree gives the same bytes, always and everywhere.
 * Chunks are the caller's; the next one is read when it is asked for.
 */
export async function* tarTree(dir: RawPath, options: TreeOptions): AsyncGenerator<Buffer, void> {
  yield* tarChunks(dir, options, { mtimes: true, buffer: () => Buffer.allocUnsafe(CHUNK) });
}

function hashWithin(dir: RawPath, options: TreeOptions, budget: TreeBudget | undefined, mtimes: boolean): TarSummary | undefined {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(budget === undefined ? CHUNK : Math.min(CHUNK, budget.bytes));
  const chunks = tarChunks(dir, options, { mtimes, budget, buffer: () => buffer });
  const search = options.needles === undefined ? undefined : new NeedleSearch(options.needles);
  for (let step = chunks.next(); ; step = chunks.next()) {
    if (step.done !== true) {
      hash.update(step.value);
      search?.push(step.value);
      continue;
    }
    return step.value && { ...step.value, diffId: toDigest(hash) as string as DiffID, ...(search === undefined ? {} : { found: search.found }) };
  }
}

/** Where a needle lies in a layer directory. */
export interface NeedleFound {
  readonly path: RawPath;
  /** Its place in the list. */
  readonly needle: number;
}

/** Which entries hold one of the needles, in their content, name, link target or attributes. Slow: for when a hash has found them. */
export function findNeedles(dir: RawPath, options: TreeOptions, needles: readonly Uint8Array[]): NeedleFound[] {
  const places: NeedleFound[] = [];
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (const { entry, source } of walk(dir, options, true)) {
    const search = new NeedleSearch(needles);
    for (const text of [entry.path, entry.linkPath]) search.push(Buffer.from(`${text}\0`, 'latin1'));
    for (const value of entry.xattrs.values()) search.push(Buffer.concat([value, Buffer.alloc(1)]));
    if (entry.size > 0) for (const chunk of fileChunks(source, buffer)) search.push(chunk);
    places.push(...search.found.map((needle) => ({ path: entry.path, needle })));
  }
  return places;
}

function* fileChunks(file: RawPath, buffer: Buffer): Generator<Buffer, void> {
  const fd = openSync(fsPath(file), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) yield buffer.subarray(0, read);
  } finally {
    closeSync(fd);
  }
}

interface TarForm {
  readonly mtimes: boolean;
  readonly budget?: TreeBudget | undefined;
  /** Where the next chunk is put together; the same buffer may be given again when the last chunk was consumed. */
  readonly buffer: () => Buffer;
}

type TarCounts = Omit<TarSummary, 'diffId'>;

/** Yields the tar in chunks and returns what it counted; `undefined` when the budget did not suffice. */
function* tarChunks(dir: RawPath, options: TreeOptions, form: TarForm): Generator<Buffer, TarCounts | undefined> {
  let chunk = form.buffer();
  let at = 0;
  let entries = 0;
  let contentSize = 0;
  let size = 0;

  function* room(bytes: number): Generator<Buffer, void> {
    if (at + bytes <= chunk.length) return;
    size += at;
    yield chunk.subarray(0, at);
    chunk = form.buffer();
    at = 0;
  }

  for (const { entry, source } of walk(dir, options, form.mtimes)) {
    entries++;
    contentSize += entry.size;
    if (form.budget !== undefined && (entries > form.budget.entries || contentSize > form.budget.bytes)) return undefined;

    const pax = encodePax(entry);
    for (let copied = 0; pax !== undefined && copied < pax.length;) {
      yield* room(BLOCK);
      const taken = pax.copy(chunk, at, copied);
      copied += taken;
      at += taken;
    }
    if (at + BLOCK > chunk.length) yield* room(BLOCK);
    writeHeader(entry, chunk, at);
    at += BLOCK;
    if (entry.size === 0) continue;

    const fd = openSync(fsPath(source), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      for (let left = entry.size; left > 0;) {
        if (at === chunk.length) yield* room(1);
        const read = readSync(fd, chunk, at, Math.min(left, chunk.length - at), null);
        if (read === 0) throw new MbuildError('STORE_CORRUPT', `${toText(source)} became shorter while it was read`);
        at += read;
        left -= read;
      }
    } finally {
      closeSync(fd);
    }
    const padding = paddingOf(entry.size);
    if (at + padding > chunk.length) yield* room(padding);
    chunk.fill(0, at, at + padding);
    at += padding;
  }

  yield* room(END_OF_ARCHIVE.length);
  at += END_OF_ARCHIVE.copy(chunk, at);
  size += at;
  yield chunk.subarray(0, at);
  return { entries, contentSize, size };
}

/** An entry, and the file on disk that has its content. */
interface Found {
  readonly entry: TarEntry;
  readonly source: RawPath;
}

interface OpenDirectory {
  readonly path: RawPath;
  readonly names: readonly RawPath[];
  next: number;
}

/** The entries of a layer directory in the order of its tar. The root itself is none. */
function* walk(dir: RawPath, options: TreeOptions, mtimes: boolean): Generator<Found, void> {
  const omit = new Set(options.omit);
  const firstNames = new Map<string, RawPath>();
  const open: OpenDirectory[] = [openDirectory(dir, '')];
  const makeEntry = (path: RawPath, type: TarEntryType, stats: FileStats, facts: Partial<TarEntry> = {}): TarEntry => ({
    type, path,
    mode: type === 'symlink' ? 0o777 : stats.mode & 0o7777,
    uid: stats.uid, gid: stats.gid,
    mtime: mtimes ? Math.min(Math.floor(stats.mtimeMs / 1000), options.clampMtime ?? Infinity) : 0,
    size: 0, linkPath: '', device: NO_DEVICE, xattrs: NO_XATTRS,
    ...facts,
  });

  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const name = top.names[top.next++];
    if (name === undefined) {
      open.pop();
      continue;
    }
    const path = joinRaw(top.path, name);
    if (omit.has(path)) continue;
    if (name === OPAQUE_MARK && options.xattrs === 'files') continue;
    if (name.startsWith(WHITEOUT_PREFIX)) throw unstorable(path);
    const source = `${dir}/${path}`;
    const stats = lstatOwned(source);
    if (stats === undefined) throw new MbuildError('STORE_CORRUPT', `${toText(source)} vanished while it was read`);

    if (isWhiteout(stats)) {
      yield { entry: makeMark(joinRaw(top.path, WHITEOUT_PREFIX + name)), source };
      continue;
    }
    if (stats.isDirectory()) {
      const opaque = isOpaque(source, options.xattrs);
      yield { entry: makeEntry(path, 'directory', stats, { xattrs: xattrsOf(source) }), source };
      if (opaque) yield { entry: makeMark(joinRaw(path, OPAQUE_MARK)), source };
      open.push(openDirectory(dir, path));
      continue;
    }
    // Sockets are of use only to the process that made them, and no tar can hold one.
    if (stats.isSocket()) continue;
    if (stats.nlink > 1) {
      const inode = `${stats.dev}:${stats.ino}`;
      const first = firstNames.get(inode);
      if (first !== undefined) {
        yield { entry: makeEntry(path, 'link', stats, { linkPath: first }), source };
        continue;
      }
      firstNames.set(inode, path);
    }
    yield { entry: makeEntry(path, typeOf(stats), stats, contentOf(source, stats)), source };
  }
}

/** A whiteout or an opaque mark: an empty file of nobody's and of no time, so that the moment of a deletion is no part of the layer. */
function makeMark(path: RawPath): TarEntry {
  return { type: 'file', path, mode: 0, uid: 0, gid: 0, mtime: 0, size: 0, linkPath: '', device: NO_DEVICE, xattrs: NO_XATTRS };
}

function typeOf(stats: FileStats): TarEntryType {
  if (stats.isFile()) return 'file';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isCharacterDevice()) return 'char';
  return stats.isBlockDevice() ? 'block' : 'fifo';
}

/** What an entry has besides the attributes that all have. */
function contentOf(source: RawPath, stats: FileStats): Partial<TarEntry> {
  const xattrs = xattrsOf(source);
  if (stats.isFile()) return { size: stats.size, xattrs };
  if (stats.isSymbolicLink()) return { linkPath: readlinkSync(fsPath(source), { encoding: 'latin1' }), xattrs };
  if (stats.isFIFO()) return { xattrs };
  return { device: decodeDevice(stats.rdev), xattrs };
}

function openDirectory(dir: RawPath, path: RawPath): OpenDirectory {
  return { path, names: readdirSync(fsPath(joinRaw(dir, path)), { encoding: 'latin1' }).sort(), next: 0 };
}

function xattrsOf(source: RawPath): Xattrs {
  return listXattrs(source).length === 0 ? NO_XATTRS : layerXattrs(readXattrs(source));
}

function unstorable(path: RawPath): MbuildError {
  return new MbuildError('UNSUPPORTED', `${toText(path)} cannot be stored in a layer: names beginning with ${WHITEOUT_PREFIX} mean deletions there`, {
    hint: 'delete or rename it in the step that makes it',
  });
}
