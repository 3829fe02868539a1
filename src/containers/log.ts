import { closeSync, fstatSync, openSync, readSync, renameSync, statSync, writeSync } from 'node:fs';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../diagnostics/error';

/**
 * One line of a log, or a part of one that is very long; the file holds one a line, in docker's
 * JSON form.
 */
export interface LogEntry {
  /** With its line feed, unless the process wrote none. */
  readonly log: string;
  readonly stream: 'stdout' | 'stderr';
  /** RFC 3339. */
  readonly time: string;
}

/** Longest part of a line that is one entry: docker's 16 KiB. */
const MAX_ENTRY = 16 << 10;
/** A log file that has grown to this is put aside, and the one put aside before is deleted. */
const MAX_FILE = 32 << 20;
/** Milliseconds between two looks for more. */
const POLL = 50;
const CHUNK = 64 << 10;

/** Writes what a container prints, line by line; at most 64 MiB are kept. */
export class LogWriter {
  #fd: number;
  #size: number;
  readonly #streams = { stdout: new Lines(), stderr: new Lines() };

  constructor(private readonly file: string) {
    this.#fd = openSync(file, 'a', 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  write(stream: LogEntry['stream'], data: Uint8Array): void {
    this.#append(stream, this.#streams[stream].add(data));
  }

  /** Writes what did not end with a line feed. */
  close(): void {
    for (const stream of ['stdout', 'stderr'] as const)
      this.#append(stream, this.#streams[stream].rest());
    closeSync(this.#fd);
  }

  #append(stream: LogEntry['stream'], lines: readonly string[]): void {
    if (lines.length === 0) return;
    const time = new Date().toISOString();
    const text = lines
      .map((log) => `${JSON.stringify({ log, stream, time } satisfies LogEntry)}\n`)
      .join('');
    this.#size += writeSync(this.#fd, text);
    if (this.#size < MAX_FILE) return;
    closeSync(this.#fd);
    renameSync(this.file, `${this.file}.1`);
    this.#fd = openSync(this.file, 'a', 0o600);
    this.#size = 0;
  }
}

/**
 * The entries of a log, oldest first. With `follow` it goes on until `isOver`, and all that was
 * written by then. A log that is not there yet is empty.
 */
export async function* readLog(
  file: string,
  options: {
    readonly follow?: (() => boolean) | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): AsyncGenerator<LogEntry> {
  yield* entriesOf(new Lines(), readAll(`${file}.1`));
  let fd = openIfThere(file);
  const lines = new Lines();
  try {
    for (;;) {
      const isOver = options.follow === undefined || options.follow();
      if (fd !== undefined) yield* entriesOf(lines, chunks(fd));
      const next = isReplaced(fd, file) ? openIfThere(file) : undefined;
      if (next !== undefined) {
        if (fd !== undefined) closeSync(fd);
        fd = next;
      } else if (isOver || options.signal?.aborted === true) {
        return;
      } else {
        await sleep(POLL);
      }
    }
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Cuts bytes into lines. */
class Lines {
  readonly #decoder = new StringDecoder('utf8');
  #open = '';

  /**
   * The lines that are complete now, with their line feeds, and the parts of one that is too long.
   */
  add(data: Uint8Array): string[] {
    const text =
      this.#open + this.#decoder.write(Buffer.from(data.buffer, data.byteOffset, data.length));
    const lines: string[] = [];
    let at = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', at)) {
      lines.push(text.slice(at, end + 1));
      at = end + 1;
    }
    this.#open = text.slice(at);
    if (this.#open.length >= MAX_ENTRY) lines.push(...this.rest());
    return lines;
  }

  rest(): string[] {
    const rest = this.#open;
    this.#open = '';
    return rest === '' ? [] : [rest];
  }
}

function* entriesOf(lines: Lines, data: Iterable<Buffer>): Generator<LogEntry> {
  for (const chunk of data) {
    for (const line of lines.add(chunk)) {
      const entry = parseEntry(line);
      if (entry !== undefined) yield entry;
    }
  }
}

/** A line that a crash cut off is left out. */
function parseEntry(line: string): LogEntry | undefined {
  try {
    return JSON.parse(line) as LogEntry;
  } catch {
    return undefined;
  }
}

function* readAll(file: string): Generator<Buffer> {
  const fd = openIfThere(file);
  if (fd === undefined) return;
  try {
    yield* chunks(fd);
  } finally {
    closeSync(fd);
  }
}

/** What there is from the descriptor's position on. */
function* chunks(fd: number): Generator<Buffer> {
  for (;;) {
    const buffer = Buffer.alloc(CHUNK);
    const length = readSync(fd, buffer, 0, CHUNK, null);
    if (length === 0) return;
    yield buffer.subarray(0, length);
  }
}

function isReplaced(fd: number | undefined, file: string): boolean {
  const now = statSync(file, { throwIfNoEntry: false });
  return now !== undefined && (fd === undefined || fstatSync(fd).ino !== now.ino);
}

function openIfThere(file: string): number | undefined {
  try {
    return openSync(file, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
