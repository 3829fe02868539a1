import { closeSync, constants, openSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { constants as os } from 'node:os';
import { errnoOf } from '../../diagnostics/error';
import { libc, once } from '../../linux/libc';
import { fsPath, type RawPath } from '../../linux/paths';
import { mountIdOf } from '../../linux/stat';
import { AT_FDCWD, O, RESOLVE } from '../namespaces/init/syscalls';

const SYS_OPENAT2 = 437; // on all architectures
const PATH_MAX = 4096;
const PAGE = 4096n;

/** What is read of another process comes here. */
const memory = once(() => Buffer.allocUnsafeSlow(PATH_MAX));
const processVmReadv = once(() =>
  libc().func(
    'long process_vm_readv(int pid, const void *ours, unsigned long count, const void *theirs, unsigned long theirCount, unsigned long flags)',
  ),
);
/** Node.js writes at no place beyond 2^53. */
const pwrite = once(() =>
  libc().func('long pwrite(int fd, const void *bytes, size_t size, int64_t at)'),
);
const readlinkat = once(() =>
  libc().func('long readlinkat(int dir, const char *path, void *target, size_t size)'),
);
const openat2 = once(() =>
  libc().func('long syscall(long number, int dir, const void *path, const void *how, size_t size)'),
);

/**
 * How a call names a file: a path from a directory's descriptor (AT_FDCWD: the working directory),
 * or a descriptor alone.
 */
export interface FileName {
  readonly dir: number;
  readonly path: RawPath;
  /** Whether a symlink at the end of the path leads on. */
  readonly follows: boolean;
}

/** A thread that waits in a system call: its memory, and files as it names them. */
export class Tracee {
  readonly #proc: string;

  /** @param tid as this process sees it. */
  constructor(private readonly tid: number) {
    this.#proc = `/proc/${tid}`;
  }

  /** The NUL-terminated string at an address. @throws EFAULT, ENAMETOOLONG. */
  readPath(address: bigint): RawPath {
    const text = memory();
    for (let length = 0; length < PATH_MAX;) {
      // What follows the page may not be there.
      const at = address + BigInt(length);
      const room = Math.min(PATH_MAX - length, Number(PAGE - (at % PAGE)));
      const read = processVmReadv()(
        this.tid,
        place(libc().address(text) + BigInt(length), room),
        1,
        place(at, room),
        1,
        0,
      );
      if (read <= 0) throw libc().error('process_vm_readv');
      const end = text.subarray(length, length + read).indexOf(0);
      if (end >= 0) return text.toString('latin1', 0, length + end);
      length += read;
    }
    throw failure('ENAMETOOLONG');
  }

  /**
   * Writes to an address.
   * @param isThere asked when the memory is held: with false nothing is written, for the number of
   * a thread that is gone may be another one's.
   * @throws EFAULT.
   */
  write(address: bigint, bytes: Uint8Array, isThere: () => boolean): void {
    const memory = openSync(`${this.#proc}/mem`, constants.O_WRONLY);
    try {
      if (isThere() && pwrite()(memory, bytes, bytes.length, address) !== bytes.length)
        throw failure('EFAULT');
    } finally {
      closeSync(memory);
    }
  }

  /**
   * The file that the thread means, as a descriptor that only names it (O_PATH). The thread's root
   * is the end of the world: no link leads out of it, whoever changes what meanwhile.
   * @throws the error that the thread's own call would have.
   */
  open({ dir, path: name, follows }: FileName): number {
    if (name === '') return this.#openDirectory(dir);
    const flags = O.PATH | O.CLOEXEC | (follows ? 0 : constants.O_NOFOLLOW);
    if (name.startsWith('/'))
      return this.#inRoot((root) => openIn(root, name, flags, RESOLVE.IN_ROOT));
    const base = this.#openDirectory(dir);
    try {
      return openIn(base, name, flags, RESOLVE.BENEATH);
    } catch (error) {
      if (errnoOf(error) !== 'EXDEV') throw error;
      return this.#inRoot((root) =>
        openIn(
          root,
          `${this.#fromRoot(readlinkSync(this.#linkTo(dir), 'latin1'))}/${name}`,
          flags,
          RESOLVE.IN_ROOT,
        ),
      );
    } finally {
      closeSync(base);
    }
  }

  /** Where the symlink leads that the thread names; `undefined` when it names none. */
  readLink(name: FileName): RawPath | undefined {
    let fd: number | undefined;
    try {
      fd = this.open(name);
      const target = Buffer.alloc(PATH_MAX);
      const length = readlinkat()(fd, '', target, target.length);
      return length < 0 ? undefined : target.toString('latin1', 0, length);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return undefined;
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  /**
   * Calls back with the directory that a file of the thread's tree is in now, and its name there.
   */
  inDirectoryOf<T>(fd: number, use: (dir: RawPath, name: RawPath) => T): T {
    const file = this.#fromRoot(readlinkSync(`/proc/self/fd/${fd}`, 'latin1'));
    return this.#inRoot((root) => {
      const dir = openIn(
        root,
        path.posix.dirname(file),
        O.PATH | O.CLOEXEC | O.DIRECTORY,
        RESOLVE.IN_ROOT,
      );
      try {
        return use(`/proc/self/fd/${dir}/.`, path.posix.basename(file));
      } finally {
        closeSync(dir);
      }
    });
  }

  /** True for what is on the same mount as the thread's root: no volume, no other file system. */
  isOnRoot(fd: number): boolean {
    return this.#inRoot((root) => mountIdOf(root) === mountIdOf(fd));
  }

  #inRoot<T>(use: (root: number) => T): T {
    const root = openSync(`${this.#proc}/root`, O.PATH | O.CLOEXEC | O.DIRECTORY);
    try {
      return use(root);
    } finally {
      closeSync(root);
    }
  }

  #openDirectory(dir: number): number {
    try {
      return openSync(this.#linkTo(dir), O.PATH | O.CLOEXEC);
    } catch (error) {
      throw errnoOf(error) === 'ENOENT' ? failure('EBADF') : error;
    }
  }

  /** A path of the thread's mount namespace as the thread would say it. */
  #fromRoot(name: RawPath): RawPath {
    const root = readlinkSync(`${this.#proc}/root`, 'latin1');
    return root !== '/' && name.startsWith(`${root}/`) ? name.slice(root.length) : name;
  }

  #linkTo(dir: number): string {
    return dir === AT_FDCWD ? `${this.#proc}/cwd` : `${this.#proc}/fd/${dir}`;
  }
}

/** A struct iovec. */
function place(address: bigint, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeBigUInt64LE(address, 0);
  bytes.writeBigUInt64LE(BigInt(length), 8);
  return bytes;
}

/** openat2(2). */
function openIn(dir: number, name: RawPath, flags: number, resolve: number): number {
  const how = Buffer.alloc(24); // struct open_how: flags, mode, resolve
  how.writeBigUInt64LE(BigInt(flags), 0);
  how.writeBigUInt64LE(BigInt(resolve | RESOLVE.NO_MAGICLINKS), 16);
  const fd = openat2()(SYS_OPENAT2, dir, Buffer.from(`${name}\0`, 'latin1'), how, how.length);
  if (fd < 0) throw libc().error('openat2', String(fsPath(name)));
  return fd;
}

/** The error that a system call fails with. */
export function failure(
  code: 'EBADF' | 'EFAULT' | 'ENAMETOOLONG' | 'ENOENT',
): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code, errno: -os.errno[code] });
}
