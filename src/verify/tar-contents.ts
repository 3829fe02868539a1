import { createHash, type Hash } from 'node:crypto';
import { TarReader, type TarSink } from '../layer/tar/read';
import type { TarEntry } from '../layer/tar/entry';
import type { RawPath } from '../linux/paths';
import { toDigest, type Digest } from '../oci/digest';

/** An entry of a tar with the digest of its content. */
export interface HashedEntry {
  readonly entry: TarEntry;
  /** Of files alone. */
  readonly content?: Digest | undefined;
}

/** Zeros of a hole, a piece at a time. */
const ZEROS = Buffer.alloc(64 * 1024);

/**
 * The entries of a tar in its order. Of a path that comes twice the last counts, as for those who
 * unpack it.
 * @throws MbuildError ARCHIVE_INVALID.
 */
export async function hashEntries(tar: AsyncIterable<Buffer>): Promise<Map<RawPath, HashedEntry>> {
  const entries = new Map<RawPath, HashedEntry>();
  let open: { readonly entry: TarEntry; readonly hash?: Hash | undefined } | undefined;
  await readTar(tar, {
    entry: (entry) => {
      open = { entry, hash: entry.type === 'file' ? createHash('sha256') : undefined };
    },
    data: (bytes) => open?.hash?.update(bytes),
    hole: (length) => eachHole(length, (zeros) => open?.hash?.update(zeros)),
    end: () => {
      if (open !== undefined)
        entries.set(open.entry.path, {
          entry: open.entry,
          content: open.hash === undefined ? undefined : toDigest(open.hash),
        });
    },
  });
  return entries;
}

/** The first bytes of some files of a tar, at most `limit` of each. */
export async function readHeads(
  tar: AsyncIterable<Buffer>,
  paths: ReadonlySet<RawPath>,
  limit: number,
): Promise<Map<RawPath, Buffer>> {
  const heads = new Map<RawPath, Buffer>();
  let open: { readonly path: RawPath; readonly chunks: Buffer[]; left: number } | undefined;
  const take = (bytes: Buffer): void => {
    if (open === undefined || open.left === 0) return;
    const taken = bytes.subarray(0, open.left);
    // The reader's input may be filled again.
    open.chunks.push(Buffer.from(taken));
    open.left -= taken.length;
  };
  await readTar(tar, {
    entry: ({ path, type }) => {
      open = type === 'file' && paths.has(path) ? { path, chunks: [], left: limit } : undefined;
    },
    data: take,
    hole: (length) => eachHole(Math.min(length, open?.left ?? 0), take),
    end: () => {
      if (open !== undefined) heads.set(open.path, Buffer.concat(open.chunks));
    },
  });
  return heads;
}

async function readTar(tar: AsyncIterable<Buffer>, sink: TarSink): Promise<void> {
  const reader = new TarReader(sink);
  for await (const chunk of tar) reader.push(chunk);
  reader.finish();
}

function eachHole(length: number, take: (zeros: Buffer) => void): void {
  for (let left = length; left > 0; left -= ZEROS.length)
    take(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
}
