import { MbuildError } from '../../diagnostics/error';

/** A field of a header: its offset in the block and its length. */
export type Field = readonly [offset: number, length: number];

/** A field of text, as bytes. */
export function text(block: Buffer, [offset, length]: Field): string {
  return untilNul(block, offset, offset + length);
}

/** The bytes before the first NUL, or before `end`. */
export function untilNul(bytes: Buffer, start: number, end: number): string {
  let stop = start;
  while (stop < end && bytes[stop] !== 0) stop++;
  return bytes.toString('latin1', start, stop);
}

/** A number in octal digits, or in base 256 with the first bit set (GNU, star). */
export function numeric(block: Buffer, field: Field, what: string, at: number): number {
  const [offset, length] = field;
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) return base256(block, field, what, at);
  let i = offset;
  const end = offset + length;
  while (i < end && (block[i] === 0x20 || block[i] === 0)) i++;
  let value = 0;
  for (; i < end; i++) {
    const digit = (block[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  if (i < end && block[i] !== 0x20 && block[i] !== 0)
    throw invalid(`the ${what} of an entry is not a number`, at);
  return value;
}

function base256(block: Buffer, [offset, length]: Field, what: string, at: number): number {
  const negative = ((block[offset] ?? 0) & 0x40) !== 0;
  let value = BigInt((block[offset] ?? 0) & 0x7f) - (negative ? 0x80n : 0n);
  for (let i = offset + 1; i < offset + length; i++) value = value * 256n + BigInt(block[i] ?? 0);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw invalid(`the ${what} of an entry is too large`, at);
  return number;
}

/** The error of all that is wrong with an archive; `at` is the byte where the reader was. */
export function invalid(what: string, at: number): MbuildError {
  return new MbuildError('ARCHIVE_INVALID', `the tar archive is invalid: ${what} (at byte ${at})`);
}
