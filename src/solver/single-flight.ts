import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import { lock } from '../linux/flock';

/** What was done under a lock. */
export interface Flight<T> {
  readonly value: T;
  /**
   * Settles when others can find what was done, which may be long after it is of use here; until
   * then they wait.
   */
  readonly landed: Promise<unknown>;
}

/** Who waits for a lock. */
export interface Queue {
  readonly signal: AbortSignal;
  /** For those who wait while this one has the lock. */
  readonly name: string;
  /** Called once when the wait takes long, with the name of who has the lock. */
  readonly waits: (holder: string | undefined) => void;
}

/** Milliseconds that are waited without a word. */
const SILENT_MS = 2000;

/**
 * Does a thing once at a time for each name, across all processes of a store. The lock is the
 * kernel's and goes with its holder, however that ends. On return the thing is done; the lock is
 * held until it has landed.
 * @throws what `work` throws, and the signal's reason when it is aborted while waiting.
 */
export async function singleFlight<T>(
  folder: string,
  name: string,
  queue: Queue,
  work: () => Promise<Flight<T>>,
): Promise<Flight<T>> {
  const file = path.join(folder, name);
  const fd = await acquireAloud(file, queue);
  sign(fd, queue.name);
  const release = (): void => {
    // The name goes before the lock: who waited on this file sees that it has none any more, and
    // opens it anew.
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

/** Tells for whom it waits, when that takes long. */
async function acquireAloud(file: string, { signal, waits }: Queue): Promise<number> {
  const timer = setTimeout(() => waits(holderOf(file)), SILENT_MS);
  try {
    return await acquire(file, signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Says in the lock's file whose it is; that is for people, so a full disk does not matter. */
function sign(fd: number, name: string): void {
  try {
    ftruncateSync(fd);
    writeSync(fd, name);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

function holderOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim() || undefined;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
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
