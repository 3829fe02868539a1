import { Readable } from 'node:stream';
import { decompressStream, detectCompression } from '../layer/decompress';
import { TarReader } from '../layer/tar/read';
import type { TarEntry } from '../layer/tar/entry';

/** A member of an archive; `body` is to be read before the next member is asked for, or not at all. */
export interface ArchiveMember {
  readonly entry: TarEntry;
  readonly body: AsyncIterable<Uint8Array>;
}

/** What is read from a tar, in order. */
type Piece = { readonly entry: TarEntry } | { readonly data: Uint8Array } | 'end';

/**
 * The members of a tar, compressed or not (gzip, zstd, bzip2, xz by their first bytes), as they come.
 * @throws MbuildError ARCHIVE_INVALID for what is no tar or ends too early.
 */
export async function* readArchive(source: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveMember> {
  const pieces = readPieces(await decompressed(source));
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
    if (next.value === 'end' || !('entry' in next.value)) continue; // the rest of a body that nobody read
    yield { entry: next.value.entry, body: bodyOf(pieces) };
  }
}

async function* bodyOf(pieces: AsyncGenerator<Piece>): AsyncGenerator<Uint8Array> {
  for (let next = await pieces.next(); next.done !== true && next.value !== 'end'; next = await pieces.next()) {
    if ('data' in next.value) yield next.value.data;
  }
}

async function* readPieces(source: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  const pieces: Piece[] = [];
  const reader = new TarReader({
    entry: (entry) => pieces.push({ entry }),
    data: (data) => pieces.push({ data }),
    hole: (length) => {
      for (let left = length; left > 0; left -= ZEROS.length) pieces.push({ data: ZEROS.subarray(0, Math.min(left, ZEROS.length)) });
    },
    end: () => pieces.push('end'),
  }, { endRequired: true });
  for await (const chunk of source) {
    reader.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    yield* pieces.splice(0);
  }
  reader.finish();
  yield* pieces.splice(0);
}

const ZEROS = Buffer.alloc(64 << 10);

/** The same bytes, without the compression that they begin with. */
export async function decompressed(source: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = source[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  let done = false;
  while (head.length < 8 && !done) {
    const next = await iterator.next();
    done = next.done === true;
    if (next.done !== true) head = Buffer.concat([head, next.value]);
  }
  const whole = resumed(head, done ? undefined : iterator);
  const compression = detectCompression(head);
  return compression === 'none' ? whole : decompressStream(Readable.from(whole, { objectMode: false }), compression);
}

async function* resumed(head: Buffer, rest: AsyncIterator<Uint8Array> | undefined): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (let next = await rest?.next(); next !== undefined && next.done !== true; next = await rest?.next()) yield next.value;
}
