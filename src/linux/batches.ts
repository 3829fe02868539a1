/** How much one message to a worker takes along. */
export interface BatchLimits {
  readonly items: number;
  readonly bytes: number;
}

/** A stretch of a list. */
export interface Batch<T> {
  /** Index of its first item. */
  readonly from: number;
  readonly items: readonly T[];
}

/**
 * Cuts a list into batches, each when it is asked for: what is made of a batch need not be there
 * for all of them at once.
 */
export function* batchesOf<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  limits: BatchLimits,
): Generator<Batch<T>, void> {
  let from = 0;
  let bytes = 0;
  for (let at = 0; at < items.length; at++) {
    const item = items[at];
    if (item === undefined) continue;
    const size = sizeOf(item);
    if (at > from && (at - from >= limits.items || bytes + size > limits.bytes)) {
      yield { from, items: items.slice(from, at) };
      from = at;
      bytes = 0;
    }
    bytes += size;
  }
  if (from < items.length) yield { from, items: items.slice(from) };
}

/**
 * Does the work on each, so many at a time. After a failure no more are begun; it is thrown when
 * nothing is under way any more.
 */
export async function eachAtOnce<T>(
  pieces: Iterable<T>,
  most: number,
  work: (piece: T) => Promise<void>,
): Promise<void> {
  const rest = pieces[Symbol.iterator]();
  const failures: unknown[] = [];
  await Promise.all(
    Array.from({ length: most }, async () => {
      for (
        let next = rest.next();
        next.done !== true && failures.length === 0;
        next = rest.next()
      ) {
        await work(next.value).catch((error: unknown) => void failures.push(error));
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}
