import { ftruncateSync, readSync } from 'node:fs';
import { writeAll } from './write-all';

/** From this size on a file is worth copying in pieces, so that one can be the last. Bytes. */
export const HUGE = 64 * 1024 * 1024;
const PIECE = 1024 * 1024;

/**
 * Copies what is left of an open file to the beginning of another, and yields after every piece of
 * a megabyte. Pieces of zeros become holes. Neither is closed.
 */
export function* copyPieces(source: number, target: number): Generator<void, void> {
  const buffer = Buffer.allocUnsafe(PIECE);
  const zeros = Buffer.alloc(PIECE);
  let position = 0;
  for (let read = readSync(source, buffer); read > 0; read = readSync(source, buffer)) {
    const piece = buffer.subarray(0, read);
    if (!piece.equals(zeros.subarray(0, read))) writeAll(target, piece, position);
    position += read;
    yield;
  }
  ftruncateSync(target, position);
}
