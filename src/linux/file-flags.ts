import { closeSync, constants, lstatSync, openSync, readdirSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { libc, once } from './libc';
import { fsPath, type RawPath } from './paths';

// linux/fs.h; both numbers say that a long is handed over, and the kernel takes an int.
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IMMUTABLE_FL = 0x10;
const FS_APPEND_FL = 0x20;

const ioctl = once(() => libc().func('int ioctl(int fd, unsigned long request, void *flags)'));

/**
 * Lets a file or directory be changed again that was made immutable or append-only (chattr(1));
 * nothing happens to any other, to what is not there, and on file systems without such flags.
 * @returns true when it was one.
 */
export function makeMutable(file: RawPath): boolean {
  const stats = lstatSync(fsPath(file), { throwIfNoEntry: false });
  // Asking a device would be something else.
  if (stats?.isFile() !== true && stats?.isDirectory() !== true) return false;
  let fd: number;
  try {
    fd = openSync(fsPath(file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
  try {
    const flags = Buffer.alloc(8);
    if (ioctl()(fd, FS_IOC_GETFLAGS, flags) < 0) return false;
    const before = flags.readUInt32LE(0);
    const after = before & ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
    if (after === before) return false;
    flags.writeUInt32LE(after, 0);
    return ioctl()(fd, FS_IOC_SETFLAGS, flags) === 0;
  } finally {
    closeSync(fd);
  }
}

/** The same for a file, or for a directory and all that is in it. */
export function makeTreeMutable(root: RawPath): void {
  makeMutable(root);
  if (lstatSync(fsPath(root), { throwIfNoEntry: false })?.isDirectory() !== true) return;
  for (const entry of readdirSync(fsPath(root), { encoding: 'latin1', withFileTypes: true })) {
    if (entry.isDirectory()) makeTreeMutable(`${root}/${entry.name}`);
    else if (entry.isFile()) makeMutable(`${root}/${entry.name}`);
  }
}
