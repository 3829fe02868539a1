import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { MbuildError } from '../diagnostics/error';
import type { BuildEvent } from '../progress/events';
import { FrameReader, encodeFrame, type FromSession, type SentError } from './frames';

/** How a session's process is started. */
export interface SessionOptions {
  /** Global flags. */
  readonly flags: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly onNote: (text: string) => void;
}

/** One call to a session. */
export interface SessionCall {
  readonly argv: readonly string[];
  readonly input?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent: (event: BuildEvent) => void;
}

/** A call that has not ended. */
interface Pending {
  readonly onEvent: (event: BuildEvent) => void;
  readonly settle: (end: { readonly value: unknown } | { readonly error: unknown }) => void;
}

/** Bytes of the process's standard error that are kept, for when it dies. */
const KEPT = 4096;

/**
 * A process that works on a store for this one. It has its own memory, threads and user namespace,
 * so that ordinary users build as they do on the command line, and it lives until {@link close}.
 * While no call runs it does not keep this process alive.
 */
export class Session {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #lastId = 0;
  #errors = '';
  #gone: MbuildError | undefined;

  private constructor(
    private readonly options: SessionOptions,
    private readonly onReady: (refusal: MbuildError | undefined) => void,
  ) {
    this.#child = spawn(process.execPath, [program(), ...options.flags, 'session'], {
      cwd: options.cwd,
      env: withCertificates(options.env),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const reader = new FrameReader<FromSession>();
    this.#child.stdout.on('data', (chunk: Buffer) => {
      for (const message of reader.push(chunk)) this.#take(message);
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-KEPT);
    });
    // That it is gone is told by its end.
    this.#child.stdin.on('error', () => undefined);
    this.#ended = new Promise((done) => {
      this.#child.once('error', (error) => this.#end(error.message, done));
      this.#child.once('close', (code, signal) =>
        this.#end(`its process ended with ${signal ?? `exit code ${code}`}`, done),
      );
    });
  }

  /**
   * Starts a session and waits until its store can be used.
   * @throws MbuildError STORE_UNUSABLE, USAGE, …
   */
  static open(options: SessionOptions): Promise<Session> {
    return new Promise((done, fail) => {
      const session = new Session(options, (refusal) => {
        session.#keepAlive(false);
        if (refusal === undefined) done(session);
        else fail(refusal);
      });
    });
  }

  /**
   * Has a command line carried out.
   * @returns what the command gives as its result.
   * @throws MbuildError of the command.
   */
  call({ argv, input, signal, onEvent }: SessionCall): Promise<unknown> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    if (signal?.aborted === true) return Promise.reject(canceled(signal));
    const id = ++this.#lastId;
    const cancel = (): void => this.#send({ kind: 'cancel', id });
    return new Promise((done, fail) => {
      const settle: Pending['settle'] = (end) => {
        this.#pending.delete(id);
        signal?.removeEventListener('abort', cancel);
        if (this.#pending.size === 0) this.#keepAlive(false);
        if ('error' in end) fail(end.error);
        else done(end.value);
      };
      this.#pending.set(id, { onEvent: guarded(onEvent, cancel, settle), settle });
      this.#keepAlive(true);
      signal?.addEventListener('abort', cancel, { once: true });
      this.#send({ kind: 'call', id, argv, input });
    });
  }

  /** Cancels what still runs and ends the process. A second call only waits. */
  async close(): Promise<void> {
    this.#keepAlive(true);
    this.#child.stdin.end();
    await this.#ended;
  }

  #take(message: FromSession): void {
    switch (message.kind) {
      case 'ready':
        return this.onReady(undefined);
      case 'refused':
        return this.onReady(received(message.error));
      case 'note':
        return this.options.onNote(message.text);
      case 'event':
        return this.#pending.get(message.id)?.onEvent(message.event);
      case 'result':
        return this.#pending.get(message.id)?.settle({ value: message.value });
      case 'error':
        return this.#pending.get(message.id)?.settle({ error: received(message.error) });
    }
  }

  #send(message: Parameters<typeof encodeFrame>[0]): void {
    this.#child.stdin.write(encodeFrame(message));
  }

  #end(how: string, done: () => void): void {
    this.#gone ??= new MbuildError('INTERNAL', `the session is gone: ${how}`, {
      output: this.#errors === '' ? undefined : this.#errors,
    });
    this.onReady(this.#gone);
    for (const { settle } of [...this.#pending.values()]) settle({ error: this.#gone });
    done();
  }

  #keepAlive(yes: boolean): void {
    const { stdin, stdout, stderr } = this.#child;
    // They are pipes, which Node.js makes of sockets.
    for (const pipe of [stdin, stdout, stderr] as unknown as Socket[])
      if (yes) pipe.ref();
      else pipe.unref();
    if (yes) this.#child.ref();
    else this.#child.unref();
  }
}

/** Calls the embedder's function; what it throws ends the call. */
function guarded(
  onEvent: Pending['onEvent'],
  cancel: () => void,
  settle: Pending['settle'],
): Pending['onEvent'] {
  return (event) => {
    try {
      onEvent(event);
    } catch (error) {
      cancel();
      settle({ error });
    }
  };
}

/** bin/start.cjs of this package, from the bundle or from the source. */
function program(): string {
  const found = ['..', '../..']
    .map((up) => join(resolve(__dirname, up), 'bin/start.cjs'))
    .find((file) => existsSync(file));
  if (found !== undefined) return found;
  throw new MbuildError('INTERNAL', `the package of mbuild has no bin/start.cjs near ${__dirname}`);
}

/** Node.js reads that file at every start; mbuild when it first needs TLS (bin/mbuild). */
function withCertificates(env: SessionOptions['env']): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: file, ...rest } = env;
  return file === undefined || file === '' ? rest : { ...rest, MBUILD_EXTRA_CA_CERTS: file };
}

function canceled({ reason }: AbortSignal): MbuildError {
  return new MbuildError('CANCELED', 'canceled by the caller', { cause: reason });
}

function received({ code, message, cause, ...facts }: SentError): MbuildError {
  return new MbuildError(code, message, {
    ...facts,
    cause: cause === undefined ? undefined : new Error(cause),
  });
}
