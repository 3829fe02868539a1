import type { ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { REPORT_FD, SYNC_FD } from './descriptors';
import type { Program } from './init/program';
import { readReport, type Report } from './report';

/** Who is told what of a command. */
export interface WatchHooks {
  /**
   * The command waits, and goes on when this has resolved; when it rejects, nothing is executed.
   */
  readonly prepare: (pid: number) => Promise<void>;
  /** A command that waited was executed. */
  readonly executed: () => void;
  /** The command has ended; what it left behind may still run. */
  readonly ended?: ((init: number) => void) | undefined;
}

/**
 * Waits until a command and all its descendants are gone; on abort kills the PID namespace's init,
 * and so all.
 */
export class InitWatch {
  readonly #chunks: Buffer[] = [];
  /** Where a command that waits gets its turn. */
  readonly #turn: Duplex | undefined;
  #preparing: Promise<void> | undefined;
  /** Whether the command was told to go on. */
  #hasTurn = false;

  constructor(
    private readonly child: ChildProcess,
    private readonly program: Program,
    private readonly signal: AbortSignal,
    private readonly hooks: WatchHooks,
  ) {
    const ends: readonly unknown[] = child.stdio;
    this.#turn = ends[SYNC_FD] as Duplex | undefined;
    this.#turn?.on('error', () => undefined); // the command may be gone already
    this.#turn?.resume().on('end', () => setImmediate(() => this.#turnTaken()));
    (ends[REPORT_FD] as Readable).on('data', (chunk: Buffer) => this.#reported(chunk));
  }

  /** @throws MbuildError SANDBOX_FAILED when init cannot be started, and what `prepare` throws. */
  async end(): Promise<Report> {
    const kill = (): void => this.#kill();
    this.signal.addEventListener('abort', kill);
    try {
      await new Promise<void>((resolve, reject) => {
        this.child.on('error', (error) =>
          reject(
            new MbuildError(
              'SANDBOX_FAILED',
              `the sandbox's init could not be started: ${error.message}`,
              { cause: error },
            ),
          ),
        );
        this.child.on('exit', () => this.#turn?.destroy());
        this.child.on('close', () => resolve());
      });
      await this.#preparing;
    } finally {
      this.signal.removeEventListener('abort', kill);
    }
    return this.#read();
  }

  #read(): Report {
    return readReport(Buffer.concat(this.#chunks), this.program);
  }

  #reported(chunk: Buffer): void {
    this.#chunks.push(chunk);
    const { pid, isReady, lost, status } = this.#read();
    if (this.signal.aborted || lost !== undefined) this.#kill();
    if (status !== undefined && this.child.pid !== undefined) this.hooks.ended?.(this.child.pid);
    if (pid !== undefined && isReady) this.#preparing ??= this.#prepare(pid);
  }

  #prepare(pid: number): Promise<void> {
    const preparing = this.hooks.prepare(pid).then(
      () => {
        this.#hasTurn = true;
        this.#turn?.end('\n');
      },
      (error: unknown) => {
        this.#kill();
        throw error;
      },
    );
    preparing.catch(() => undefined); // awaited in end()
    return preparing;
  }

  /** Nobody has the other end of the turn any more: the command was executed, or is gone. */
  #turnTaken(): void {
    // A failure is reported before the descriptor is closed.
    if (this.#hasTurn && this.#read().failure === undefined && !this.signal.aborted)
      this.hooks.executed();
  }

  #kill(): void {
    const { pid, status } = this.#read();
    try {
      if (pid !== undefined && status === undefined) process.kill(pid, 'SIGKILL');
      else if (pid === undefined) this.child.kill('SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }
}
