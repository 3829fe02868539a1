import { fstatSync, write } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { disarmed } from '../diagnostics/visible';
import { decodeDevice } from '../linux/device-number';

/** One of the standard streams, written without ever waiting for its reader. */
export interface Output {
  readonly isTTY: boolean;
  /** Queues text; never throws. What comes after the reader has gone is dropped. */
  write(text: string): void;
  /** The same for an order to the CI service, which `write` would disarm: no foreign text may stand at the start of a line. */
  order(text: string): void;
  /** Columns and rows of the terminal; 80 by 24 where there is none. */
  size(): { readonly columns: number; readonly rows: number };
  /** Resolves when all that was queued is written or can no longer be. */
  drain(): Promise<void>;
}

/** Milliseconds until a descriptor that would block is tried again. */
const RETRY = 5;
/**
 * The major number of /dev/null and its like: Documentation/admin-guide/devices.txt of the kernel.
 */
const MEMORY_DEVICES = 1;

/**
 * Writes to a file descriptor in order, several texts at a time; to standard output that is a
 * terminal only what gives it no orders. `onClosed` is called once when the reader is gone (EPIPE).
 * A descriptor is written by the thread pool, for a pipe that nobody reads would stop the whole
 * program otherwise.
 */
export class FdOutput implements Output {
  readonly isTTY: boolean;
  #queue: string[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(
    readonly fd: 1 | 2,
    readonly onClosed: () => void = () => {},
  ) {
    this.isTTY = isTerminal(fd);
  }

  write(text: string): void {
    // Progress on the other one moves the cursor, and cleans what it shows itself.
    const safe = disarmed(text);
    this.order(this.isTTY && this.fd === 1 ? harmless(safe) : safe);
  }

  order(text: string): void {
    if (this.#closed || text === '') return;
    this.#queue.push(text);
    this.#running ??= this.#run();
  }

  size(): { readonly columns: number; readonly rows: number } {
    if (!this.isTTY) return { columns: 80, rows: 24 };
    const stream = this.fd === 1 ? process.stdout : process.stderr;
    return { columns: stream.columns || 80, rows: stream.rows || 24 };
  }

  async drain(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #run(): Promise<void> {
    // What is written in one go by the program goes to the kernel in one call.
    await Promise.resolve();
    while (this.#queue.length > 0 && !this.#closed) {
      const bytes = Buffer.from(this.#queue.splice(0).join(''));
      await this.#writeAll(bytes);
    }
    this.#running = undefined;
  }

  async #writeAll(bytes: Buffer): Promise<void> {
    let done = 0;
    while (done < bytes.length && !this.#closed) {
      const result = await new Promise<number | string>((resolve) => {
        write(this.fd, bytes, done, bytes.length - done, null, (error, written) =>
          resolve(error === null ? written : (errnoOf(error) ?? 'EIO')),
        );
      });
      if (typeof result === 'number') done += result;
      else if (result === 'EAGAIN')
        await new Promise((resolve) => {
          setTimeout(resolve, RETRY);
        });
      else {
        this.#closed = true;
        this.#queue = [];
        this.onClosed();
      }
    }
  }
}

// Names and values of images, as results hold them; line feeds, tabs and colours stay.
const COMMANDS =
  /\r(?!\n)|\x1b(?!\[\d{0,2}m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;

/**
 * A text that gives a terminal no orders: control characters show as their pictures, and where they
 * have none as U+FFFD.
 */
function harmless(text: string): string {
  return text.replace(COMMANDS, (character) =>
    character < ' ' ? String.fromCharCode(0x2400 + character.charCodeAt(0)) : '\ufffd',
  );
}

// `node:tty` brings the network stack along: it is only asked about what can be a terminal at all.
function isTerminal(fd: 1 | 2): boolean {
  try {
    const stats = fstatSync(fd);
    return (
      stats.isCharacterDevice() &&
      decodeDevice(stats.rdev).major !== MEMORY_DEVICES &&
      (fd === 1 ? process.stdout : process.stderr).isTTY
    );
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
