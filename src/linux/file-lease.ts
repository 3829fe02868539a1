import { libc, once } from './libc';

// <fcntl.h>, the same on all Linux architectures.
const F_RDLCK = 0;
const F_SETSIG = 10;
const F_SETLEASE = 1024;
/**
 * Ignored by who does not ask for it; a broken lease otherwise is told of by SIGIO, which ends a
 * process.
 */
const SIGURG = 23;

/**
 * Does something while nobody has a file open for writing, in whatever namespace; who opens it so
 * meanwhile waits for the end of it. The kernel grants a read lease (fcntl(2), F_SETLEASE) only on
 * a file without writers.
 * @param fd open for reading alone; it holds the lease until it is closed.
 * @returns false, with nothing done, when somebody has it open, and where that cannot be found out.
 */
export function unlessWritten(fd: number, act: () => void): boolean {
  if (call()(fd, F_SETSIG, SIGURG) !== 0 || call()(fd, F_SETLEASE, F_RDLCK) !== 0) return false;
  act();
  return true;
}

const call = once(() => libc().func('int fcntl(int fd, int command, int argument)'));
