import { tarEntries } from '../layer/diff';
import { layerEntries, type Found } from '../layer/entries';
import { BLOCK } from '../layer/tar/entry';
import { toRaw } from '../linux/paths';
import { hashValue } from './key';

/** A piece of a cache mount's tar: the pieces, one behind the other, are the whole. */
export interface MountPart {
  readonly found: readonly Found[];
  readonly isLast: boolean;
}

/**
 * Bytes that a part has on average, in caches that are not large; at most so many parts in others.
 */
const PART = 4 * 1024 * 1024;
const MOST_PARTS = 1024;

/**
 * A cache mount's files in parts. Where a part ends depends on the path and the size of its last
 * entry alone, so that what changes, comes or goes leaves all parts as they are but its own, and
 * its neighbour if an end goes with it.
 */
export function cutMount(dir: string): MountPart[] {
  const found = [...layerEntries(toRaw(dir), { xattrs: 'trusted' }, true)];
  const average = averageOf(found.reduce((sum, { entry }) => sum + costOf(entry.size), 0));
  const parts: Found[][] = [[]];
  for (const one of found) {
    parts.at(-1)?.push(one);
    if (endsPart(one, average)) parts.push([]);
  }
  const filled = parts.filter((part, i) => part.length > 0 || i === 0);
  return filled.map((part, i) => ({ found: part, isLast: i === filled.length - 1 }));
}

/** The bytes of a part, uncompressed. */
export function tarOfPart({ found, isLast }: MountPart): AsyncGenerator<Buffer, void> {
  return tarEntries(found, !isLast);
}

/** In powers of two, so that a cache that grows is cut anew only when it has doubled. */
function averageOf(bytes: number): number {
  let average = PART;
  while (bytes / average > MOST_PARTS) average *= 2;
  return average;
}

/** Each byte ends a part with the same probability, which the path's hash decides. */
function endsPart({ entry }: Found, average: number): boolean {
  const drawn = parseInt(hashValue(['part', entry.path]).slice(0, 8), 16) / 2 ** 32;
  return drawn < 1 - Math.exp(-costOf(entry.size) / average);
}

/** With the header, so that many small files make a part too. */
function costOf(size: number): number {
  return size + BLOCK;
}
