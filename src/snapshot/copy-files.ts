import { chmodSync, closeSync, constants, copyFileSync, futimesSync, openSync, readSync, writeSync } from 'node:fs';
import { ownOpen, setOpenMode } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { getXattr, setXattr } from '../linux/xattr';
import { fstatOf, type FileStats } from '../linux/stat';

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

// A file up to this size is read and written through one buffer: fewer system calls than copyFileSync makes.
const SMALL = 512 * 1024;
const CAPABILITY = 'security.capability';

/**
 * Copies files one after the other with synchronous calls: bytes, mode, owner, mtime and capabilities; nothing else.
 * @returns the sources that are not what was seen any more; their copies are worth nothing. Vanished ones are among them.
 */
export function copyFiles(files: readonly FileCopy[]): RawPath[] {
  const buffer = Buffer.allocUnsafe(Math.min(SMALL, Math.max(1, ...files.map(({ seen }) => seen.size))));
  return files.filter((file) => !copyFile(file, buffer)).map(({ from }) => from);
}

/** Copies one file; false when the source is not what was seen. */
function copyFile(file: FileCopy, buffer: Buffer): boolean {
  const source = openSource(file.from);
  if (source === undefined) return false;
  try {
    if (!fstatOf(source).isFile()) return false;
    const target = file.seen.size <= buffer.length ? writeSmall(source, file, buffer) : writeLarge(source, file);
    if (target === undefined) return false;
    try {
      // Owner first, for that takes setuid and capabilities away.
      ownOpen(target, file.to, file.uid, file.gid);
      setOpenMode(target, file.to, file.mode);
      const capability = getXattr(file.from, CAPABILITY);
      if (capability !== undefined) setXattr(file.to, CAPABILITY, capability);
      futimesSync(target, file.mtime, file.mtime);
    } finally {
      closeSync(target);
    }
    const { ino, size, mtimeMs, ctimeMs } = fstatOf(source);
    return ino === file.seen.ino && size === file.seen.size && mtimeMs === file.seen.mtimeMs && ctimeMs === file.seen.ctimeMs;
  } finally {
    closeSync(source);
  }
}

/** A symlink put in the file's place is not followed, a FIFO does not block. */
function openSource(path: RawPath): number | undefined {
  try {
    return openSync(fsPath(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The new file's descriptor; `undefined` when the source has another size than was seen. */
function writeSmall(source: number, { to, seen }: FileCopy, buffer: Buffer): number | undefined {
  let length = 0;
  for (let read = -1; length < seen.size && read !== 0; length += read) read = readSync(source, buffer, length, seen.size - length, null);
  if (length !== seen.size) return undefined;
  const target = openSync(fsPath(to), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  for (let at = 0; at < length;) at += writeSync(target, buffer, at, length - at);
  return target;
}

function writeLarge(source: number, { to }: FileCopy): number {
  // By way of /proc it is the opened file that is copied, whatever its name stands for by now; shared blocks where the file system can.
  copyFileSync(`/proc/self/fd/${source}`, fsPath(to), constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  chmodSync(fsPath(to), 0o600);
  return openSync(fsPath(to), constants.O_WRONLY | constants.O_NOFOLLOW);
}
