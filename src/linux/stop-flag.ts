import { MbuildError } from '../diagnostics/error';

/**
 * What an AbortSignal is for workers, who see it in the midst of synchronous calls: not 0 when it
 * was aborted.
 */
export type StopFlag = Int32Array<SharedArrayBuffer>;

/**
 * Does work with a flag that is set when the signal is aborted, and not any more when the work is
 * over.
 */
export async function withStopFlag<T>(
  signal: AbortSignal | undefined,
  work: (stop: StopFlag) => Promise<T>,
): Promise<T> {
  const flag: StopFlag = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const set = (): void => void Atomics.store(flag, 0, 1);
  if (signal?.aborted === true) set();
  signal?.addEventListener('abort', set);
  try {
    return await work(flag);
  } finally {
    signal?.removeEventListener('abort', set);
  }
}

/** To be called between pieces of long work. @throws MbuildError CANCELED when the flag is set. */
export function throwIfStopped(flag: StopFlag | undefined): void {
  if (flag !== undefined && Atomics.load(flag, 0) !== 0)
    throw new MbuildError('CANCELED', 'canceled');
}
