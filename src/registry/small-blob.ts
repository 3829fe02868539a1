import { MbuildError } from '../diagnostics/error';
import { digestOf } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import type { ImageSource, Repository } from './registry';

/**
 * A blob in memory, verified. @param what says in messages what it is, e.g. `the config of NAME`.
 * @throws MbuildError LIMIT_EXCEEDED beyond `limit` bytes, SIZE_MISMATCH, DIGEST_MISMATCH, and as {@link ImageSource.blob} does.
 */
export async function readSmallBlob(
  source: Pick<ImageSource, 'blob'>,
  repository: Repository,
  blob: Descriptor,
  limit: number,
  what: string,
  signal: AbortSignal,
): Promise<Buffer> {
  if (blob.size > limit)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `${what} has ${blob.size} bytes; ${limit} are the most`,
    );
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (await source.blob(repository, blob, 0, signal)).bytes) {
    size += chunk.length;
    if (size > blob.size) break;
    chunks.push(chunk);
  }
  if (size !== blob.size)
    throw new MbuildError(
      'SIZE_MISMATCH',
      `${what} is ${size > blob.size ? 'longer' : 'shorter'} than the ${blob.size} bytes that were announced`,
    );
  const bytes = Buffer.concat(chunks);
  if (digestOf(bytes) !== blob.digest)
    throw new MbuildError(
      'DIGEST_MISMATCH',
      `${what} is not what its digest says: expected ${blob.digest}, but ${digestOf(bytes)} came`,
    );
  return bytes;
}
