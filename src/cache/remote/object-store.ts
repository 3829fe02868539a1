import type { Digest } from '../../oci/digest';
import { MbuildError, isMbuildError } from '../../diagnostics/error';
import type { FolderNames } from './folder-place';
import type { ObjectNames } from './sources';

/** The names of a cache's objects. Blobs have the names that BuildKit gives them. */
export function folderNames(
  title: string,
  { names, prefix, manifestsPrefix, blobsPrefix }: ObjectNames,
): FolderNames {
  const [first = 'mbuild', ...more] = names.map(
    (name) => `${prefix}${manifestsPrefix}${name}.mbuild.json`,
  );
  return {
    title,
    manifests: [first, ...more],
    blob: (digest: Digest) => `${prefix}${blobsPrefix}${digest}`,
  };
}

/** Bytes that are sent with one request; larger files go in parts of this size. */
export const PART_SIZE = 16 << 20;

/** Parts of a file that are sent with one request each, so that each can be sent again. */
export async function* partsOf(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<Buffer> {
  let part: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + size - length);
      // A chunk may change once the next one is asked for.
      part.push(Buffer.from(piece));
      length += piece.length;
      at += piece.length;
      if (length < size) continue;
      yield Buffer.concat(part);
      [part, length] = [[], 0];
    }
  }
  if (length > 0) yield Buffer.concat(part);
}

/** What is said of an error of a service, and how it is met. */
export interface Trouble {
  readonly text: string;
  readonly hint?: string | undefined;
}

/**
 * The error of a service as one of ours, on one line.
 * @param known what is said of errors of which that is known.
 */
export function serviceError(
  service: string,
  error: unknown,
  signal: AbortSignal,
  known: (error: Error) => Trouble | undefined,
): MbuildError {
  if (isMbuildError(error)) return error;
  if (signal.aborted) return new MbuildError('CANCELED', 'stopped', { cause: signal.reason });
  const cause = error instanceof Error ? error : new Error(String(error));
  const trouble = known(cause) ?? {
    text: (cause.message.trim() || cause.name).split('\n')[0] ?? cause.name,
  };
  return new MbuildError('CACHE_SERVER_FAILED', `${service}: ${trouble.text}`, {
    cause: error,
    hint: trouble.hint,
  });
}

/** What networks do; the services' clients have tried again by then. */
export function networkTrouble(error: Error): Trouble | undefined {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return { text: `it can't be reached (${code})`, hint: 'is its address right?' };
  if (code === 'ECONNRESET' || code === 'EPIPE') return { text: `the connection breaks (${code})` };
  if (error.name === 'TimeoutError' || code === 'ETIMEDOUT') return { text: 'it does not answer' };
  return undefined;
}
