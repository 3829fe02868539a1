import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  openSync,
  readSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { decodeDevice } from '../linux/device-number';
import type { NodeKind } from '../linux/mknod';
import {
  keepsOwners,
  linkOwned,
  makeOwnedNode,
  own,
  ownOpen,
  setMode,
  setOpenMode,
} from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { setOpenTimes, setTimes } from '../linux/times';
import { writeAll } from '../linux/write-all';
import { listXattrs, setXattr } from '../linux/xattr';
import { treeXattrs } from './entry-attributes';

/** What one run of copies shares. */
export interface Copying {
  /** What small files pass through. */
  readonly buffer: Buffer;
  /** Where a file of several names is by now, by its inode; absent where the caller looks itself. */
  readonly links?: Map<number, RawPath> | undefined;
}

/** Bytes of {@link Copying.buffer}. */
export const COPY_BUFFER = 256 * 1024;

/** Whom a file belongs to that nothing is noted beside. */
const BORN = { uid: 0, gid: 0 };

/** Copies anything but a directory to a path where nothing is. */
export function copyEntry(
  source: RawPath,
  stats: FileStats,
  target: RawPath,
  { buffer, links }: Copying,
): void {
  const first = stats.nlink > 1 ? links?.get(stats.ino) : undefined;
  if (first !== undefined) {
    linkOwned(first, target);
    return;
  }
  links?.set(stats.ino, target);
  if (stats.isFile()) {
    copyFile(source, stats, target, buffer);
    return;
  }
  if (stats.isSymbolicLink())
    symlinkSync(fsPath(readlinkSync(fsPath(source), 'latin1')), fsPath(target));
  else makeOwnedNode(target, nodeKind(stats), 0o600, decodeDevice(stats.rdev));
  setAttributes(source, stats, target);
}

function nodeKind(stats: FileStats): NodeKind {
  if (stats.isFIFO()) return 'fifo';
  if (stats.isBlockDevice()) return 'block';
  return stats.isSocket() ? 'socket' : 'char';
}

/** Small files pass through one buffer: fewer system calls than copyFileSync makes. */
function copyFile(source: RawPath, stats: FileStats, target: RawPath, buffer: Buffer): void {
  if (stats.size > buffer.length) {
    copyFileSync(
      fsPath(source),
      fsPath(target),
      constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE,
    );
    setAttributes(source, stats, target);
    return;
  }
  const to = openSync(
    fsPath(target),
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    if (stats.size > 0) {
      const from = openSync(fsPath(source), constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        for (let read = readSync(from, buffer); read > 0; read = readSync(from, buffer))
          writeAll(to, buffer.subarray(0, read));
      } finally {
        closeSync(from);
      }
    }
    const made = keepsOwners() ? BORN : fstatSync(to);
    if (made.uid !== stats.uid || made.gid !== stats.gid) ownOpen(to, target, stats.uid, stats.gid);
    setOpenMode(to, target, stats.mode & 0o7777);
    copyXattrs(source, target);
    setOpenTimes(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
  } finally {
    closeSync(to);
  }
}

/** Owner before mode and attributes, for a change of owner takes setuid and capabilities away. */
export function setAttributes(source: RawPath, stats: FileStats, target: RawPath): void {
  own(target, stats.uid, stats.gid);
  if (!stats.isSymbolicLink()) setMode(target, stats.mode & 0o7777);
  copyXattrs(source, target);
  setTimes(target, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

function copyXattrs(source: RawPath, target: RawPath): void {
  if (listXattrs(source).length === 0) return;
  for (const [name, value] of treeXattrs(source)) setXattr(target, name, value);
}
