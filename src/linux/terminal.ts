import { closeSync } from 'node:fs';
import { libc, once } from './libc';

// The same on all Linux architectures that Node.js runs on.
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;
const TIOCSWINSZ = 0x5414;

const ioctl = once(() =>
  libc().func('int ioctl(int fd, unsigned long request, const void *argument)'),
);
const syscall = once(() =>
  libc().func('long syscall(long number, long first, long second, long third)'),
);

/**
 * A descriptor of another process, as one of this process's own, which children do not inherit.
 * @throws EPERM, ESRCH and the like.
 */
export function takeDescriptor(pid: number, fd: number): number {
  const handle = syscall()(SYS_PIDFD_OPEN, pid, 0, 0);
  if (handle < 0) throw libc().error('pidfd_open');
  try {
    const taken = syscall()(SYS_PIDFD_GETFD, handle, fd, 0);
    if (taken < 0) throw libc().error('pidfd_getfd');
    return taken;
  } finally {
    closeSync(handle);
  }
}

/** Tells a terminal its size; the processes in its foreground get SIGWINCH. */
export function setTerminalSize(fd: number, columns: number, rows: number): void {
  const window = Buffer.alloc(8); // struct winsize: rows, columns, two unused
  window.writeUInt16LE(rows, 0);
  window.writeUInt16LE(columns, 2);
  if (ioctl()(fd, TIOCSWINSZ, window) < 0) throw libc().error('ioctl');
}
