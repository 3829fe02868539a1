import { closeSync, writeSync } from 'node:fs';
import { libc, once } from './libc';

// <linux/memfd.h>, <linux/fcntl.h>
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_EXEC = 0x10;
const F_ADD_SEALS = 1033;
const ALL_SEALS = 0xf;

const create = once(() => libc().func('int memfd_create(const void *name, unsigned int flags)'));
const control = once(() => libc().func('int fcntl(int fd, int command, int argument)'));

/**
 * An executable file in memory that nothing can change, not even who gets hold of it as root. The
 * caller closes the descriptor; programs that are executed do not inherit it.
 */
export function sealedFile(name: string, content: Uint8Array): number {
  const fd = memoryFile(name, content);
  if (control()(fd, F_ADD_SEALS, ALL_SEALS) >= 0) return fd;
  const error = libc().error('fcntl');
  closeSync(fd);
  throw error;
}

/** The same, which its holders may change. */
export function memoryFile(name: string, content: Uint8Array): number {
  const label = Buffer.from(`${name}\0`, 'latin1');
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  // Kernels before 6.3 do not know MFD_EXEC, later ones may insist on it.
  let fd = create()(label, flags | MFD_EXEC);
  if (fd < 0) fd = create()(label, flags);
  if (fd < 0) throw libc().error('memfd_create');
  try {
    writeSync(fd, content);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
