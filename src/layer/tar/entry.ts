import type { DeviceNumber } from '../../linux/device-number';
import type { RawPath } from '../../linux/paths';
import type { Xattrs } from '../../linux/xattr';

/** What an entry makes. A `link` is a further name of a file that came earlier. */
export type TarEntryType = 'file' | 'directory' | 'symlink' | 'link' | 'char' | 'block' | 'fifo';

/** One member of a tar archive, whatever the dialect it is written in. */
export interface TarEntry {
  readonly type: TarEntryType;
  /** As in the archive, but for a directory's trailing slash, which `type` stands for. */
  readonly path: RawPath;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch; readers find fractions, writers write whole ones. */
  readonly mtime: number;
  /** Bytes of content; 0 for everything but a file. */
  readonly size: number;
  /** Target of a symlink, or path of the file that a link is a name of; empty otherwise. */
  readonly linkPath: RawPath;
  readonly device: DeviceNumber;
  readonly xattrs: Xattrs;
}

/** Headers and contents are counted in these. */
export const BLOCK = 512;

/** The device number of what is none. */
export const NO_DEVICE: DeviceNumber = { major: 0, minor: 0 };

/** No extended attributes. */
export const NO_XATTRS: Xattrs = new Map();

/** Bytes of zeros after `size` bytes of content. */
export function paddingOf(size: number): number {
  const over = size % BLOCK;
  return over === 0 ? 0 : BLOCK - over;
}

/** Fields of a ustar header: offset and length (IEEE 1003.1, pax, "ustar Interchange Format"). */
export const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 8],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
} as const;

/**
 * Keys of PAX records that hold extended attributes begin so, as star, GNU tar and Go write them.
 */
export const XATTR_RECORD = 'SCHILY.xattr.';
