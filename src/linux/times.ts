import { libc, once } from './libc';
import { toText, type RawPath } from './paths';

/*
 * Node's own utimes takes times before 1970 for the present, and cuts others to microseconds. All times of trees are set here.
 */

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const NANOSECONDS = 1_000_000_000;

const utimensat = once(() =>
  libc().func('int utimensat(int dir, const void *path, const void *times, int flags)'),
);
const futimens = once(() => libc().func('int futimens(int fd, const void *times)'));

/**
 * What every call fills: two struct timespec, of access and of modification. Calls are synchronous,
 * so no two are under way in a thread.
 */
const times = once(() => Buffer.alloc(32));

/**
 * Sets the times of what is at a path; a symlink is not followed.
 * @param atime seconds since the epoch, with a fraction, negative before it.
 * @throws the errors of utimensat(2).
 */
export function setTimes(file: RawPath, atime: number, mtime: number): void {
  const path = Buffer.from(`${file}\0`, 'latin1');
  if (utimensat()(AT_FDCWD, path, fill(atime, mtime), AT_SYMLINK_NOFOLLOW) < 0)
    throw libc().error('utimensat', toText(file));
}

/** The same for an open file. */
export function setOpenTimes(fd: number, atime: number, mtime: number): void {
  if (futimens()(fd, fill(atime, mtime)) < 0) throw libc().error('futimens');
}

function fill(atime: number, mtime: number): Buffer {
  const buffer = times();
  [atime, mtime].forEach((time, i) => {
    const seconds = Math.floor(time);
    const rest = Math.min(NANOSECONDS - 1, Math.round((time - seconds) * NANOSECONDS));
    buffer.writeBigInt64LE(BigInt(seconds), i * 16);
    buffer.writeBigInt64LE(BigInt(rest), i * 16 + 8);
  });
  return buffer;
}
