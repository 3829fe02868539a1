import { createHash, hash as hashOf } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { fstatOf, type FileStats } from '../linux/stat';
import { throwIfStopped, type StopFlag } from '../linux/stop-flag';
import { copyFiles, mayNotRead, type FileCopy } from '../snapshot/copy-files';
import { readOpenKeptXattrs, xattrsText } from '../snapshot/kept-xattrs';

/** A file to hash, with the facts of it that were seen before. */
export interface FileToHash {
  readonly hostPath: RawPath;
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}

/** What makes two files the same to a build, besides mode and owner. */
export interface FileContent {
  /** sha256 of the bytes, hex. */
  readonly hash: string;
  /** The attributes that a copy keeps, as {@link xattrsText} has them. */
  readonly xattrs?: string | undefined;
}

/** A hashed file. */
export interface HashedFile extends FileContent {
  /**
   * True when the file was not any more, or not to the end, the one that was seen: the hash must
   * not be remembered.
   */
  readonly changed?: boolean | undefined;
}

const CHUNK = 1024 * 1024;

/**
 * Hashes files one after the other, with synchronous calls.
 * @throws MbuildError COPY_FAILED for a file that vanished, PERMISSION_DENIED and others as they
 * come, CANCELED when `stop` is set.
 */
export function hashFiles(files: readonly FileToHash[], stop?: StopFlag): HashedFile[] {
  const buffer = Buffer.allocUnsafe(
    Math.min(CHUNK, Math.max(1, ...files.map(({ size }) => size + 1))),
  );
  return files.map((file) => hashFile(file, buffer, stop));
}

/**
 * Copies files and hashes them on the way, so that each is read once. `changed` are those that are
 * not what was seen any more; where there are any, `contents` is of no use.
 * @throws as {@link copyFiles}.
 */
export function copyAndHashFiles(
  files: readonly FileCopy[],
  stop?: StopFlag,
): { readonly changed: readonly RawPath[]; readonly contents: readonly FileContent[] } {
  const contents: FileContent[] = [];
  let buffer: Buffer | undefined;
  const changed = copyFiles(
    files,
    (content, xattrs) => {
      const hash =
        typeof content === 'number'
          ? hashContent(content, (buffer ??= Buffer.allocUnsafe(CHUNK)), stop)
          : hashOf('sha256', content, 'hex');
      contents.push(fileContent(hash, xattrsText(xattrs)));
    },
    stop,
  );
  return { changed, contents };
}

function hashFile(file: FileToHash, buffer: Buffer, stop: StopFlag | undefined): HashedFile {
  const fd = openForReading(file.hostPath);
  try {
    const hash = hashContent(fd, buffer, stop);
    const content = fileContent(hash, xattrsText(readOpenKeptXattrs(fd)));
    return isSame(fstatOf(fd), file) ? content : { ...content, changed: true };
  } finally {
    closeSync(fd);
  }
}

function fileContent(hash: string, xattrs: string | undefined): FileContent {
  return xattrs === undefined ? { hash } : { hash, xattrs };
}

/** sha256, hex. What fits into the buffer is hashed in one call. */
function hashContent(fd: number, buffer: Buffer, stop: StopFlag | undefined): string {
  throwIfStopped(stop);
  let read = readSync(fd, buffer);
  if (read < buffer.length) {
    const more = readSync(fd, buffer, read, buffer.length - read, null);
    if (more === 0) return hashOf('sha256', buffer.subarray(0, read), 'hex');
    read += more;
  }
  const hash = createHash('sha256');
  for (; read > 0; read = readSync(fd, buffer)) {
    throwIfStopped(stop);
    hash.update(buffer.subarray(0, read));
  }
  return hash.digest('hex');
}

/**
 * Opens a regular file that was seen before; a symlink, or a FIFO put in its place, is not followed
 * and does not block.
 */
export function openForReading(hostPath: RawPath): number {
  let fd: number;
  try {
    fd = openSync(
      fsPath(hostPath),
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
    );
  } catch (error) {
    throw readError(hostPath, error);
  }
  if (fstatOf(fd).isFile()) return fd;
  closeSync(fd);
  throw new MbuildError('COPY_FAILED', `${toText(hostPath)} was replaced while it was read`);
}

/** True when a file is still the one that was seen. */
export function isSame(stats: FileStats, seen: Omit<FileToHash, 'hostPath'>): boolean {
  return (
    stats.ino === seen.ino &&
    stats.size === seen.size &&
    stats.mtimeMs === seen.mtimeMs &&
    stats.ctimeMs === seen.ctimeMs
  );
}

function readError(hostPath: RawPath, cause: unknown): unknown {
  const code = (cause as { code?: unknown }).code;
  if (code === 'ENOENT' || code === 'ELOOP')
    return new MbuildError(
      'COPY_FAILED',
      `${toText(hostPath)} was removed or replaced while it was read`,
      { cause },
    );
  if (code === 'EACCES' || code === 'EPERM') return mayNotRead(hostPath, cause);
  return cause;
}
