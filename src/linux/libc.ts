import { getSystemErrorMap } from 'node:util';

/**
 * What a C function takes here: integers, bytes (passed as a pointer), text (as UTF-8, with a NUL),
 * or a NULL pointer.
 */
export type CValue = number | bigint | Uint8Array | string | null;

/**
 * A C function; returns what it returned, which is negative when it failed (see
 * {@link Libc.error}).
 */
export type CFunction = (...args: CValue[]) => number;

/** The C library that this process already runs on, glibc or musl. */
export interface Libc {
  /** A function by its C prototype. @throws Error when the library has no such function. */
  func(prototype: string): CFunction;
  /** The same, or `undefined` when the library has no such function. */
  find(prototype: string): CFunction | undefined;
  /**
   * Where the bytes of a buffer are. They stay there for as long as somebody refers to it, if it
   * has its memory for itself (`Buffer.allocUnsafeSlow`).
   */
  address(bytes: Uint8Array): bigint;
  /** The number of the error of the call that just failed, as in `os.constants.errno`. */
  errno(): number;
  /**
   * The error of the call that just failed, shaped like those of `node:fs`: `code`, `errno`,
   * `syscall`, `path`.
   */
  error(syscall: string, path?: string): NodeJS.ErrnoException;
}

/**
 * The C library. Loaded when it is first asked for, for loading the bridge takes milliseconds that
 * a cached build need not spend. Symbols are taken from the running process, so nothing is looked
 * up by a file name that differs between C libraries.
 */
export const libc: () => Libc = once(loadLibc);

let isLoaded = false;

/**
 * True once somebody asked for the C library. An orderly end of the process then writes the
 * standard outputs to the disk, and hangs where that fails: koffi, lib/native/base/base.cc,
 * "FlushStd".
 */
export function isLibcLoaded(): boolean {
  return isLoaded;
}

/**
 * Ends the process without anything else that an orderly end does but to tell who listens to
 * 'exit'.
 */
export function endProcess(code: number): void {
  process.emit('exit', code);
  libc().func('void _exit(int code)')(code);
}

/** A function that computes its value on the first call and remembers it. */
export function once<T>(compute: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: compute() }).value;
}

type Koffi = typeof import('koffi');

/**
 * koffi without its JavaScript, which finds out which of the prebuilt libraries fits: that takes
 * four milliseconds of each start. Where the most likely one is not (an installation that keeps
 * packages apart, musl), koffi is asked after all.
 */
function loadKoffi(): Koffi {
  try {
    return require(
      `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
    ) as Koffi;
  } catch {
    return require('koffi') as Koffi;
  }
}

function loadLibc(): Libc {
  const koffi = loadKoffi();
  const library = koffi.load(null);
  isLoaded = true;
  const names = getSystemErrorMap();

  const func = (prototype: string): CFunction => library.func(prototype) as CFunction;
  return {
    func,
    find(prototype) {
      try {
        return func(prototype);
      } catch {
        return undefined;
      }
    },
    address: (bytes) => BigInt(koffi.address(bytes)),
    errno: () => koffi.errno(),
    error(syscall, path) {
      const errno = koffi.errno();
      const [code, text] = names.get(-errno) ?? [`E${errno}`, 'unknown error'];
      const error = new Error(
        `${code}: ${text}, ${syscall}${path === undefined ? '' : ` '${path}'`}`,
      );
      return Object.assign(error, {
        code,
        errno: -errno,
        syscall,
        ...(path === undefined ? {} : { path }),
      });
    },
  };
}
