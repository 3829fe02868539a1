import { Readable, pipeline, type Duplex } from 'node:stream';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { MbuildError } from '../diagnostics/error';
import type { Workers } from '../linux/threads';
import type { Compression } from '../oci/media-types';
import { MEMBER, OVERHEAD, gzipMember } from './gzip';
import type { layerTasks } from './tasks';
import { throughProgram } from './through-program';

/** How a layer is compressed on its way out. */
export interface CompressForm {
  readonly type: Compression;
  /** gzip 0–9 (zlib's; when absent mbuild's own compressor), zstd 1–22 (3 when absent). */
  readonly level?: number | undefined;
}

/** The most that deflate takes; low levels are faster with it. */
const GZIP_MEMORY = 9;
const ZSTD_LEVEL = 3;

/** zstd in node:zlib, which Node has from 22.15 on. */
interface ZlibWithZstd {
  createZstdCompress?: (options: { readonly params: Record<number, number> }) => Duplex;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

/**
 * Compresses a stream, in which a chunk needs to be valid only until the next is asked for; so are
 * the chunks that come out. gzip: in parallel, each MiB a member of its own (RFC 1952, 2.2: members
 * concatenated are a gzip file). The same input gives the same bytes, whatever the parallelism;
 * where a level is given, and for zstd, with the same zlib or zstd.
 * @throws MbuildError UNSUPPORTED when zstd is asked for and neither Node nor a program has it.
 */
export async function* compressTar(
  source: AsyncIterable<Buffer>,
  form: CompressForm,
  threads: Workers,
): AsyncGenerator<Buffer, void> {
  switch (form.type) {
    case 'none':
      yield* source;
      return;
    case 'gzip':
      yield* form.level === undefined
        ? gzipFast(source, threads)
        : gzipWithZlib(source, form.level, threads.size);
      return;
    case 'zstd':
      yield* zstd(source, form.level ?? ZSTD_LEVEL);
  }
}

/** A buffer that workers share, and how many bytes of it a worker will have made. */
interface SharedMember {
  readonly buffer: Buffer;
  readonly size: Promise<number>;
}

/** Workers compress each member in its place. */
async function* gzipFast(
  source: AsyncIterable<Buffer>,
  threads: Workers,
): AsyncGenerator<Buffer, void> {
  const remote = threads.remote<typeof layerTasks>('layer');
  const free: Buffer[] = [];
  const underWay: SharedMember[] = [];
  const room = (): Buffer => free.pop() ?? Buffer.from(new SharedArrayBuffer(MEMBER + OVERHEAD));
  const start = (buffer: Buffer, length: number): void => {
    // A shorter one is the last, and often the only one: a worker would have to be started for it.
    const size =
      length < MEMBER
        ? Promise.resolve(gzipMember(buffer, length))
        : remote.gzipMember(buffer, length);
    size.catch(() => undefined); // told of when its turn comes
    underWay.push({ buffer, size });
  };
  async function* oldest(): AsyncGenerator<Buffer, void> {
    const member = underWay.shift();
    if (member === undefined) return;
    yield member.buffer.subarray(0, await member.size);
    free.push(member.buffer);
  }

  let members = 0;
  for await (const { buffer, length } of inPieces(source, MEMBER, room)) {
    members++;
    start(buffer, length);
    if (underWay.length > 2 * threads.size) yield* oldest();
  }
  if (members === 0) start(room(), 0);
  while (underWay.length > 0) yield* oldest();
}

const gzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip);

/** In Node's thread pool. */
async function* gzipWithZlib(
  source: AsyncIterable<Buffer>,
  level: number,
  parallelism: number,
): AsyncGenerator<Buffer, void> {
  const underWay: Promise<Buffer>[] = [];
  let members = 0;
  try {
    for await (const { buffer, length } of inPieces(source, MEMBER, ownRoom)) {
      members++;
      underWay.push(
        gzip(buffer.subarray(0, length), { level, memLevel: GZIP_MEMORY, chunkSize: MEMBER / 2 }),
      );
      // Twice as many as can run, so that nobody waits while the consumer writes.
      if (underWay.length > 2 * parallelism) yield await next(underWay);
    }
    while (underWay.length > 0) yield await next(underWay);
    if (members === 0) yield await gzip(Buffer.alloc(0), { level });
  } finally {
    await Promise.allSettled(underWay);
  }
}

function next(underWay: Promise<Buffer>[]): Promise<Buffer> {
  const [first = Promise.resolve(Buffer.alloc(0))] = underWay.splice(0, 1);
  return first;
}

/** The first `length` bytes of a buffer. */
interface Piece {
  readonly buffer: Buffer;
  readonly length: number;
}

function ownRoom(): Buffer {
  return Buffer.allocUnsafe(MEMBER);
}

/**
 * The same bytes in pieces of exactly `size`, but for the last, each copied into a buffer that
 * `room` gives.
 */
async function* inPieces(
  source: AsyncIterable<Buffer>,
  size: number,
  room: () => Buffer,
): AsyncGenerator<Piece, void> {
  let buffer: Buffer | undefined;
  let length = 0;
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length;) {
      buffer ??= room();
      const copied = chunk.copy(buffer, length, at, at + size - length);
      at += copied;
      length += copied;
      if (length < size) continue;
      yield { buffer, length };
      buffer = undefined;
      length = 0;
    }
  }
  if (buffer !== undefined) yield { buffer, length };
}

async function* zstd(source: AsyncIterable<Buffer>, level: number): AsyncGenerator<Buffer, void> {
  const { createZstdCompress, constants } = zlib as unknown as ZlibWithZstd;
  if (createZstdCompress === undefined || constants.ZSTD_c_compressionLevel === undefined) {
    yield* zstdProgram(source, level);
    return;
  }
  const compressor = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: level } });
  // Where its input is cut shows in its output, so it is cut at fixed places. A failing source
  // destroys the compressor, and so reaches the consumer.
  pipeline(Readable.from(ownPieces(source)), compressor, () => {});
  yield* compressor as AsyncIterable<Buffer>;
}

async function* ownPieces(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
  for await (const { buffer, length } of inPieces(source, MEMBER, ownRoom))
    yield buffer.subarray(0, length);
}

function zstdProgram(source: AsyncIterable<Buffer>, level: number): AsyncIterable<Buffer> {
  const args = ['-cq', '-T0', ...(level > 19 ? ['--ultra'] : []), `-${level}`];
  return throughProgram(Readable.from(ownPieces(source)), 'zstd', args, (failure) =>
    failure.kind === 'missing'
      ? zstdMissing(failure.cause)
      : new MbuildError('IO_FAILED', `zstd failed: ${failure.complaint}`),
  );
}

function zstdMissing(cause: unknown): MbuildError {
  return new MbuildError(
    'UNSUPPORTED',
    'zstd compression needs Node 22.15 or the program zstd, and neither was found',
    {
      cause,
      hint: 'install zstd (apt-get install zstd), or use Node 22.15 or newer',
    },
  );
}
