import { libc, once } from '../../linux/libc';
import { AT_EMPTY_PATH } from '../namespaces/init/syscalls';
import { AUDIT_ARCH, type SHOWING } from './profile';

/**
 * What a call shows of a file, as the kernel lays it out, and where in it the user stands; the
 * group is behind.
 */
export interface Shown {
  readonly bytes: Buffer;
  readonly uid: number;
}

/** Which argument of a call says where its result goes. */
export const SHOWN_AT: Readonly<Record<(typeof SHOWING)[number], number>> = {
  stat: 1,
  lstat: 1,
  newfstatat: 2,
  statx: 4,
};

/**
 * Of 64-bit programs: the number of newfstatat, and the size of struct stat. asm/stat.h,
 * asm-generic/stat.h.
 */
const STAT = new Map([
  [AUDIT_ARCH.x64, { newfstatat: 262, size: 144, uid: 28 }],
  [AUDIT_ARCH.arm64, { newfstatat: 79, size: 128, uid: 24 }],
]);
/** struct statx; linux/stat.h. The same for all programs. */
const STATX = { size: 256, uid: 20 } as const;
const AT_STATX_SYNC_TYPE = 0x6000;

const newfstatat = once(() =>
  libc().func('long syscall(long number, int dir, const char *path, void *stat, int flags)'),
);
const statx = once(() =>
  libc().find('int statx(int dir, const char *path, int flags, unsigned int mask, void *statx)'),
);

/**
 * What stat(2) shows of an open file to a program of an architecture (AUDIT_ARCH_*); `undefined`
 * for 32-bit ones.
 */
export function statOf(fd: number, arch: number): Shown | undefined {
  const form = STAT.get(arch);
  if (form === undefined) return undefined;
  const bytes = Buffer.alloc(form.size);
  if (newfstatat()(form.newfstatat, fd, '', bytes, AT_EMPTY_PATH) < 0)
    throw libc().error('newfstatat');
  return { bytes, uid: form.uid };
}

/** The same for statx(2); `undefined` where the C library has none. */
export function statxOf(fd: number, flags: number, mask: number): Shown | undefined {
  const call = statx();
  if (call === undefined) return undefined;
  const bytes = Buffer.alloc(STATX.size);
  if (call(fd, '', AT_EMPTY_PATH | (flags & AT_STATX_SYNC_TYPE), mask, bytes) < 0)
    throw libc().error('statx');
  return { bytes, uid: STATX.uid };
}
