import { existsSync } from 'node:fs';
import { Readable, pipeline, type Transform } from 'node:stream';
import zlib from 'node:zlib';
import { MbuildError, errnoOf } from '../diagnostics/error';
import type { Compression } from '../oci/media-types';
import { LAYER_LIMITS, checkSize } from './layer';
import { throughProgram } from './through-program';

/** What archives that are added to an image come in; layers know the first three alone. */
export type ArchiveCompression = Compression | 'bzip2' | 'xz';

const MAGIC: readonly (readonly [ArchiveCompression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  // A skippable frame, RFC 8878, 3.1.2: pzstd and seekable archives begin with one.
  ...Array.from({ length: 16 }, (_, i) => ['zstd', [0x50 + i, 0x2a, 0x4d, 0x18]] as const),
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** As many bytes as tell them apart. */
const MAGIC_LENGTH = 6;

const CHUNK = 256 * 1024;

interface Program {
  readonly name: string;
  readonly args: readonly string[];
  readonly debianPackage: string;
}

const PROGRAMS = {
  zstd: { name: 'zstd', args: ['-dcq', '--long=31', '--no-progress'], debianPackage: 'zstd' },
  bzip2: { name: 'bzip2', args: ['-dc'], debianPackage: 'bzip2' },
  xz: { name: 'xz', args: ['-dcq'], debianPackage: 'xz-utils' },
} as const satisfies Record<string, Program>;

/**
 * The compression that a file's first bytes (six are enough) show; `none` for all that is not
 * known, tar archives among it.
 */
export function detectCompression(firstBytes: Uint8Array): ArchiveCompression {
  const found = MAGIC.find(([, magic]) => magic.every((byte, i) => firstBytes[i] === byte));
  return found?.[0] ?? 'none';
}

/**
 * The uncompressed bytes of a stream: all members of gzip, all frames of zstd. The source is
 * destroyed when the consumer stops early.
 * @throws MbuildError ARCHIVE_INVALID for damaged or truncated data; UNSUPPORTED when the program
 * that it takes is missing.
 */
export async function* decompressStream(
  source: Readable,
  compression: ArchiveCompression,
): AsyncGenerator<Buffer, void> {
  try {
    if (compression === 'none') yield* source as AsyncIterable<Buffer>;
    else if (compression === 'gzip')
      yield* throughZlib(source, zlib.createGunzip({ chunkSize: CHUNK }));
    else if (compression === 'zstd' && !isInstalled('zstd') && nodeZstd() !== undefined)
      yield* throughNodeZstd(source);
    else yield* unpackedBy(source, PROGRAMS[compression]);
  } finally {
    source.destroy();
  }
}

/**
 * The bytes of an archive, without the compression that they begin with, whichever it is.
 * @throws MbuildError as {@link decompressStream}, and LIMIT_EXCEEDED for what unpacks to too much.
 */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Buffer, void> {
  const chunks = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  for (let next; head.length < MAGIC_LENGTH && (next = await chunks.next()).done !== true;)
    head = Buffer.concat([head, next.value]);
  let unpacked = 0;
  for await (const chunk of decompressStream(
    Readable.from(joined(head, chunks), { objectMode: false }),
    detectCompression(head),
  )) {
    unpacked += chunk.length;
    checkSize('archive', unpacked, LAYER_LIMITS);
    yield chunk;
  }
}

async function* joined(
  head: Buffer,
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array, void> {
  try {
    for (let chunk: Uint8Array | undefined = head; chunk !== undefined;) {
      yield chunk;
      const next = await rest.next();
      chunk = next.done === true ? undefined : next.value;
    }
  } finally {
    await rest.return?.();
  }
}

async function* throughZlib(source: Readable, unzip: Transform): AsyncGenerator<Buffer, void> {
  let sourceError: unknown;
  source.once('error', (error) => (sourceError = error));
  // The consumer sees the error through `unzip`, which a failing pipeline destroys.
  pipeline(source, unzip, () => {});
  try {
    yield* unzip as AsyncIterable<Buffer>;
  } catch (error) {
    if (sourceError !== undefined || errnoOf(error)?.startsWith('Z_') !== true)
      throw sourceError ?? error;
    throw new MbuildError(
      'ARCHIVE_INVALID',
      `the gzip data is damaged or truncated: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

/** zstd in node:zlib, which Node has from 22.15 on. */
function nodeZstd(): (() => Transform & { readonly bytesWritten: number }) | undefined {
  return (
    zlib as unknown as {
      createZstdDecompress?: () => Transform & { readonly bytesWritten: number };
    }
  ).createZstdDecompress;
}

/**
 * Node's decompressor stops at the end of the first frame that ends inside a chunk, and takes a cut
 * one for whole. So each frame gets a decompressor of its own, and the program is preferred where
 * it is installed.
 */
async function* throughNodeZstd(source: Readable): AsyncGenerator<Buffer, void> {
  const input = (source as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let rest: Buffer | undefined;
  for (let more = true; more;) {
    const decompressor = nodeZstd()?.();
    if (decompressor === undefined) return;
    const feed = async (): Promise<boolean> => {
      for (let written = 0; ;) {
        const chunk: Buffer | undefined = rest ?? (await input.next()).value;
        rest = undefined;
        if (chunk === undefined) {
          decompressor.end();
          return false;
        }
        await new Promise<void>((resolve, reject) =>
          decompressor.write(chunk, (error) => (error == null ? resolve() : reject(error))),
        );
        written += chunk.length;
        const left = written - decompressor.bytesWritten;
        if (left === 0) continue;
        rest = chunk.subarray(chunk.length - left);
        return true;
      }
    };
    const feeding = feed();
    // Reported below, when the output has ended.
    feeding.catch((error: Error) => decompressor.destroy(error));
    try {
      yield* decompressor as AsyncIterable<Buffer>;
      more = await feeding;
    } catch (error) {
      if (errnoOf(error)?.startsWith('ZSTD_') !== true) throw error;
      throw new MbuildError(
        'ARCHIVE_INVALID',
        `the zstd data is damaged: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}

/** True when a program of that name is found in PATH. */
function isInstalled(name: string): boolean {
  return (process.env['PATH'] ?? '')
    .split(':')
    .some((dir) => dir !== '' && existsSync(`${dir}/${name}`));
}

function unpackedBy(source: Readable, program: Program): AsyncIterable<Buffer> {
  return throughProgram(source, program.name, program.args, (failure) =>
    failure.kind === 'missing'
      ? missing(program, failure.cause)
      : new MbuildError(
          'ARCHIVE_INVALID',
          `the ${program.name} data is damaged or truncated: ${failure.complaint}`,
        ),
  );
}

function missing(program: Program, cause: unknown): MbuildError {
  return new MbuildError(
    'UNSUPPORTED',
    `this archive needs the program ${program.name}, which could not be started`,
    {
      cause,
      hint: `install it: apt-get install ${program.debianPackage}`,
    },
  );
}
