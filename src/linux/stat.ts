import { constants, fstatSync, lstatSync, type Stats } from 'node:fs';
import os from 'node:os';
import { errnoOf } from '../diagnostics/error';
import { encodeDevice } from './device-number';
import { libc, once, type CFunction } from './libc';
import { fsPath, toText, type RawPath } from './paths';

/**
 * What `lstat` shows of a file, as far as it is looked at here; what `node:fs` returns is one too.
 */
export type FileStats = Pick<
  Stats,
  | 'dev'
  | 'ino'
  | 'mode'
  | 'nlink'
  | 'uid'
  | 'gid'
  | 'rdev'
  | 'size'
  | 'atimeMs'
  | 'mtimeMs'
  | 'ctimeMs'
  | 'birthtimeMs'
  | 'isFile'
  | 'isDirectory'
  | 'isSymbolicLink'
  | 'isFIFO'
  | 'isSocket'
  | 'isCharacterDevice'
  | 'isBlockDevice'
>;

// include/uapi/linux/fcntl.h and stat.h.
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_NO_AUTOMOUNT = 0x800;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS_AND_BTIME = 0xfff;
const STATX_MNT_ID = 0x1000;
/**
 * `struct statx` as 32-bit words, the same on every architecture: all of it, and the part that is
 * kept of a file.
 */
const WORDS = 64;
const KEPT = { from: 4, to: 36 } as const;
const MNT_ID_WORD = 36;
const KEPT_WORDS = KEPT.to - KEPT.from;
/** Places in what is kept. */
const AT = {
  nlink: 0,
  uid: 1,
  gid: 2,
  mode: 3,
  ino: 4,
  size: 6,
  atime: 12,
  btime: 16,
  ctime: 20,
  mtime: 24,
  rdev: 28,
  dev: 30,
} as const;
const BLOCK_FILES = 256;
const HIGH = 2 ** 32;
const { ENOENT, ENOTDIR } = os.constants.errno;
const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK } = constants;

/**
 * What is at a path of the host, a symlink itself included; `undefined` when nothing is. A third of
 * the time of `lstatSync`, which makes a context of thousands of files what a cached build waits
 * for.
 * @param changeMode what is shown in the place of the mode.
 * @throws the errors of `node:fs`, but for ENOENT and ENOTDIR.
 */
export function lstatOf(
  path: RawPath,
  changeMode?: (mode: number) => number,
): FileStats | undefined {
  const { statx, bytes, keep } = calls();
  if (statx === undefined || path.includes('\0')) return lstatOfNode(path, changeMode);
  const name = fsPath(path);
  const pathArg = typeof name === 'string' ? name : Buffer.concat([name, Buffer.alloc(1)]);
  if (
    statx(
      AT_FDCWD,
      pathArg,
      AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
      STATX_BASIC_STATS_AND_BTIME,
      bytes,
    ) === 0
  )
    return keep(changeMode);
  const errno = libc().errno();
  if (errno === ENOENT || errno === ENOTDIR) return undefined;
  throw libc().error('lstat', toText(path));
}

/** What an open file is. @throws the errors of `node:fs`. */
export function fstatOf(fd: number): FileStats {
  const { statx, bytes, keep } = calls();
  if (statx === undefined) return fstatSync(fd);
  if (statx(fd, '', AT_EMPTY_PATH, STATX_BASIC_STATS_AND_BTIME, bytes) === 0) return keep();
  throw libc().error('fstat');
}

/**
 * Which mount an open file is on; the descriptor may be one that only names it (O_PATH).
 * @throws ENOSYS before Linux 5.8.
 */
export function mountIdOf(fd: number): number {
  const { statx, bytes, mountId } = calls();
  if (statx?.(fd, '', AT_EMPTY_PATH, STATX_MNT_ID, bytes) !== 0) throw libc().error('statx');
  return mountId();
}

