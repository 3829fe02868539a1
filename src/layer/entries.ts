import { readdirSync, readlinkSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { decodeDevice } from '../linux/device-number';
import { isWhiteout } from '../linux/mknod';
import { lstatOwned } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { listXattrs, readXattrs, type Xattrs } from '../linux/xattr';
import type { OverlayXattrs, TarOptions } from './layer';
import { OPAQUE_MARK, WHITEOUT_PREFIX, isOpaque, joinRaw, layerXattrs } from './marks';
import { NO_DEVICE, NO_XATTRS, type TarEntry, type TarEntryType } from './tar/entry';

/** How a layer directory is read. */
export interface TreeOptions extends TarOptions {
  /** Which of overlay's two sets of marks the directory carries. */
  readonly xattrs: OverlayXattrs;
  /**
   * Byte strings that are looked for on the way, each longer than a byte; `found` of the summary
   * tells which are there.
   */
  readonly needles?: readonly Uint8Array[] | undefined;
}

/** An entry, and the file on disk that has its content. */
export interface Found {
  readonly entry: TarEntry;
  readonly source: RawPath;
}

interface OpenDirectory {
  readonly path: RawPath;
  readonly names: readonly RawPath[];
  next: number;
}

/**
 * The entries of a layer directory in the order of its tar: sorted by name in each directory, and
 * each directory before what is in it. The root itself is none.
 * @param mtimes false: all times are 0.
 * @throws MbuildError UNSUPPORTED for a name that a layer cannot hold.
 */
export function* layerEntries(
  dir: RawPath,
  options: TreeOptions,
  mtimes: boolean,
): Generator<Found, void> {
  const omit = new Set(options.omit);
  const firstNames = new Map<string, RawPath>();
  const open: OpenDirectory[] = [openDirectory(dir, '')];
  const latest = options.clampMtime ?? Infinity;
  const timeOf = (stats: FileStats): number => (mtimes ? Math.min(secondsOf(stats), latest) : 0);

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
    if (stats === undefined)
      throw new MbuildError('STORE_CORRUPT', `${toText(source)} disappeared while mbuild read it`);

    if (isWhiteout(stats)) {
      yield { entry: makeMark(joinRaw(top.path, WHITEOUT_PREFIX + name)), source };
      continue;
    }
    if (stats.isDirectory()) {
      const opaque = isOpaque(source, options.xattrs);
      const xattrs = xattrsOf(source);
      yield { entry: plainEntry(path, stats, timeOf(stats), { xattrs }), source };
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
        const facts = { type: 'link', linkPath: first } as const;
        yield { entry: plainEntry(path, stats, timeOf(stats), facts), source };
        continue;
      }
      firstNames.set(inode, path);
    }
    yield { entry: plainEntry(path, stats, timeOf(stats), contentOf(source, stats)), source };
  }
}

/** What a tar says of a file or directory of the disk. */
export function entryAt(path: RawPath, source: RawPath, stats: FileStats): TarEntry {
  const facts = stats.isDirectory() ? { xattrs: xattrsOf(source) } : contentOf(source, stats);
  return plainEntry(path, stats, secondsOf(stats), facts);
}

function plainEntry(
  path: RawPath,
  stats: FileStats,
  mtime: number,
  facts: Partial<TarEntry>,
): TarEntry {
  return {
    type: typeOf(stats),
    path,
    mode: stats.isSymbolicLink() ? 0o777 : stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    mtime,
    size: 0,
    linkPath: '',
    device: NO_DEVICE,
    xattrs: NO_XATTRS,
    ...facts,
  };
}

function secondsOf({ mtimeMs }: FileStats): number {
  return Math.floor(mtimeMs / 1000);
}

/**
 * A whiteout or an opaque mark: an empty file of nobody's and of no time, so that the moment of a
 * deletion is no part of the layer.
 */
function makeMark(path: RawPath): TarEntry {
  return {
    type: 'file',
    path,
    mode: 0,
    uid: 0,
    gid: 0,
    mtime: 0,
    size: 0,
    linkPath: '',
    device: NO_DEVICE,
    xattrs: NO_XATTRS,
  };
}

function typeOf(stats: FileStats): TarEntryType {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isCharacterDevice()) return 'char';
  return stats.isBlockDevice() ? 'block' : 'fifo';
}

/** What an entry has besides the attributes that all have. */
function contentOf(source: RawPath, stats: FileStats): Partial<TarEntry> {
  const xattrs = xattrsOf(source);
  if (stats.isFile()) return { size: stats.size, xattrs };
  if (stats.isSymbolicLink())
    return { linkPath: readlinkSync(fsPath(source), { encoding: 'latin1' }), xattrs };
  if (stats.isFIFO()) return { xattrs };
  return { device: decodeDevice(stats.rdev), xattrs };
}

function openDirectory(dir: RawPath, path: RawPath): OpenDirectory {
  return {
    path,
    names: readdirSync(fsPath(joinRaw(dir, path)), { encoding: 'latin1' }).sort(),
    next: 0,
  };
}

function xattrsOf(source: RawPath): Xattrs {
  return listXattrs(source).length === 0 ? NO_XATTRS : layerXattrs(readXattrs(source));
}

function unstorable(path: RawPath): MbuildError {
  return new MbuildError(
    'UNSUPPORTED',
    `${toText(path)} cannot be stored in a layer: a name that begins with ${WHITEOUT_PREFIX} means a deletion there`,
    {
      hint: 'delete or rename it in the step that makes it',
    },
  );
}
