import { closeSync, fstatSync, mkdirSync, openSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import { lock } from '../linux/flock';

/** What was done under a lock. */
export interface Flight<T> {
  readonly value: T;
  /** Settles when others can find what was done, which may be long after it is of use here; until then they wait. */
  readonly landed: Promise<unknown>;
}

/**
 * Does a thing once at a time for each name, across all processes of a store. The lock is the kernel's and goes with
 * its holder, however that ends. On return the thing is done; the lock is held until it has landed.
 * @throws what `work` throws, and the signal's reason when it is aborted while waiting.
 */
export async function singleFlight<T>(
  folder: string,
  name: string,
  signal: AbortSignal,
  work: () => Promise<Flight<T>>,
): Promise<Flight<T>> {
  const file = path.join(folder, name);
  const fd = await acquire(file, signal);
  const release = (): void => {
    // The name goes before the lock: who waited on this file sees that it has none any more, and opens it anew.
    unlinkSync(file);
    closeSync(fd);
  };
  try {
    const { value, landed } = await work();
    return {
      value,
      landed: landed
        .then(
          () => undefined,
          () => undefined,
        )
        .then(release),
    };
  } catch (error) {
    release();
    throw error;
  }
}

async function acquire(file: string, signal: AbortSignal): Promise<number> {
  for (;;) {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const fd = openSync(file, 'a', 0o600);
    try {
      await lock(fd, 'exclusive', signal);
      if (isStillNamed(fd, file)) return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
  }
}

function isStillNamed(fd: number, file: string): boolean {
  try {
    return statSync(file).ino === fstatSync(fd).ino;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
