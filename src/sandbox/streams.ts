import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { errnoOf } from '../diagnostics/error';
import { makePipe } from '../linux/pipe';
import { setTerminalSize } from '../linux/terminal';
import type { ProcessIo, TerminalSize } from './sandbox';

/** The three streams of a process that has no terminal. */
export interface ProcessStreams {
  /** Descriptors for the process; `undefined` for a stream that is empty. */
  readonly childEnds: readonly [stdin: number | undefined, stdout: number, stderr: number];
  /** To be called when the process has its own. */
  closeChildEnds(): void;
  /** Hands on what is written. Each promise resolves when every writer of its stream is gone. */
  connect(io: ProcessIo): Promise<void>[];
  /** Takes no more from `io.stdin`. */
  disconnect(io: ProcessIo): void;
  /** Waits for no writer any more. */
  abandon(): void;
}

/** Pipes of our own, for Node's are sockets, on which `> /dev/stdout` fails. */
export function openStreams(io: ProcessIo): ProcessStreams {
  const stdin = io.stdin === undefined ? undefined : makePipe();
  const stdout = makePipe();
  const stderr = makePipe();
  let writer: Socket | undefined;
  let readers: readonly Socket[] = [];
  return {
    childEnds: [stdin?.read, stdout.write, stderr.write],
    closeChildEnds() {
      for (const fd of [stdin?.read, stdout.write, stderr.write]) if (fd !== undefined) closeSync(fd);
    },
    connect() {
      if (stdin !== undefined) {
        writer = new Socket({ fd: stdin.write, readable: false, writable: true });
        writer.on('error', () => undefined); // the command may end without reading
        io.stdin?.pipe(writer);
      }
      const [out, err] = [readerOf(stdout.read), readerOf(stderr.read)];
      readers = [out, err];
      return [handOn(out, (data) => io.output('stdout', data)), handOn(err, (data) => io.output('stderr', data))];
    },
    disconnect() {
      if (writer === undefined) return;
      io.stdin?.unpipe(writer);
      writer.destroy();
    },
    abandon() {
      for (const reader of readers) reader.destroy();
    },
  };
}

/** The outer end of a process's terminal. */
export class Terminal {
  /** Resolves when no process has the terminal open any more. */
  readonly ended: Promise<void>;
  readonly #fd: number;
  #open = true;

  /** @param fd belongs to this object from now on. */
  constructor(fd: number, io: ProcessIo) {
    this.#fd = fd;
    const stream = new ReadStream(fd);
    io.stdin?.pipe(stream);
    this.ended = handOn(stream, (data) => io.output('stdout', data)).finally(() => {
      this.#open = false;
      io.stdin?.unpipe(stream);
    });
  }

  resize(size: TerminalSize): void {
    if (this.#open) setTerminalSize(this.#fd, size.columns, size.rows);
  }
}

function readerOf(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false });
}

/** Hands on what arrives until every writer is gone; one chunk at a time where `take` wants to be waited for. */
function handOn(stream: Socket, take: (data: Uint8Array) => void | Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.on('data', (data: Buffer) => {
      const taken = take(data);
      if (taken === undefined) return;
      stream.pause();
      taken.then(() => stream.resume(), () => stream.destroy());
    });
    // A terminal that nobody has open any more reads as an error.
    stream.on('error', (error) => (errnoOf(error) === 'EIO' ? resolve() : reject(error)));
    stream.on('close', () => resolve());
  });
}
