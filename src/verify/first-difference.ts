/** Where two contents part, and a piece of each from there. */
export interface Place {
  /** Bytes before the first one that differs. */
  readonly offset: number;
  /**
   * Of text: the line from there on, or a piece of it, quoted; of other bytes: some in hexadecimal;
   * `end of file`.
   */
  readonly first: string;
  readonly second: string;
}

const TEXT_SHOWN = 60;
const BYTES_SHOWN = 16;

/** `undefined` when neither differs from the other as far as both go. */
export function firstDifference(first: Buffer, second: Buffer): Place | undefined {
  const shorter = Math.min(first.length, second.length);
  let offset = 0;
  while (offset < shorter && first[offset] === second[offset]) offset++;
  if (offset === first.length && offset === second.length) return undefined;
  return { offset, first: pieceAt(first, offset), second: pieceAt(second, offset) };
}

function pieceAt(bytes: Buffer, offset: number): string {
  if (offset >= bytes.length) return 'end of file';
  const [line = ''] = bytes.toString('utf8', offset, offset + TEXT_SHOWN).split('\n', 1);
  const isText = line !== '' && !/[\x00-\x08\x0b-\x1f\x7f\uFFFD]/.test(line);
  return isText ? JSON.stringify(line) : `0x${bytes.toString('hex', offset, offset + BYTES_SHOWN)}`;
}
