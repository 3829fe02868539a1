import { closeSync, constants, openSync, readSync, readlinkSync } from 'node:fs';
import { fsPath, type RawPath } from '../linux/paths';
import { readXattrs } from '../linux/xattr';
import type { FileStats } from '../linux/stat';
import { isOverlayXattr } from './marks';

/** A file, and what lstat says of it. */
export interface Entry {
  readonly hostPath: RawPath;
  readonly stats: FileStats;
}

const CHUNK = 256 * 1024;
/** Times are copied as seconds in floating point, which loses what is below a microsecond. */
const TIME_NOISE_MS = 0.01;

/**
 * True when two entries are the same in all that a layer holds: type, mode, owner, mtime, size,
 * attributes, link target, bytes. Of directories, what is in them does not count.
 */
export function isSameEntry(a: Entry, b: Entry): boolean {
  const [one, other] = [a.stats, b.stats];
  if (
    one.mode !== other.mode ||
    one.uid !== other.uid ||
    one.gid !== other.gid ||
    one.rdev !== other.rdev
  )
    return false;
  if (Math.abs(one.mtimeMs - other.mtimeMs) > TIME_NOISE_MS) return false;
  if (!one.isDirectory() && one.size !== other.size) return false;
  if (!hasSameXattrs(a.hostPath, b.hostPath)) return false;
  if (one.isSymbolicLink())
    return (
      readlinkSync(fsPath(a.hostPath), 'latin1') === readlinkSync(fsPath(b.hostPath), 'latin1')
    );
  return !one.isFile() || hasSameBytes(a.hostPath, b.hostPath);
}

function hasSameXattrs(a: RawPath, b: RawPath): boolean {
  const [one, other] = [a, b].map((path) =>
    [...readXattrs(path)].filter(([name]) => !isOverlayXattr(name)),
  );
  if (one === undefined || other === undefined || one.length !== other.length) return false;
  return one.every(([name, value], i) => other[i]?.[0] === name && other[i]?.[1].equals(value));
}

function hasSameBytes(a: RawPath, b: RawPath): boolean {
  const fds = [a, b].map((path) =>
    openSync(fsPath(path), constants.O_RDONLY | constants.O_NOFOLLOW),
  );
  const [one = -1, other = -1] = fds;
  const [left, right] = [Buffer.allocUnsafe(CHUNK), Buffer.allocUnsafe(CHUNK)];
  try {
    for (;;) {
      const length = readSync(one, left, 0, CHUNK, null);
      let read = 0;
      for (let more = -1; read < length && more !== 0; read += more)
        more = readSync(other, right, read, length - read, null);
      if (read !== length || left.compare(right, 0, length, 0, length) !== 0) return false;
      if (length === 0) return true;
    }
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}
