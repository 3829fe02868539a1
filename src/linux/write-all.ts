import { writeSync } from 'node:fs';

/**
 * Writes all of some bytes, which one write(2) need not do: from a place in the file on, or where
 * the file is now.
 */
export function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  for (let at = 0; at < bytes.length;)
    at += writeSync(
      fd,
      bytes,
      at,
      bytes.length - at,
      position === undefined ? null : position + at,
    );
}
