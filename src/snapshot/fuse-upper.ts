import { readdirSync, readlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { makeNode, makeWhiteout } from '../linux/mknod';
import { markAgain, markedOwner } from '../linux/owner-mark';
import type { Owner } from '../linux/owner';
import { keepsOwners, lstatOwned, own, setMode } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { lstatOf, type FileStats } from '../linux/stat';
import { getXattr, listXattrs, removeXattr } from '../linux/xattr';
import { setTimes } from '../linux/times';
import {
  OPAQUE_FILE,
  childPath,
  isOpaque,
  isPrivateXattr,
  isWhiteout,
  markOpaque,
  type OverlayXattrs,
} from './marks';
import type { MergedView, ViewEntry } from './view';

/*
 * fuse-overlayfs keeps an upper directory in a form of its own: a deletion is a 0:0 device, or an empty file `.wh.NAME` where it may make none; a
 * directory that hides what is below holds a file `.wh..wh..opq`. A process in its tree can make such names in roundabout ways, and attributes of
 * overlay's as it likes. The attributes say nothing here. An empty file of such a name is a deletion whoever made it: what it hides, the process could
 * have deleted. Anything else of such a name stays, and is refused like all names that a layer cannot hold.
 */

/** What the name of a deletion begins with, where it is a file beside the name. */
export const WHITEOUT_PREFIX = '.wh.';

/** The path in a lower layer from which a file was copied up; ends with a NUL. */
const ORIGIN = 'user.fuseoverlayfs.origin';
const SETGID = 0o2000;
const PERMISSIONS = 0o7777;

/**
 * Brings an upper directory in a layer's form into that of fuse-overlayfs; a new one is empty and
 * stays so.
 */
export function readyUpper(upper: RawPath, xattrs: OverlayXattrs): void {
  for (const { name } of readdirSync(fsPath(upper), { encoding: 'latin1', withFileTypes: true })) {
    const host = `${upper}/${name}`;
    const stats = lstatOf(host);
    if (stats === undefined || name === OPAQUE_FILE) continue;
    if (stats.isDirectory()) {
      keepingTimes(host, () => {
        readyUpper(host, xattrs);
        if (isOpaque(host, xattrs) && lstatOf(`${host}/${OPAQUE_FILE}`) === undefined)
          writeFileSync(fsPath(`${host}/${OPAQUE_FILE}`), '', { mode: 0o700 });
      });
    } else if (stats.isSocket() && isWhiteout(stats)) {
      unlinkSync(fsPath(host));
      writeFileSync(fsPath(`${upper}/${WHITEOUT_PREFIX}${name}`), '', { mode: 0o700 });
    }
  }
}

/**
 * Brings an upper directory that fuse-overlayfs wrote into a layer's form, and makes good what it
 * does otherwise than overlay when it copies something up: directories get new times and lose the
 * setgid bit, named pipes become files, symlinks get new times. Nothing may serve or write to the
 * directory.
 * @param parent what was below.
 */
export function settleUpper(upper: RawPath, parent: MergedView, xattrs: OverlayXattrs): void {
  new Settler(parent, xattrs).directory(upper, parent.lstat('/'));
}

class Settler {
  constructor(
    private readonly parent: MergedView,
    private readonly xattrs: OverlayXattrs,
  ) {}

  /**
   * @param below what is in its place below; `undefined` where nothing is, or another directory
   * hides it.
   */
  directory(host: RawPath, below: ViewEntry | undefined): void {
    const before = statsOf(host);
    const names = readdirSync(fsPath(host), { encoding: 'latin1' });
    const hides = isMarked(host);
    const merged = hides || below?.stats.isDirectory() !== true ? undefined : below;
    stripXattrs(host);
    let isChanged = false;
    let lastCopied = 0;
    for (const name of names) {
      const kind = this.#entry(host, name, merged);
      if (kind === 'changed') isChanged = true;
      else if (kind !== 'none') lastCopied = Math.max(lastCopied, kind.ctimeMs);
    }
    // Each new directory is marked; the mark says something where there is something to hide.
    if (hides && below !== undefined) markOpaque(host, this.xattrs);
    if (
      merged !== undefined &&
      (before.mode & SETGID) === 0 &&
      ((before.mode | SETGID) & PERMISSIONS) === (merged.stats.mode & PERMISSIONS)
    )
      setMode(host, merged.stats.mode & PERMISSIONS);
    // Overlay leaves a directory its time when something in it is copied up. What changed later
    // than the last copy was the process.
    const keepsTime = merged !== undefined && !isChanged && before.mtimeMs <= lastCopied;
    const { atimeMs, mtimeMs } = keepsTime ? merged.stats : before;
    setTimes(host, atimeMs / 1000, mtimeMs / 1000);
  }

  /**
   * @returns whether a name was made or deleted, what was copied up without that, or that there is
   * nothing to say.
   */
  #entry(
    dir: RawPath,
    name: RawPath,
    merged: ViewEntry | undefined,
  ): 'changed' | 'none' | FileStats {
    const host = `${dir}/${name}`;
    if (name.startsWith(WHITEOUT_PREFIX)) return this.#whiteoutFile(dir, name, merged);
    const stats = statsOf(host);
    const below =
      merged === undefined ? undefined : this.parent.lstat(childPath(merged.path, name));
    if (isWhiteout(stats)) return this.#whiteout(host, below);
    if (stats.isDirectory()) {
      const isCopy = below?.stats.isDirectory() === true && !isMarked(host);
      this.directory(host, below);
      return isCopy ? stats : 'changed';
    }
    if (stats.isSymbolicLink()) return this.#symlink(host, stats, below);
    const isCopy =
      below !== undefined &&
      !below.stats.isDirectory() &&
      getXattr(host, ORIGIN)?.toString('latin1').replace(/\0$/, '') === below.path.slice(1);
    if (stats.isFile()) stripXattrs(host);
    if (!isCopy) return 'changed';
    if (stats.isFile() && below.stats.isFIFO()) remakePipe(host);
    return stats;
  }

  /** A deletion beside the name; in a directory that hides all of it, it says nothing. */
  #whiteoutFile(dir: RawPath, name: RawPath, merged: ViewEntry | undefined): 'changed' | 'none' {
    const [host, deleted] = [`${dir}/${name}`, name.slice(WHITEOUT_PREFIX.length)];
    if (!isMark(statsOf(host))) return 'changed';
    unlinkSync(fsPath(host));
    if (
      merged === undefined ||
      name === OPAQUE_FILE ||
      this.parent.lstat(childPath(merged.path, deleted)) === undefined
    )
      return 'none';
    if (lstatOf(`${dir}/${deleted}`) === undefined)
      makeWhiteout(`${dir}/${deleted}`, this.xattrs === 'files' ? 'socket' : 'device');
    return 'changed';
  }

  #whiteout(host: RawPath, below: ViewEntry | undefined): 'changed' {
    if (below === undefined || this.xattrs === 'files') unlinkSync(fsPath(host));
    if (below !== undefined && this.xattrs === 'files') makeWhiteout(host, 'socket');
    return 'changed';
  }

  /**
   * Nothing tells a symlink that was copied up but that it leads where one of below does; then to
   * be given away is why it was.
   */
  #symlink(host: RawPath, stats: FileStats, below: ViewEntry | undefined): 'changed' | FileStats {
    if (
      below?.stats.isSymbolicLink() !== true ||
      readlinkSync(fsPath(host), 'latin1') !== readlinkSync(fsPath(below.hostPath), 'latin1')
    )
      return 'changed';
    const { uid, gid } = lstatOwned(host) ?? below.stats;
    if (givenTo(host) !== undefined || uid !== below.stats.uid || gid !== below.stats.gid)
      settleTimes(host, below.stats);
    return stats;
  }
}

