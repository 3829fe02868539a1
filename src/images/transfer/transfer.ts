import { MbuildError } from '../../diagnostics/error';
import type { Digest } from '../../oci/digest';
import type { BuildScope, TransferState, VertexId } from '../../progress/events';
import { Lease } from '../store/lease';
import type { ImageServices } from '../store/services';

/** What everything that moves images works with. */
export interface Transfer<Services = ImageServices> {
  readonly services: Services;
  /** Keeps what is moved until it has a name. */
  readonly lease: Lease;
  /** The vertex of progress that is told where each layer stands. */
  readonly vertex: VertexId;
  readonly scope: BuildScope;
}

/** What whoever begins a transfer says of it; the lease is the transfer's own. */
export type TransferSetting<Services = ImageServices> = Omit<Transfer<Services>, 'lease'>;

/** Gives a transfer its lease, for as long as `work` lasts. */
export async function withLease<T, Services extends Pick<ImageServices, 'root'>>(
  setting: TransferSetting<Services>,
  work: (transfer: Transfer<Services>) => Promise<T>,
): Promise<T> {
  const lease = new Lease(setting.services.root);
  try {
    return await work({ ...setting, lease });
  } finally {
    lease.release();
  }
}

/** Blobs that are fetched, unpacked or sent at once: docker's number. */
export const PARALLEL_TRANSFERS = 3;

/** Lets a limited number of calls run; the others wait in order. */
export function limiter(most: number): <T>(call: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (call) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await call();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}

/** @throws MbuildError CANCELED when the user has given up. */
export function checkCanceled(signal: AbortSignal): void {
  if (signal.aborted) throw new MbuildError('CANCELED', 'stopped', { cause: signal.reason });
}

/**
 * Runs calls side by side. The first failure aborts the others; it is thrown when all have come to
 * rest.
 */
export async function together<T>(
  scope: BuildScope,
  calls: readonly ((scope: BuildScope) => Promise<T>)[],
): Promise<T[]> {
  const stop = new AbortController();
  const inner: BuildScope = { ...scope, signal: AbortSignal.any([scope.signal, stop.signal]) };
  let failure: { readonly error: unknown } | undefined;
  const settled = await Promise.allSettled(
    calls.map(async (call) => {
      try {
        return await call(inner);
      } catch (error) {
        failure ??= { error };
        stop.abort();
        throw error;
      }
    }),
  );
  if (failure !== undefined) throw failure.error;
  return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}

/**
 * Reports where one blob of a vertex stands; states follow each other at once, bytes at most ten
 * times a second.
 */
export function transferReporter(
  { scope, vertex }: Pick<Transfer, 'scope' | 'vertex'>,
  digest: Digest,
  total: number,
): (state: TransferState, current?: number) => void {
  let last: TransferState | undefined;
  let lastTime = 0;
  return (state, current = 0) => {
    const time = Date.now();
    if (state === last && time - lastTime < 100) return;
    last = state;
    lastTime = time;
    scope.events({
      kind: 'status',
      id: vertex,
      time,
      item: shortDigest(digest),
      state,
      current,
      total,
    });
  };
}

/** The 12 hex characters that docker shows. */
export function shortDigest(digest: string): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
