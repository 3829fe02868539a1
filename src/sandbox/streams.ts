import { closeSync, readSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { errnoOf } from '../diagnostics/error';
import { makePipe } from '../linux/pipe';
import { setTerminalSize, takeDescriptor } from '../linux/terminal';
import type { ProcessIo, TerminalSize } from './sandbox';

/** Milliseconds until a terminal that takes nothing is tried again. */
const RETRY = 5;

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
      for (const fd of [stdin?.read, stdout.write, stderr.write])
        if (fd !== undefined) closeSync(fd);
    },
    connect() {
      if (stdin !== undefined) {
        writer = new Socket({ fd: stdin.write, readable: false, writable: true });
        writer.on('error', () => undefined); // the command may end without reading
        io.stdin?.pipe(writer);
      }
      const [out, err] = [readerOf(stdout.read), readerOf(stderr.read)];
      readers = [out, err];
      return [
        handOn(out, (data) => io.output('stdout', data)),
        handOn(err, (data) => io.output('stderr', data)),
      ];
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
  /**
   * Resolves when no process has the terminal open any more, and what was written to it is handed
   * on.
   */
  readonly ended: Promise<void>;
  readonly #fd: number;
  #open = true;

  /** @param fd does not block, and belongs to this object from now on. */
  constructor(fd: number, io: ProcessIo) {
    this.#fd = fd;
    const output = new ReadStream(takeDescriptor(process.pid, fd));
    const input = new Writable({ write: (data: Buffer, _, done) => this.#type(data, done) });
    io.stdin?.pipe(input);
    this.ended = handOn(output, (data) => io.output('stdout', data))
      .then(() => this.#handOnRest(io))
      .finally(() => {
        this.#open = false;
        io.stdin?.unpipe(input);
        closeSync(fd);
      });
  }

  resize(size: TerminalSize): void {
    if (this.#open) setTerminalSize(this.#fd, size.columns, size.rows);
  }

  /**
   * A process may write before it reads: what it does not take yet must not stop who reads its
   * output.
   */
  #type(data: Uint8Array, done: () => void): void {
    if (!this.#open) return done();
    try {
      const written = writeSync(this.#fd, data);
      if (written === data.length) return done();
      this.#type(data.subarray(written), done);
    } catch (error) {
      if (errnoOf(error) !== 'EAGAIN') return done(); // nobody is there to read it
      setTimeout(() => this.#type(data, done), RETRY);
    }
  }

  /** The stream ends when everyone has closed the terminal, though there may be more to read. */
  async #handOnRest(io: ProcessIo): Promise<void> {
    try {
      for (let data = this.#read(); data.length > 0; data = this.#read())
        await io.output('stdout', data);
    } catch {
      // As for the stream: who takes no more has said so himself.
    }
  }

  #read(): Uint8Array {
    const buffer = Buffer.allocUnsafe(64 * 1024);
    try {
      return buffer.subarray(0, readSync(this.#fd, buffer));
    } catch (error) {
      if (errnoOf(error) !== 'EIO' && errnoOf(error) !== 'EAGAIN') throw error;
      return Buffer.alloc(0);
    }
  }
}

function readerOf(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false });
}

/**
 * Hands on what arrives until every writer is gone, and waits for what was handed on last; one
 * chunk at a time where `take` wants to be waited for.
 */
function handOn(stream: Socket, take: (data: Uint8Array) => void | Promise<void>): Promise<void> {
  let handedOn = Promise.resolve();
  return new Promise<void>((resolve, reject) => {
    stream.on('data', (data: Buffer) => {
      const taken = take(data);
      if (taken === undefined) return;
      stream.pause();
      handedOn = taken.then(
        () => void stream.resume(),
        () => void stream.destroy(),
      );
    });
    // A terminal that nobody has open any more reads as an error.
    stream.on('error', (error) => (errnoOf(error) === 'EIO' ? resolve() : reject(error)));
    stream.on('close', () => resolve());
  }).then(() => handedOn);
}
