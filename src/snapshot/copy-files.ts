import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  linkSync,
  openSync,
  readSync,
} from 'node:fs';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { HUGE, copyPieces } from '../linux/copy-pieces';
import { keepsOwners, ownOpen, setOpenMode } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { fstatOf, lstatOf, type FileStats } from '../linux/stat';
import { throwIfStopped, type StopFlag } from '../linux/stop-flag';
import { writeAll } from '../linux/write-all';
import type { Xattrs } from '../linux/xattr';
import { setOpenTimes } from '../linux/times';
import { readOpenKeptXattrs, setKeptXattrs } from './kept-xattrs';

/** A regular file to copy to a path where nothing is. */
export interface FileCopy {
  readonly from: RawPath;
  readonly to: RawPath;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
  /** The source as it was seen. */
  readonly seen: Pick<FileStats, 'ino' | 'size' | 'mtimeMs' | 'ctimeMs'>;
}

// A file up to this size is read and written through one buffer: fewer system calls than
// copyFileSync makes.
const SMALL = 512 * 1024;
/**
 * Milliseconds: what a copy's mtime loses on its way through a floating point number and whole
 * microseconds.
 */
const MTIME_LOST = 0.002;
/** The bits that a change of owner takes away. */
const SET_ID_AND_STICKY = 0o7000;

/**
 * What is copied of a file: the bytes of a small one, or the descriptor of a large one, open at its
 * beginning; and its kept attributes.
 */
export type Look = (content: Buffer | number, xattrs: Xattrs) => void;

/**
 * Copies files one after the other with synchronous calls: bytes, mode, owner, mtime and the
 * attributes that are kept; nothing else.
 * @param look is shown each file; not those whose sizes are others than was seen.
 * @param stop is looked at between files, and between the pieces of large ones.
 * @throws MbuildError CANCELED when it is set.
 * @returns the sources that are not what was seen any more; their copies are worth nothing.
 * Vanished ones are among them.
 */
export function copyFiles(files: readonly FileCopy[], look?: Look, stop?: StopFlag): RawPath[] {
  const copier = new FileCopier(
    Buffer.allocUnsafe(Math.min(SMALL, Math.max(1, ...files.map(({ seen }) => seen.size)))),
    look,
    stop,
  );
  return files.filter((file) => !copier.copy(file)).map(({ from }) => from);
}

/**
 * Makes a copy a further name of a file with the same content, where that has all that the copy is
 * to have; whatever is written to neither is written to the other.
 * @returns false where it has not, or where no link can be made.
 */
