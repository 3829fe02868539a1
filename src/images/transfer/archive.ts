import { decompressed } from '../../layer/decompress';
import { LAYER_LIMITS, checkSize } from '../../layer/layer';
import { TarReader } from '../../layer/tar/read';
import type { TarEntry } from '../../layer/tar/entry';

/**
 * A member of an archive; `body` is to be read before the next member is asked for, or not at all.
 */
export interface ArchiveMember {
  readonly entry: TarEntry;
  readonly body: AsyncIterable<Uint8Array>;
}

/** What is read from a tar, in order. */
type Piece =
  { readonly entry: TarEntry } | { readonly data: Uint8Array } | { readonly hole: number } | 'end';

/**
 * The members of a tar, compressed or not (gzip, zstd, bzip2, xz by their first bytes), as they
 * come.
 * @throws MbuildError ARCHIVE_INVALID for what is no tar or ends too early, LIMIT_EXCEEDED.
 */
export async function* readArchive(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<ArchiveMember> {
  const pieces = readPieces(decompressed(source));
  for (let next = await pieces.next(); next.done !== true; next = await pieces.next()) {
    // the rest of a body that nobody read
    if (next.value === 'end' || !('entry' in next.value)) continue;
    yield { entry: next.value.entry, body: bodyOf(pieces) };
  }
}

async function* bodyOf(pieces: AsyncGenerator<Piece>): AsyncGenerator<Uint8Array> {
  for (
    let next = await pieces.next();
    next.done !== true && next.value !== 'end';
    next = await pieces.next()
  ) {
    if ('data' in next.value) yield next.value.data;
    if ('hole' in next.value)
      for (let left = next.value.hole; left > 0; left -= ZEROS.length)
        yield ZEROS.subarray(0, Math.min(left, ZEROS.length));
  }
}

async function* readPieces(source: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  const pieces: Piece[] = [];
  let holes = 0;
  const reader = new TarReader(
    {
      entry: (entry) => pieces.push({ entry }),
      data: (data) => pieces.push({ data }),
      hole: (length) => {
        holes += length;
        checkSize('archive', holes, LAYER_LIMITS);
        pieces.push({ hole: length });
      },
      end: () => pieces.push('end'),
    },
    { endRequired: true },
  );
  for await (const chunk of source) {
    reader.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
    yield* pieces.splice(0);
  }
  reader.finish();
  yield* pieces.splice(0);
}

const ZEROS = Buffer.alloc(64 << 10);