function lstatOfNode(path: RawPath, changeMode?: (mode: number) => number): FileStats | undefined {
  try {
    const stats = lstatSync(fsPath(path), { throwIfNoEntry: false });
    if (stats !== undefined && changeMode !== undefined) stats.mode = changeMode(stats.mode);
    return stats;
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/**
 * One file's facts within a block of many outside of the heap: the collector then has little to
 * move of a large tree.
 */
class StatxStats implements FileStats {
  constructor(
    private readonly block: Uint32Array,
    private readonly at: number,
  ) {}

  get dev(): number {
    return this.#device(AT.dev);
  }
  get ino(): number {
    return this.#long(AT.ino);
  }
  get mode(): number {
    return this.#word(AT.mode) & 0xffff;
  }
  get nlink(): number {
    return this.#word(AT.nlink);
  }
  get uid(): number {
    return this.#word(AT.uid);
  }
  get gid(): number {
    return this.#word(AT.gid);
  }
  get rdev(): number {
    return this.#device(AT.rdev);
  }
  get size(): number {
    return this.#long(AT.size);
  }
  get atimeMs(): number {
    return this.#time(AT.atime);
  }
  get mtimeMs(): number {
    return this.#time(AT.mtime);
  }
  get ctimeMs(): number {
    return this.#time(AT.ctime);
  }
  get birthtimeMs(): number {
    return this.#time(AT.btime);
  }

  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }
  isFIFO(): boolean {
    return (this.mode & S_IFMT) === S_IFIFO;
  }
  isSocket(): boolean {
    return (this.mode & S_IFMT) === S_IFSOCK;
  }
  isCharacterDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFCHR;
  }
  isBlockDevice(): boolean {
    return (this.mode & S_IFMT) === S_IFBLK;
  }

  #word(which: number): number {
    return this.block[this.at + which] ?? 0;
  }

  #long(which: number): number {
    return this.#word(which) + this.#word(which + 1) * HIGH;
  }

  /** Seconds (signed) and nanoseconds, as the milliseconds that `node:fs` makes of them. */
  #time(which: number): number {
    return (
      (this.#word(which) + (this.#word(which + 1) | 0) * HIGH) * 1000 + this.#word(which + 2) / 1e6
    );
  }

  #device(which: number): number {
    return encodeDevice(this.#word(which), this.#word(which + 1));
  }
}

interface Calls {
  /**
   * Absent where the C library is older than the call (glibc 2.28, musl 1.2.5), or a container's
   * filter refuses it.
   */
  readonly statx: CFunction | undefined;
  /** What the call fills. */
  readonly bytes: Uint8Array;
  /** What it filled, for good. */
  keep(changeMode?: (mode: number) => number): FileStats;
  /** Which mount it is on, if that was asked for. */
  mountId(): number;
}

const calls: () => Calls = once(() => {
  const words = new Uint32Array(WORDS);
  const kept = words.subarray(KEPT.from, KEPT.to);
  let block = new Uint32Array(0);
  let next = 0;
  const bytes = new Uint8Array(words.buffer);
  const statx = libc().find('int statx(int, const char *, int, unsigned int, void *)');
  return {
    statx: statx?.(AT_FDCWD, '/', 0, STATX_BASIC_STATS_AND_BTIME, bytes) === 0 ? statx : undefined,
    bytes,
    mountId: () => (words[MNT_ID_WORD] ?? 0) + (words[MNT_ID_WORD + 1] ?? 0) * HIGH,
    keep(changeMode) {
      if (next === block.length) {
        block = new Uint32Array(BLOCK_FILES * KEPT_WORDS);
        next = 0;
      }
      block.set(kept, next);
      if (changeMode !== undefined)
        block[next + AT.mode] = changeMode((kept[AT.mode] ?? 0) & 0xffff);
      next += KEPT_WORDS;
      return new StatxStats(block, next - KEPT_WORDS);
    },
  };
});
