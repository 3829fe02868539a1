import os from 'node:os';
import { libc, once, type CFunction } from './libc';
import { toText, type RawPath } from './paths';

/** Extended attributes of one file, by name. */
export type Xattrs = ReadonlyMap<string, Buffer>;

// include/uapi/linux/limits.h: XATTR_LIST_MAX and XATTR_SIZE_MAX; PATH_MAX is 4096 with its NUL.
const XATTR_MAX = 65_536;
const PATH_MAX = 4096;
const NAME_MAX = 256;
/** Room for what nearly all files have, if they have any attribute. */
const USUAL_MAX = 512;
const { ENODATA, ENOTSUP, EOPNOTSUPP, ERANGE } = os.constants.errno;

/**
 * Names of the attributes of the file itself (a symlink is not followed), sorted by byte; empty
 * where attributes are not supported.
 */
export function listXattrs(path: RawPath): string[] {
  const { llistxattr, pathArg, value } = calls();
  const file = cString(pathArg, path);
  const length = ask((room) => llistxattr(file, value, room));
  if (length === 0) return [];
  if (length < 0) {
    if (failedWith(ENOTSUP, EOPNOTSUPP)) return [];
    throw libc().error('llistxattr', toText(path));
  }
  return namesIn(value, length);
}

/** The same of an open file. */
export function listOpenXattrs(fd: number): string[] {
  const { flistxattr, value } = calls();
  const length = ask((room) => flistxattr(fd, value, room));
  if (length === 0) return [];
  if (length < 0) {
    if (failedWith(ENOTSUP, EOPNOTSUPP)) return [];
    throw libc().error('flistxattr');
  }
  return namesIn(value, length);
}

/**
 * One attribute, or `undefined` when the file has none of that name or attributes are not
 * supported. Does not follow a symlink.
 */
export function getXattr(path: RawPath, name: string): Buffer | undefined {
  const { lgetxattr, pathArg, nameArg, value } = calls();
  const [file, attribute] = [cString(pathArg, path), cString(nameArg, name)];
  const length = ask((room) => lgetxattr(file, attribute, value, room));
  if (length >= 0) return Buffer.from(value.subarray(0, length));
  if (failedWith(ENODATA, ENOTSUP, EOPNOTSUPP)) return undefined;
  throw libc().error('lgetxattr', toText(path));
}

/** The same of an open file, without the way to it. */
export function getOpenXattr(fd: number, name: string): Buffer | undefined {
  const { fgetxattr, nameArg, value } = calls();
  const attribute = cString(nameArg, name);
  const length = ask((room) => fgetxattr(fd, attribute, value, room));
  if (length >= 0) return Buffer.from(value.subarray(0, length));
  if (failedWith(ENODATA, ENOTSUP, EOPNOTSUPP)) return undefined;
  throw libc().error('fgetxattr');
}

/** The same of what a path leads to: a symlink is followed. */
export function getFollowedXattr(path: RawPath, name: string): Buffer | undefined {
  const { getxattr, pathArg, nameArg, value } = calls();
  const [file, attribute] = [cString(pathArg, path), cString(nameArg, name)];
  const length = ask((room) => getxattr(file, attribute, value, room));
  if (length >= 0) return Buffer.from(value.subarray(0, length));
  if (failedWith(ENODATA, ENOTSUP, EOPNOTSUPP)) return undefined;
  throw libc().error('getxattr', toText(path));
}

/** All attributes that the caller may read. */
export function readXattrs(path: RawPath): Xattrs {
  const attributes = new Map<string, Buffer>();
  for (const name of listXattrs(path)) {
    const value = getXattr(path, name);
    if (value !== undefined) attributes.set(name, value);
  }
  return attributes;
}

/**
 * Sets one attribute of the file itself.
 * @throws ENOTSUP, EPERM and the like, as `code` of the error.
 */
