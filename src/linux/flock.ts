import { closeSync, openSync } from 'node:fs';
import { libc, once } from './libc';

/** Several may hold a file shared, one alone exclusive. */
export type LockMode = 'shared' | 'exclusive';

// <sys/file.h>, the same on all Linux architectures.
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

const FIRST_WAIT_MS = 2;
const LONGEST_WAIT_MS = 100;

/**
 * Locks an open file (flock(2)) if that is possible at once; converts a lock that the descriptor
 * already holds. The kernel drops the lock when the last descriptor of this opening closes, so also
 * when the process dies.
 * @returns false when another opening holds it.
 */
export function tryLock(fd: number, mode: LockMode): boolean {
  return flock(fd, (mode === 'exclusive' ? LOCK_EX : LOCK_SH) | LOCK_NB);
}

/**
 * Waits for the lock by asking again, so that no thread blocks.
 * @throws the signal's reason when it is aborted meanwhile.
 */
export async function lock(fd: number, mode: LockMode, signal?: AbortSignal): Promise<void> {
  if (tryLock(fd, mode)) return;
  const { setTimeout: sleep } = await import('node:timers/promises');
  for (let wait = FIRST_WAIT_MS; !tryLock(fd, mode); wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    // Waiters that started together must not keep asking together.
    await sleep(wait * (0.5 + Math.random()), undefined, signal === undefined ? {} : { signal });
  }
}

/** Runs a function while a directory is locked, for what takes a moment: the thread waits. */
export function whileLocked<T>(dir: string, use: () => T): T {
  const fd = openSync(dir, 'r');
  try {
    flock(fd, LOCK_EX);
    return use();
  } finally {
    closeSync(fd);
  }
}

/** Gives the lock up; a second call does nothing. */
export function unlock(fd: number): void {
  flock(fd, LOCK_UN);
}

function flock(fd: number, operation: number): boolean {
  for (;;) {
    if (call()(fd, operation) === 0) return true;
    const error = libc().error('flock');
    if (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK') return false;
    if (error.code !== 'EINTR') throw error;
  }
}

const call = once(() => libc().func('int flock(int fd, int operation)'));
