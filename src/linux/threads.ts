import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import { bundledFile } from './bundle';

/** A group of functions that may run in a worker: arguments and results are structured-cloned. */
export type Tasks = Readonly<Record<string, (...args: never[]) => unknown>>;

/** The same functions, seen from the main thread. */
export type Remote<T extends Tasks> = {
  readonly [K in keyof T]: (...args: Parameters<T[K]>) => Promise<Awaited<ReturnType<T[K]>>>;
};

/**
 * What callers need of {@link Threads}: its tasks, how many run at once, and whether they do yet.
 */
export type Workers = Pick<Threads, 'remote' | 'size' | 'start' | 'started'>;

interface Call {
  readonly id: number;
  readonly group: string;
  readonly task: string;
  readonly args: readonly unknown[];
}
interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: unknown;
}
interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}
interface Seat {
  readonly worker: Worker;
  readonly pending: Map<number, Pending>;
}

/**
 * A pool of worker threads that run named tasks with synchronous calls: trees are walked, hashed
 * and written there. Workers start when they are first needed and do not keep the process alive
 * while idle.
 */
export class Threads {
  readonly #seats: Seat[] = [];
  #nextId = 0;

  /** @param size the most workers that run at once. */
  constructor(
    private readonly entry: string = bundledFile('worker.cjs'),
    readonly size: number = Math.max(2, availableParallelism()),
  ) {}

  /** The functions of a group of tasks; `name` is what `serveTasks` was given. */
  remote<T extends Tasks>(name: string): Remote<T> {
    return new Proxy({} as Remote<T>, {
      get:
        (_, task) =>
        (...args: unknown[]) =>
          this.#call(name, String(task), args),
    });
  }

  /** Whether any worker runs already. */
  get started(): boolean {
    return this.#seats.length > 0;
  }

  /**
   * Starts what workers there may be, for whoever will need them soon and has something to do until
   * then.
   */
  start(): void {
    while (this.#seats.length < this.size) this.#newSeat().worker.unref();
  }

  /** Ends all workers; calls under way reject. */
  async close(): Promise<void> {
    await Promise.all(
      this.#seats.splice(0).map(({ worker }) => {
        // An answer that still comes would let go of the worker, and the process could end before
        // this is waited for.
        worker.removeAllListeners('message');
        return worker.terminate();
      }),
    );
  }

  #call(group: string, task: string, args: readonly unknown[]): Promise<unknown> {
    const seat = this.#seat();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      seat.pending.set(id, { resolve, reject });
      seat.worker.ref();
      seat.worker.postMessage({ id, group, task, args } satisfies Call);
    });
  }

  /** The least busy worker; a new one when all are busy and there is room. */
  #seat(): Seat {
    const idlest = this.#seats.reduce<Seat | undefined>(
      (best, seat) => (best === undefined || seat.pending.size < best.pending.size ? seat : best),
      undefined,
    );
    if (idlest !== undefined && (idlest.pending.size === 0 || this.#seats.length >= this.size))
      return idlest;
    return this.#newSeat();
  }

  #newSeat(): Seat {
    // Descriptors that the kernel gave without Node.js are closed by it, too.
    const seat: Seat = {
      worker: new (workerThreads().Worker)(this.entry, { trackUnmanagedFds: false }),
      pending: new Map(),
    };
    this.#seats.push(seat);
    seat.worker.on('message', (reply: Reply) => {
      const call = seat.pending.get(reply.id);
      seat.pending.delete(reply.id);
      if (seat.pending.size === 0) seat.worker.unref();
      if (reply.error === undefined) call?.resolve(reply.value);
      else call?.reject(reviveError(reply.error));
    });
    const lose = (error: Error): void => {
      const at = this.#seats.indexOf(seat);
      if (at >= 0) this.#seats.splice(at, 1);
      for (const call of seat.pending.values()) call.reject(error);
      seat.pending.clear();
    };
    seat.worker.on('error', lose);
    seat.worker.on('exit', (code) => lose(new Error(`a worker thread ended with code ${code}`)));
    return seat;
  }
}

/** The worker's side: answers calls for the given groups of tasks. */
export function serveTasks(groups: Readonly<Record<string, Tasks>>): void {
  const port = workerThreads().parentPort;
  if (port === null) throw new Error('serveTasks outside a worker thread');
  port.on('message', (call: Call) => {
    const task = groups[call.group]?.[call.task] as
      ((...args: readonly unknown[]) => unknown) | undefined;
    void (async () => {
      try {
        if (task === undefined) throw new Error(`no task ${call.group}.${call.task}`);
        port.postMessage({ id: call.id, value: await task(...call.args) } satisfies Reply);
      } catch (error) {
        port.postMessage({ id: call.id, error: plainError(error) } satisfies Reply);
      }
    })();
  });
}

/** Errors cross threads as plain objects, for structured clone drops their own properties. */
function plainError(error: unknown): unknown {
  if (typeof error !== 'object' || error === null) return { message: String(error) };
  const { name, message, stack, cause } = error as Error;
  return {
    ...error,
    name,
    message,
    stack,
    ...(cause === undefined ? {} : { cause: plainError(cause) }),
  };
}

function reviveError(plain: unknown): Error {
  const facts = plain as Error;
  if (isMbuildError(facts)) return new MbuildError(facts.code, facts.message, facts);
  const error = new Error(facts.message);
  for (const [key, value] of Object.entries(facts))
    Object.defineProperty(error, key, {
      value,
      configurable: true,
      enumerable: key !== 'stack' && key !== 'message',
    });
  return error;
}

/** Loaded when the first worker is needed; a cached build needs none. */
function workerThreads(): typeof import('node:worker_threads') {
  return require('node:worker_threads') as typeof import('node:worker_threads');
}