export function linkSame(there: RawPath, { to, mode, uid, gid, mtime, seen }: FileCopy): boolean {
  // What stands beside a file would have to be the same as well.
  const stats = keepsOwners() ? undefined : lstatOf(there);
  if (
    stats?.isFile() !== true ||
    stats.size !== seen.size ||
    (stats.mode & 0o7777) !== mode ||
    stats.uid !== uid ||
    stats.gid !== gid
  )
    return false;
  if (Math.abs(stats.mtimeMs - mtime * 1000) > MTIME_LOST) return false;
  try {
    linkSync(fsPath(there), fsPath(to));
    return true;
  } catch (error) {
    // Too many names, a limit on links, or the earlier layer was just deleted.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

class FileCopier {
  #birth: Birth | undefined;

  constructor(
    private readonly buffer: Buffer,
    private readonly look: Look | undefined,
    private readonly stop: StopFlag | undefined,
  ) {}

  /** Copies one file; false when the source is not what was seen. */
  copy(file: FileCopy): boolean {
    throwIfStopped(this.stop);
    const source = openSource(file.from);
    if (source === undefined) return false;
    try {
      if (!fstatOf(source).isFile()) return false;
      const isSmall = file.seen.size <= this.buffer.length;
      const target = isSmall
        ? writeSmall(source, file, this.buffer)
        : writeLarge(source, file, this.stop);
      if (target === undefined) return false;
      try {
        if (!isSmall || !this.#isBornRight(target, file)) setOwnerAndMode(target, file);
        const xattrs = readOpenKeptXattrs(source);
        setKeptXattrs(file.to, xattrs);
        this.look?.(isSmall ? this.buffer.subarray(0, file.seen.size) : source, xattrs);
        setOpenTimes(target, file.mtime, file.mtime);
      } finally {
        closeSync(target);
      }
      const { ino, size, mtimeMs, ctimeMs } = fstatOf(source);
      return (
        ino === file.seen.ino &&
        size === file.seen.size &&
        mtimeMs === file.seen.mtimeMs &&
        ctimeMs === file.seen.ctimeMs
      );
    } finally {
      closeSync(source);
    }
  }

  /**
   * True for a file that had its owner and mode when it was made, as nearly all have. The first of
   * a directory tells it of the others.
   */
  #isBornRight(target: number, { to, mode, uid, gid }: FileCopy): boolean {
    if (keepsOwners() || (mode & SET_ID_AND_STICKY) !== 0) return false;
    const directory = to.slice(0, to.lastIndexOf('/'));
    if (this.#birth?.directory !== directory || this.#birth.asked !== mode) {
      const stats = fstatOf(target);
      this.#birth = {
        directory,
        asked: mode,
        mode: stats.mode & 0o7777,
        uid: stats.uid,
        gid: stats.gid,
      };
    }
    return this.#birth.mode === mode && this.#birth.uid === uid && this.#birth.gid === gid;
  }
}

/**
 * What becomes of the files that are made in a directory with a mode: umask, a default ACL and a
 * setgid bit have a say in it.
 */
interface Birth {
  readonly directory: RawPath;
  readonly asked: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

function setOwnerAndMode(target: number, { to, mode, uid, gid }: FileCopy): void {
  // Owner first, for that takes setuid and capabilities away.
  ownOpen(target, to, uid, gid);
  setOpenMode(target, to, mode);
}

/**
 * The mode to make a small file with. Where attributes stand beside files, their owner must be able
 * to write them.
 */
function modeAtBirth({ mode }: FileCopy): number {
  return keepsOwners() ? 0o600 : mode & 0o777;
}

/** A symlink put in the file's place is not followed, a FIFO does not block. */
function openSource(path: RawPath): number | undefined {
  try {
    return openSync(fsPath(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') return undefined;
    throw code === 'EACCES' || code === 'EPERM' ? mayNotRead(path, error) : error;
  }
}

export function mayNotRead(path: RawPath, cause: unknown): MbuildError {
  return new MbuildError('PERMISSION_DENIED', `no permission to read ${toText(path)}`, { cause });
}

/** The new file's descriptor; `undefined` when the source has another size than was seen. */
function writeSmall(source: number, file: FileCopy, buffer: Buffer): number | undefined {
  const { size } = file.seen;
  let length = 0;
  for (let read = -1; length < size && read !== 0; length += read)
    read = readSync(source, buffer, length, size - length, null);
  if (length !== size) return undefined;
  const target = openSync(
    fsPath(file.to),
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    modeAtBirth(file),
  );
  writeAll(target, buffer.subarray(0, length));
  return target;
}

function writeLarge(source: number, { to, seen }: FileCopy, stop: StopFlag | undefined): number {
  if (seen.size >= HUGE && !shareBlocks(source, to)) return writePieces(source, to, stop);
  if (seen.size < HUGE)
    copyFileSync(opened(source), fsPath(to), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  chmodSync(fsPath(to), 0o600);
  return openSync(fsPath(to), constants.O_WRONLY | constants.O_NOFOLLOW);
}

/** By way of /proc it is the opened file that is copied, whatever its name stands for by now. */
function opened(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** True where the file system can, which makes a copy of any size at once; else there is none. */
function shareBlocks(source: number, to: RawPath): boolean {
  try {
    copyFileSync(
      opened(source),
      fsPath(to),
      constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE,
    );
    return true;
  } catch (error) {
    if (['EEXIST', 'ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) throw error;
    return false;
  }
}

function writePieces(source: number, to: RawPath, stop: StopFlag | undefined): number {
  const target = openSync(
    fsPath(to),
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    for (const pieces = copyPieces(source, target); pieces.next().done !== true;)
      throwIfStopped(stop);
    return target;
  } catch (error) {
    closeSync(target);
    throw error;
  }
}
