/** What stands where a secret stood. */
const MASK = Buffer.from('***');

/**
 * Shorter lines of secrets are not masked: they would be found everywhere, and tell what they are
 * by what is missing. Bytes.
 */
export const MIN_MASKED = 4;

/** Takes the chunks of one stream, and hands on what is certain not to be part of a secret. */
export interface MaskedStream {
  /** What may be shown now; empty while all of it could be the beginning of a secret. */
  push(data: Uint8Array): Uint8Array;
  /** What is left when the stream has ended. */
  end(): Uint8Array;
}

/**
 * What is looked for of a secret: its lines, without line ends, from {@link MIN_MASKED} bytes on.
 */
export function maskedParts(secrets: Iterable<Uint8Array>): Buffer[] {
  const lines = [...secrets].flatMap((secret) =>
    Buffer.from(secret).toString('latin1').split(/\r*\n/),
  );
  return [...new Set(lines)]
    .filter((line) => line.length >= MIN_MASKED)
    .map((line) => Buffer.from(line, 'latin1'));
}

/**
 * Replaces secrets in a stream by `***`, also those that come in several chunks. Only what could be
 * the beginning of a secret is held back, so that all else is shown when it is written.
 * @param parts as {@link maskedParts} gives them.
 */
export function maskStream(parts: readonly Buffer[]): MaskedStream {
  if (parts.length === 0) return { push: (data) => data, end: () => Buffer.alloc(0) };
  let rest: Buffer = Buffer.alloc(0);
  /** So many bytes of `rest` belong to a secret whose mask is out already. */
  let covered = 0;
  const take = (data: Uint8Array, isLast: boolean): Buffer => {
    const text = Buffer.concat([rest, data]);
    const until = isLast ? text.length : text.length - beginningLength(text, parts);
    const shown: Buffer[] = [];
    let at = 0;
    let hidden = 0;
    for (const { start, end } of placesOf(text, parts, covered)) {
      if (start >= until) break;
      shown.push(text.subarray(at, start));
      if (start > 0 || covered === 0) shown.push(MASK);
      at = hidden = end;
    }
    if (at < until) shown.push(text.subarray(at, until));
    rest = text.subarray(until);
    // Of what is held back whole, as much stays covered as before.
    if (until > 0) covered = Math.max(0, hidden - until);
    return Buffer.concat(shown);
  };
  return { push: (data) => take(data, false), end: () => take(Buffer.alloc(0), true) };
}

interface Place {
  readonly start: number;
  readonly end: number;
}

/** Where secrets stand, in order; those that overlap as one. */
function placesOf(text: Buffer, parts: readonly Buffer[], covered: number): Place[] {
  const places: Place[] = covered > 0 ? [{ start: 0, end: covered }] : [];
  for (const part of parts) {
    for (let start = text.indexOf(part); start >= 0; start = text.indexOf(part, start + 1))
      places.push({ start, end: start + part.length });
  }
  const joined: { start: number; end: number }[] = [];
  for (const { start, end } of places.sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last !== undefined && start < last.end) last.end = Math.max(last.end, end);
    else joined.push({ start, end });
  }
  return joined;
}

/** Length of the longest end of a text with which a secret begins. */
function beginningLength(text: Buffer, parts: readonly Buffer[]): number {
  return Math.max(
    ...parts.map((part) => {
      for (
        let start = text.indexOf(part[0] ?? 0, Math.max(0, text.length - part.length + 1));
        start >= 0;
        start = text.indexOf(part[0] ?? 0, start + 1)
      ) {
        if (part.compare(text, start, text.length, 0, text.length - start) === 0)
          return text.length - start;
      }
      return 0;
    }),
  );
}
