import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { Readable, pipeline, type Duplex } from 'node:stream';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { MbuildError } from '../diagnostics/error';
import type { Compression } from '../oci/media-types';

/** How a layer is compressed on its way out. */
export interface CompressForm {
  readonly type: Compression;
  /** gzip 0–9 (2 when absent), zstd 1–22 (3 when absent). */
  readonly level?: number | undefined;
}

/** Input bytes of one gzip member and of one call of zstd; part of what the output's bytes depend on. */
const MEMBER = 1024 * 1024;

/** Level 6 takes 2.3 times as long for files 6 to 9 % smaller; other builders' defaults lie between. */
const GZIP_LEVEL = 2;
/** The most that deflate takes; low levels are faster with it. */
const GZIP_MEMORY = 9;
const ZSTD_LEVEL = 3;

/** zstd in node:zlib, which Node has from 22.15 on. */
interface ZlibWithZstd {
  createZstdCompress?: (options: { readonly params: Record<number, number> }) => Duplex;
  readonly constants: { readonly ZSTD_c_compressionLevel?: number };
}

/**
 * Compresses a stream, whose chunks must stay as they are. gzip: in parallel, each MiB a member of its own (RFC 1952, 2.2: members concatenated are a gzip
 * file). The same input gives the same bytes with the same zlib or zstd, whatever the parallelism.
 * @throws MbuildError UNSUPPORTED when zstd is asked for and neither Node nor a program has it.
 */
export async function* compressTar(source: AsyncIterable<Buffer>, form: CompressForm, parallelism: number = availableParallelism()): AsyncGenerator<Buffer, void> {
  switch (form.type) {
    case 'none':
      yield* source;
      return;
    case 'gzip':
      yield* gzipMembers(source, form.level ?? GZIP_LEVEL, parallelism);
      return;
    case 'zstd':
      yield* zstd(source, form.level ?? ZSTD_LEVEL);
  }
}

const gzip = promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gzip);

/** Compression runs in Node's thread pool: nothing is copied between threads, and no worker needs to be there. */
async function* gzipMembers(source: AsyncIterable<Buffer>, level: number, parallelism: number): AsyncGenerator<Buffer, void> {
  const underWay: Promise<Buffer>[] = [];
  let members = 0;
  try {
    for await (const bytes of inPieces(source, MEMBER)) {
      members++;
      underWay.push(gzip(bytes, { level, memLevel: GZIP_MEMORY, chunkSize: MEMBER / 2 }));
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

/** The same bytes in pieces of exactly `size`, but for the last. A chunk of that size is handed on as it is. */
async function* inPieces(source: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer, void> {
  let piece = Buffer.allocUnsafe(size);
  let filled = 0;
  for await (const chunk of source) {
    if (filled === 0 && chunk.length === size) {
      yield chunk;
      continue;
    }
    for (let at = 0; at < chunk.length;) {
      const copied = chunk.copy(piece, filled, at);
      at += copied;
      filled += copied;
      if (filled < size) continue;
      yield piece;
      piece = Buffer.allocUnsafe(size);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}

async function* zstd(source: AsyncIterable<Buffer>, level: number): AsyncGenerator<Buffer, void> {
  const { createZstdCompress, constants } = zlib as unknown as ZlibWithZstd;
  if (createZstdCompress === undefined || constants.ZSTD_c_compressionLevel === undefined) {
    yield* zstdProgram(source, level);
    return;
  }
  const compressor = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: level } });
  // Where its input is cut shows in its output, so it is cut at fixed places. A failing source destroys the compressor, and so reaches the consumer.
  pipeline(Readable.from(inPieces(source, MEMBER)), compressor, () => {});
  yield* compressor as AsyncIterable<Buffer>;
}

async function* zstdProgram(source: AsyncIterable<Buffer>, level: number): AsyncGenerator<Buffer, void> {
  const child = spawn('zstd', ['-cq', '-T0', ...(level > 19 ? ['--ultra'] : []), `-${level}`], { stdio: ['pipe', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-2000)));
  const ended = new Promise<number | Error>((resolve) => {
    child.once('error', resolve);
    child.once('close', (code) => resolve(code ?? 1));
  });
  let sourceError: unknown;
  const input = Readable.from(source);
  input.once('error', (error) => (sourceError = error));
  // When the program stops reading, its exit says why.
  pipeline(input, child.stdin, () => {});
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const status = await ended;
    if (sourceError !== undefined) throw sourceError;
    if (typeof status !== 'number') throw zstdMissing(status);
    if (status !== 0) throw new MbuildError('IO_FAILED', `zstd failed: ${complaint.trim()}`);
  } finally {
    input.destroy();
    child.kill('SIGKILL');
  }
}

function zstdMissing(cause: unknown): MbuildError {
  return new MbuildError('UNSUPPORTED', 'zstd is needed to compress so, and this Node has none and the program could not be started', {
    cause,
    hint: 'install it (apt-get install zstd), or use Node 22.15 or newer',
  });
}
