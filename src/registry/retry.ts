import { setTimeout as sleep } from 'node:timers/promises';
import { MbuildError } from '../diagnostics/error';
import { isTransient } from './network-error';
import { PATIENCE } from './registry';
import { dismiss, type HttpRequest, type HttpResponse, type Transport } from './transport';

/** A server that wants to be left alone for longer is not waited for. */
const MAX_RETRY_AFTER_MS = 60_000;
const LONGEST_PAUSE_MS = 10_000;

/**
 * How often a passing failure is tried, and the first pause in milliseconds; it doubles every time.
 */
export interface RetryOptions {
  readonly attempts?: number | undefined;
  readonly pauseMs?: number | undefined;
}

/** True for a status that may be another one on the next try. */
export function isPassing(status: number): boolean {
  return (
    status === 408 ||
    status === 429 ||
    status === 500 ||
    status === 502 ||
    status === 503 ||
    status === 504
  );
}

/**
 * Sends a request, made anew each time, until the answer is no passing failure. When patience ends,
 * the last answer is returned, or the last error thrown.
 * @throws MbuildError as {@link Transport.send}, and REGISTRY_FAILED from {@link pauseBetween}.
 */
export async function sendRetried(
  transport: Transport,
  request: () => HttpRequest,
  patience: RetryOptions,
): Promise<HttpResponse> {
  const attempts = patience.attempts ?? PATIENCE.attempts;
  for (let attempt = 1; ; attempt++) {
    const sent = request();
    try {
      const response = await transport.send(sent);
      if (!isPassing(response.status) || attempt >= attempts) return response;
      await dismiss(response);
      await pauseBetween(attempt, response, patience, sent.signal);
    } catch (error) {
      if (!isTransient(error) || attempt >= attempts) throw error;
      await pauseBetween(attempt, undefined, patience, sent.signal);
    }
  }
}

/**
 * Waits before the next try: as long as the server asked for, else longer every time, with some
 * chance in it.
 * @throws MbuildError REGISTRY_FAILED when the server asks for too long, CANCELED.
 */
export async function pauseBetween(
  attempt: number,
  response: HttpResponse | undefined,
  { pauseMs = PATIENCE.pauseMs }: RetryOptions,
  signal: AbortSignal,
): Promise<void> {
  const asked = retryAfter(response?.headers['retry-after'], Date.now());
  if (asked !== undefined && asked > MAX_RETRY_AFTER_MS) {
    throw new MbuildError(
      'REGISTRY_FAILED',
      `${response?.url.host} is busy and asks for a pause of ${Math.ceil(asked / 1000)} s`,
      { hint: 'try again later; logging in often raises the limit' },
    );
  }
  const backOff =
    Math.min(LONGEST_PAUSE_MS, pauseMs * 2 ** (attempt - 1)) * (0.75 + Math.random() / 2);
  await sleep(asked ?? backOff, undefined, { signal }).catch((cause: unknown) => {
    throw new MbuildError('CANCELED', 'the transfer was stopped', { cause });
  });
}

/** Milliseconds to wait, from seconds or an HTTP date. RFC 9110, 10.2.3. */
function retryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