export function setXattr(path: RawPath, name: string, value: Uint8Array): void {
  const { lsetxattr, pathArg, nameArg } = calls();
  if (
    lsetxattr(
      cString(pathArg, path),
      cString(nameArg, name),
      value.length === 0 ? null : value,
      value.length,
      0,
    ) < 0
  ) {
    throw libc().error('lsetxattr', toText(path));
  }
}

/** The same for an open file. */
export function setOpenXattr(fd: number, name: string, value: Uint8Array): void {
  const { fsetxattr, nameArg } = calls();
  if (fsetxattr(fd, cString(nameArg, name), value.length === 0 ? null : value, value.length, 0) < 0)
    throw libc().error('fsetxattr');
}

/** Removes one attribute; a second call does nothing. */
export function removeXattr(path: RawPath, name: string): void {
  const { lremovexattr, pathArg, nameArg } = calls();
  if (lremovexattr(cString(pathArg, path), cString(nameArg, name)) >= 0) return;
  if (!failedWith(ENODATA)) throw libc().error('lremovexattr', toText(path));
}

/** Names that end in a NUL each, in the first bytes of a buffer. */
function namesIn(list: Buffer, length: number): string[] {
  return list
    .toString('latin1', 0, length - 1)
    .split('\0')
    .sort();
}

interface Calls {
  readonly flistxattr: CFunction;
  readonly llistxattr: CFunction;
  readonly lgetxattr: CFunction;
  readonly getxattr: CFunction;
  readonly fgetxattr: CFunction;
  readonly lsetxattr: CFunction;
  readonly fsetxattr: CFunction;
  readonly lremovexattr: CFunction;
  /** Buffers that every call reuses: calls are synchronous, so no two are under way in a thread. */
  readonly pathArg: Buffer;
  readonly nameArg: Buffer;
  readonly value: Buffer;
}

const calls = once<Calls>(() => ({
  llistxattr: libc().func('long llistxattr(const void *path, void *list, size_t size)'),
  flistxattr: libc().func('long flistxattr(int fd, void *list, size_t size)'),
  lgetxattr: libc().func(
    'long lgetxattr(const void *path, const void *name, void *value, size_t size)',
  ),
  getxattr: libc().func(
    'long getxattr(const void *path, const void *name, void *value, size_t size)',
  ),
  fgetxattr: libc().func('long fgetxattr(int fd, const void *name, void *value, size_t size)'),
  lsetxattr: libc().func(
    'int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)',
  ),
  fsetxattr: libc().func(
    'int fsetxattr(int fd, const void *name, const void *value, size_t size, int flags)',
  ),
  lremovexattr: libc().func('int lremovexattr(const void *path, const void *name)'),
  pathArg: Buffer.alloc(PATH_MAX),
  nameArg: Buffer.alloc(NAME_MAX),
  value: Buffer.alloc(XATTR_MAX),
}));

/**
 * Offers little room first: the kernel takes as much memory as it is offered, and clears it, for
 * each call.
 */
function ask(call: (room: number) => number): number {
  const length = call(USUAL_MAX);
  return length < 0 && failedWith(ERANGE) ? call(XATTR_MAX) : length;
}

/**
 * Writes a NUL-terminated string into `into`; what is too long for the kernel gets a buffer of its
 * own, and the kernel's answer.
 */
function cString(into: Buffer, text: string): Buffer {
  if (text.includes('\0'))
    throw Object.assign(new Error(`EINVAL: NUL in ${JSON.stringify(text)}`), { code: 'EINVAL' });
  const buffer = text.length < into.length ? into : Buffer.alloc(text.length + 1);
  buffer[buffer.write(text, 0, 'latin1')] = 0;
  return buffer;
}

/**
 * True when the call that just failed did so with one of these: cheaper to ask than to make an
 * error of, as for each file without attributes.
 */
function failedWith(...errnos: readonly number[]): boolean {
  return errnos.includes(libc().errno());
}
