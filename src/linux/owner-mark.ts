import { lstatSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { libc, once } from './libc';
import type { Owner } from './owner';
import { fsPath, type RawPath } from './paths';

/*
 * While a step runs, whom it gave a symlink, a named pipe or a socket to is kept in the one field of such a file that no layer holds and that
 * goes where the file goes, through renames and copies of the kernel's: the time of its last access. That is set to a time to come, which
 * no access changes (mount(8), relatime): 2^32 seconds and the group, and the user as nanoseconds. When the step has ended it becomes a note in the
 * directory (see link-owners.ts).
 */

/** Seconds since 1970; in 2106. */
const MARK = 2n ** 32n;
const SECOND = 1_000_000_000n;
/** Nanoseconds end there; ext4's seconds would allow more for groups. */
const MAX_ID = 999_999_999;
const UTIME_OMIT = (1n << 30n) - 2n;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;

const utimensat = once(() =>
  libc().func('int utimensat(int dir, const void *path, const void *times, int flags)'),
);

/**
 * Marks an open file; the descriptor may be one that only names it (O_PATH).
 * @throws EOVERFLOW where the mark cannot hold it, or the file system not the mark.
 */
export function markOwner(fd: number, { uid, gid }: Owner): void {
  if (uid <= MAX_ID && gid <= MAX_ID) {
    setAccessTime({ fd, path: '', flags: AT_EMPTY_PATH }, MARK + BigInt(gid), BigInt(uid));
    const kept = markedOwner(`/proc/self/fd/${fd}`, true);
    if (kept?.uid === uid && kept.gid === gid) return;
  }
  throw Object.assign(new Error(`EOVERFLOW: owner ${uid}:${gid}`), {
    code: 'EOVERFLOW',
    errno: -constants.errno.EOVERFLOW,
  });
}

/** Marks what is at a path again, as it was before its times were changed. */
export function markAgain(file: RawPath, { uid, gid }: Owner): void {
  setAccessTime(at(file), MARK + BigInt(gid), BigInt(uid));
}

/**
 * The owner that a file is marked with.
 * @param follows whether a symlink at the end of the path leads on.
 */
export function markedOwner(file: RawPath, follows = false): Owner | undefined {
  const { atimeNs } = (follows ? statSync : lstatSync)(fsPath(file), { bigint: true });
  const [seconds, uid] = [atimeNs / SECOND, atimeNs % SECOND];
  return seconds < MARK || seconds > MARK + BigInt(MAX_ID)
    ? undefined
    : { uid: Number(uid), gid: Number(seconds - MARK) };
}

/** The owner that a file is marked with, which is marked no more. */
export function takeMark(file: RawPath): Owner | undefined {
  const owner = markedOwner(file);
  if (owner !== undefined) setAccessTime(at(file), 0n, 0n);
  return owner;
}

/** A file as the *at calls name it. */
interface Target {
  readonly fd: number;
  readonly path: RawPath;
  readonly flags: number;
}

/** What is at a path, a symlink itself included. */
function at(path: RawPath): Target {
  return { fd: AT_FDCWD, path, flags: AT_SYMLINK_NOFOLLOW };
}

function setAccessTime({ fd, path, flags }: Target, seconds: bigint, nanoseconds: bigint): void {
  const times = Buffer.alloc(32); // two struct timespec: of access, of modification
  times.writeBigInt64LE(seconds, 0);
  times.writeBigInt64LE(nanoseconds, 8);
  times.writeBigInt64LE(UTIME_OMIT, 24);
  if (utimensat()(fd, Buffer.from(`${path}\0`, 'latin1'), times, flags) < 0)
    throw libc().error('utimensat');
}