/** True for a directory that hides what is below. */
function isMarked(dir: RawPath): boolean {
  const stats = lstatOf(`${dir}/${OPAQUE_FILE}`);
  return stats !== undefined && isMark(stats);
}

/** Directories that hide what is below hold a 0:0 device besides, as a deletion of `.opq`. */
function isMark(stats: FileStats): boolean {
  return (stats.isFile() && stats.size === 0) || isWhiteout(stats);
}

function stripXattrs(host: RawPath): void {
  for (const name of listXattrs(host)) if (isPrivateXattr(name)) removeXattr(host, name);
}

/** Makes a named pipe of what was copied up as a file, whose mode and owner it takes. */
function remakePipe(host: RawPath): void {
  const stats = lstatOwned(host) ?? statsOf(host);
  const given = givenTo(host);
  unlinkSync(fsPath(host));
  makeNode(host, 'fifo', 0o600);
  own(host, stats.uid, stats.gid);
  setMode(host, stats.mode & PERMISSIONS);
  settleTimes(host, stats, given);
}

/** Whom a step gave something to that can have no note, where owners stand beside the files. */
function givenTo(host: RawPath): Owner | undefined {
  return keepsOwners() ? markedOwner(host) : undefined;
}

/** Sets the times of what is no directory, and leaves the mark on it. */
function settleTimes(host: RawPath, { atimeMs, mtimeMs }: FileStats, given = givenTo(host)): void {
  setTimes(host, atimeMs / 1000, mtimeMs / 1000);
  if (given !== undefined) markAgain(host, given);
}

function keepingTimes(dir: RawPath, change: () => void): void {
  const { atimeMs, mtimeMs } = statsOf(dir);
  change();
  setTimes(dir, atimeMs / 1000, mtimeMs / 1000);
}

function statsOf(host: RawPath): FileStats {
  const stats = lstatOf(host);
  if (stats === undefined) throw new Error(`there is no ${host}`);
  return stats;
}
