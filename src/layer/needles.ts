import { closeSync, constants, openSync, readSync } from 'node:fs';
import { fsPath, type RawPath } from '../linux/paths';
import { layerEntries, type TreeOptions } from './entries';

/** Looks for byte strings in a stream, also where one lies across two chunks. */
export class NeedleSearch {
  readonly #missing: Map<number, Buffer>;
  readonly #overlap: number;
  #tail: Buffer = Buffer.alloc(0);

  constructor(private readonly needles: readonly Uint8Array[]) {
    this.#missing = new Map(needles.map((needle, i) => [i, Buffer.from(needle)]));
    this.#overlap = Math.max(0, ...needles.map((needle) => needle.length - 1));
  }

  /** Numbers of the needles that were found so far. */
  get found(): number[] {
    return this.needles.flatMap((_, i) => (this.#missing.has(i) ? [] : [i]));
  }

  push(chunk: Buffer): void {
    if (this.#missing.size === 0) return;
    const seam = Buffer.concat([this.#tail, chunk.subarray(0, this.#overlap)]);
    for (const [i, needle] of this.#missing)
      if (seam.includes(needle) || chunk.includes(needle)) this.#missing.delete(i);
    this.#tail = Buffer.from(
      chunk.length >= this.#overlap
        ? chunk.subarray(chunk.length - this.#overlap)
        : seam.subarray(-this.#overlap),
    );
  }
}

/** Where a needle lies in a layer directory. */
export interface NeedleFound {
  readonly path: RawPath;
  /** Its place in the list. */
  readonly needle: number;
}

/**
 * Which entries hold one of the needles, in their content, name, link target or attributes. Slow:
 * for when a hash has found them.
 */
export function findNeedles(
  dir: RawPath,
  options: TreeOptions,
  needles: readonly Uint8Array[],
): NeedleFound[] {
  const places: NeedleFound[] = [];
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  for (const { entry, source } of layerEntries(dir, options, true)) {
    const search = new NeedleSearch(needles);
    for (const text of [entry.path, entry.linkPath])
      search.push(Buffer.from(`${text}\0`, 'latin1'));
    for (const value of entry.xattrs.values()) search.push(Buffer.concat([value, Buffer.alloc(1)]));
    if (entry.size > 0) for (const chunk of fileChunks(source, buffer)) search.push(chunk);
    places.push(...search.found.map((needle) => ({ path: entry.path, needle })));
  }
  return places;
}

function* fileChunks(file: RawPath, buffer: Buffer): Generator<Buffer, void> {
  const fd = openSync(fsPath(file), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer))
      yield buffer.subarray(0, read);
  } finally {
    closeSync(fd);
  }
}
