import { randomBytes } from 'node:crypto';
import { createWriteStream, renameSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { removeFile } from '../linux/remove-tree';

/** Where bytes go: a file, or a stream that is left open at the end (standard output). */
export type Destination = { readonly path: string } | { readonly stream: NodeJS.WritableStream };

/**
 * Writes bytes to a place. A file appears whole or not at all; devices and pipes are written as
 * they are.
 * @throws MbuildError NO_SPACE, USAGE, CANCELED.
 */
export async function writeTo(
  destination: Destination,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const label = 'path' in destination ? destination.path : 'standard output';
  try {
    if ('stream' in destination)
      await pipeline(Readable.from(bytes, { objectMode: false }), destination.stream, {
        end: false,
        signal,
      });
    else await writeFile(destination.path, bytes, signal);
  } catch (error) {
    throw outputError(error, label, signal);
  }
}

/** A system error about the place as an MbuildError. */
export function outputError(error: unknown, label: string, signal: AbortSignal): unknown {
  if (signal.aborted)
    return new MbuildError('CANCELED', `writing ${label} was stopped`, { cause: error });
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new MbuildError('NO_SPACE', `no space left to write ${label}`, { cause: error });
    case 'EPIPE':
      return new MbuildError('IO_FAILED', `the program that reads ${label} has ended`, {
        cause: error,
      });
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
    case 'EACCES':
    case 'EROFS':
    case 'EPERM':
    case 'EEXIST':
    case 'ELOOP':
    case 'ENAMETOOLONG':
      return new MbuildError('USAGE', `cannot write ${label}: ${(error as Error).message}`, {
        cause: error,
        hint: 'give a path where a file or directory can be created',
      });
    default:
      return error;
  }
}

async function writeFile(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory())
    throw new MbuildError('USAGE', `${path} is a directory`, {
      hint: 'give a file, as in dest=image.tar',
    });
  if (there !== undefined && !there.isFile()) {
    await pipeline(Readable.from(bytes, { objectMode: false }), createWriteStream(path), {
      signal,
    });
    return;
  }
  const temp = `${path}.${randomBytes(6).toString('hex')}.partial`;
  try {
    await writeNew(temp, bytes, signal);
    renameSync(temp, path);
  } catch (error) {
    removeFile(temp);
    throw error;
  }
}

/** Without a stream in between: that takes longer than the writing. */
async function writeNew(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, 'wx');
  try {
    for await (const chunk of bytes) {
      signal.throwIfAborted();
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
    }
  } finally {
    await file.close();
  }
}
