import { encodeDevice, type DeviceNumber } from './device-number';
import { libc, once } from './libc';
import { toText, type RawPath } from './paths';
import type { FileStats } from './stat';

/** What `mknod` can make. */
export type NodeKind = 'char' | 'block' | 'fifo' | 'socket';

const TYPE: Readonly<Record<NodeKind, number>> = {
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  socket: 0o140000,
};

/**
 * Makes a device, a named pipe, or a socket that nobody listens on. The process's umask applies to
 * `mode` (permission bits).
 * @throws an error with `code`: EEXIST, EPERM (no CAP_MKNOD), …
 */
export function makeNode(
  path: RawPath,
  kind: NodeKind,
  mode: number,
  device: DeviceNumber = { major: 0, minor: 0 },
): void {
  if (
    mknod()(
      Buffer.from(`${path}\0`, 'latin1'),
      TYPE[kind] | (mode & 0o7777),
      BigInt(encodeDevice(device.major, device.minor)),
    ) < 0
  ) {
    throw libc().error('mknod', toText(path));
  }
}

/**
 * Marks a name of a layer directory as deleted: by overlay's 0:0 character device, which needs no
 * privilege, or by a socket that nobody may open, for where no overlay is mounted: one below would
 * take the device for a mark of its own, and refuse it (the kernel's) or hide it (fuse-overlayfs).
 */
export function makeWhiteout(path: RawPath, as: 'device' | 'socket' = 'device'): void {
  makeNode(path, as === 'device' ? 'char' : 'socket', 0);
}

/**
 * True for what {@link makeWhiteout} makes (kernel, filesystems/overlayfs.rst). Sockets of others
 * have a mode, and no layer holds them.
 */
export function isWhiteout(stats: FileStats): boolean {
  return (
    (stats.isCharacterDevice() && stats.rdev === 0) ||
    (stats.isSocket() && (stats.mode & 0o7777) === 0)
  );
}

/**
 * `mknod` with the device by value. glibc before 2.33 has the function under another name, with the
 * device by pointer.
 */
const mknod = once((): ((path: Buffer, mode: number, device: bigint) => number) => {
  const direct = libc().find('int mknod(const void *path, unsigned int mode, uint64_t dev)');
  if (direct !== undefined) return direct;
  const versioned = libc().func(
    'int __xmknod(int version, const void *path, unsigned int mode, void *dev)',
  );
  const version = process.arch === 'ia32' || process.arch === 'arm' ? 1 : 0;
  return (path, mode, device) => {
    const pointer = Buffer.alloc(8);
    if (process.arch === 's390x') pointer.writeBigUInt64BE(device);
    else pointer.writeBigUInt64LE(device);
    return versioned(version, path, mode, pointer);
  };
});
