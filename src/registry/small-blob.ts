import { setTimeout as sleep } from 'node:timers/promises';
import { MbuildError } from '../diagnostics/error';
import { digestOf } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import type { BlobOrigin } from './download';
import { PATIENCE, type Patience } from './registry';
import { isTransient } from './network-error';

/** How a small blob is read. */
export interface SmallBlob {
  /** Bytes; a longer blob is refused. */
  readonly limit: number;
  /** What messages call it, e.g. `the config of NAME`. */
  readonly what: string;
  readonly signal: AbortSignal;
  readonly patience?: Patience | undefined;
}

/**
 * A blob in memory, verified; fetched again from its beginning when the connection breaks.
 * @throws MbuildError LIMIT_EXCEEDED, SIZE_MISMATCH, DIGEST_MISMATCH, CANCELED, and as
 * {@link BlobOrigin.blob} does.
 */
export async function readSmallBlob(
  blob: Descriptor,
  origin: BlobOrigin,
  { limit, what, signal, patience = PATIENCE }: SmallBlob,
): Promise<Buffer> {
  if (blob.size > limit)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `${what} has ${blob.size} bytes, but at most ${limit} are allowed`,
    );
  for (let attempt = 1; ; attempt++) {
    try {
      return verified(await collect(blob, origin, signal), blob, what);
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (attempt >= patience.attempts)
        throw new MbuildError(
          'REGISTRY_UNREACHABLE',
          `the connection to ${origin.title} keeps breaking while ${what} is fetched`,
          { cause: error },
        );
    }
    await sleep(patience.pauseMs * 2 ** (attempt - 1), undefined, { signal }).catch(
      (cause: unknown) => {
        throw new MbuildError('CANCELED', 'the download was stopped', { cause });
      },
    );
  }
}

/** No more than one piece beyond the announced size. */
async function collect(blob: Descriptor, origin: BlobOrigin, signal: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (await origin.blob(blob, 0, signal)).bytes) {
    size += chunk.length;
    chunks.push(chunk);
    if (size > blob.size) break;
  }
  return Buffer.concat(chunks);
}

function verified(bytes: Buffer, blob: Descriptor, what: string): Buffer {
  if (bytes.length !== blob.size)
    throw new MbuildError(
      'SIZE_MISMATCH',
      `${what} is ${bytes.length > blob.size ? 'longer' : 'shorter'} than the ${blob.size} bytes that were announced`,
    );
  if (digestOf(bytes) !== blob.digest)
    throw new MbuildError(
      'DIGEST_MISMATCH',
      `${what} does not match its digest: expected ${blob.digest}, received ${digestOf(bytes)}`,
    );
  return bytes;
}
