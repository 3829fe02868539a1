import { closeSync, constants, openSync, readSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { fsPath, toText, type RawPath } from '../linux/paths';
import type { Found } from './entries';
import type { TarSummary } from './layer';
import { BLOCK, paddingOf } from './tar/entry';
import { END_OF_ARCHIVE, encodePax, writeHeader } from './tar/write';

/**
 * A piece of a tar: all of its headers are there, contents of files are still to be read into it.
 */
export interface Chunk {
  readonly bytes: Buffer;
  readonly contents: readonly Content[];
}

/** A stretch of a file, and its place in a chunk. */
export interface Content {
  readonly source: RawPath;
  /** In the file. */
  readonly from: number;
  /** In the chunk. */
  readonly at: number;
  readonly length: number;
}

/** What `hashSmallTree` may spend. */
export interface TreeBudget {
  readonly entries: number;
  readonly bytes: number;
}

export interface TarForm {
  readonly budget?: TreeBudget | undefined;
  /**
   * Where the next chunk is put together; the same buffer may be given again when the last chunk
   * was consumed.
   */
  readonly buffer: () => Buffer;
  /** More entries are to follow in another piece of the tar: it gets no end mark. */
  readonly unfinished?: boolean | undefined;
}

export type TarCounts = Omit<TarSummary, 'diffId'>;

/**
 * Lays out the tar of entries in chunks and returns what it counted; `undefined` when the budget
 * did not suffice.
 */
export function* layOut(
  found: Iterable<Found>,
  form: TarForm,
): Generator<Chunk, TarCounts | undefined> {
  let bytes = form.buffer();
  let contents: Content[] = [];
  let at = 0;
  let entries = 0;
  let contentSize = 0;
  let size = 0;

  function* room(wanted: number): Generator<Chunk, void> {
    if (at + wanted <= bytes.length) return;
    size += at;
    yield { bytes: bytes.subarray(0, at), contents };
    bytes = form.buffer();
    contents = [];
    at = 0;
  }

  for (const { entry, source } of found) {
    entries++;
    contentSize += entry.size;
    if (exceeds(form.budget, entries, contentSize)) return undefined;

    const pax = encodePax(entry);
    for (let copied = 0; pax !== undefined && copied < pax.length;) {
      yield* room(BLOCK);
      const taken = pax.copy(bytes, at, copied);
      copied += taken;
      at += taken;
    }
    yield* room(BLOCK);
    writeHeader(entry, bytes, at);
    at += BLOCK;

    for (let from = 0; from < entry.size;) {
      yield* room(1);
      const length = Math.min(entry.size - from, bytes.length - at);
      contents.push({ source, from, at, length });
      from += length;
      at += length;
    }
    const padding = paddingOf(entry.size);
    yield* room(padding);
    bytes.fill(0, at, at + padding);
    at += padding;
  }

  if (form.unfinished !== true) {
    yield* room(END_OF_ARCHIVE.length);
    at += END_OF_ARCHIVE.copy(bytes, at);
  }
  size += at;
  yield { bytes: bytes.subarray(0, at), contents };
  return { entries, contentSize, size };
}

function exceeds(budget: TreeBudget | undefined, entries: number, bytes: number): boolean {
  return budget !== undefined && (entries > budget.entries || bytes > budget.bytes);
}

/**
 * Reads what is missing in a chunk.
 * @throws MbuildError STORE_CORRUPT for a file that became shorter.
 */
export function readContents({
  bytes,
  contents,
}: {
  readonly bytes: Uint8Array;
  readonly contents: readonly Content[];
}): void {
  for (const content of contents) readContent(content, bytes);
}

function readContent({ source, from, at, length }: Content, bytes: Uint8Array): void {
  const fd = openSync(fsPath(source), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (let done = 0; done < length;) {
      const read = readSync(fd, bytes, at + done, length - done, from + done);
      if (read === 0)
        throw new MbuildError(
          'STORE_CORRUPT',
          `${toText(source)} was cut short while mbuild read it`,
        );
      done += read;
    }
  } finally {
    closeSync(fd);
  }
}
