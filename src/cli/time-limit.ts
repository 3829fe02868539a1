import { MbuildError } from '../diagnostics/error';
import type { Host } from './host';
import { readTimeout } from './limit-options';

/**
 * Does a piece of work in a limited time: `--timeout`. What is over time is canceled like by a signal, and fails with BUILD_TIMEOUT
 * after it has cleaned up.
 * @param text the flag's value; without one there is no limit.
 */
export async function withTimeLimit<T>(
  text: string | undefined,
  host: Host,
  work: (host: Host) => Promise<T>,
): Promise<T> {
  const limit = readTimeout('timeout', text);
  if (limit === undefined) return work(host);
  const over = new AbortController();
  const timer = setTimeout(
    () =>
      over.abort(
        new MbuildError('BUILD_TIMEOUT', `the build took longer than --timeout=${text}`, {
          hint: 'what it finished is in the cache; give it more time, or limit single steps with --step-timeout',
        }),
      ),
    limit,
  );
  try {
    return await work({ ...host, signal: AbortSignal.any([host.signal, over.signal]) });
  } catch (error) {
    throw over.signal.aborted && !host.signal.aborted ? over.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}
