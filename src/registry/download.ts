import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContentStore } from '../content/store';
import { storeError } from '../content/files';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import { removeFile } from '../linux/remove-tree';
import type { Descriptor } from '../oci/image';
import {
  PATIENCE,
  type BlobBody,
  type ImageSource,
  type Patience,
  type Repository,
} from './registry';
import { isTransient } from './network-error';

/** One place that has blobs. */
export interface BlobOrigin {
  /** How messages name it. */
  readonly title: string;
  /**
   * The bytes of a blob from `start` on, not verified.
   * @throws MbuildError as {@link ImageSource.blob}.
   */
  blob(blob: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody>;
}

/** A repository of a registry as the place of blobs. */
export function blobsIn(repository: Repository, registry: Pick<ImageSource, 'blob'>): BlobOrigin {
  return {
    title: repository.registry,
    blob: (blob, start, signal) => registry.blob(repository, blob, start, signal),
  };
}

/** Where a download goes, and who is told of it. */
export interface Download {
  readonly content: ContentStore;
  readonly signal: AbortSignal;
  /** Called with the bytes that are there. */
  readonly progress?: ((bytes: number, retrying?: boolean) => void) | undefined;
  readonly patience?: Patience | undefined;
}

/**
 * Brings a blob into the store, where a part of it may lie already: a break in the middle is
 * resumed, not restarted, by this process and by a later one. A part that an earlier process left
 * damaged is fetched anew. A blob that is there is left alone.
 * @throws MbuildError DIGEST_MISMATCH, SIZE_MISMATCH, NO_SPACE, CANCELED, and what
 * {@link BlobOrigin.blob} throws.
 */
export async function downloadBlob(
  blob: Descriptor,
  origin: BlobOrigin,
  download: Download,
): Promise<void> {
  const { content } = download;
  const stored = content.size(blob.digest);
  if (stored === blob.size) return;
  if (stored !== undefined) await replaceable(blob, stored, content);
  const wasBegun = content.partial(blob.digest).size > 0;
  try {
    await fetchWhole(blob, origin, download);
  } catch (error) {
    const isDamaged =
      isMbuildError(error, 'DIGEST_MISMATCH') || isMbuildError(error, 'SIZE_MISMATCH');
    if (!wasBegun || !isDamaged) throw error;
    removeFile(content.partial(blob.digest).path);
    await fetchWhole(blob, origin, download);
  }
}

async function fetchWhole(
  blob: Descriptor,
  origin: BlobOrigin,
  { content, signal, progress = () => undefined, patience = PATIENCE }: Download,
): Promise<void> {
  for (let breaks = 0; ;) {
    const before = content.partial(blob.digest);
    if (before.size >= blob.size) break;
    const failure = await appendFrom(origin, blob, before, { signal, progress }).catch(
      (error: unknown) => {
        if (isTransient(error)) return error;
        throw error;
      },
    );
    const after = content.partial(blob.digest).size;
    if (after >= blob.size) break;
    // A body that ended in good order and too early has nothing more to come.
    breaks = after > before.size ? 1 : breaks + 1;
    if (breaks >= patience.attempts) {
      if (failure === undefined) break;
      throw new MbuildError(
        'REGISTRY_UNREACHABLE',
        `the connection to ${origin.title} keeps breaking at byte ${after} of ${blob.digest}`,
        {
          cause: failure,
          hint: 'try again: the download continues from there',
        },
      );
    }
    progress(after, true);
    await sleep(patience.pauseMs * 2 ** (breaks - 1), undefined, { signal }).catch(
      (cause: unknown) => {
        throw new MbuildError('CANCELED', 'the download was stopped', { cause });
      },
    );
  }
  await content.adopt({ digest: blob.digest, size: blob.size });
}

/**
 * Sets a stored blob aside whose size is not the announced one: a machine that lost its power can
 * leave a file shorter than it was.
 * @throws MbuildError SIZE_MISMATCH when the blob is sound, and what announces it is wrong.
 */
async function replaceable(blob: Descriptor, stored: number, content: ContentStore): Promise<void> {
  if (await content.isIntact(blob.digest))
    throw new MbuildError(
      'SIZE_MISMATCH',
      `${blob.digest} has ${stored} bytes, but the manifest says ${blob.size}`,
      { hint: 'the manifest is wrong: the owner of the image must push it again' },
    );
  content.setAside(blob.digest);
}

/** Appends what comes to the partial file; more bytes than the blob has are an error. */
async function appendFrom(
  origin: BlobOrigin,
  blob: Descriptor,
  partial: { readonly path: string; readonly size: number },
  { signal, progress }: { signal: AbortSignal; progress: (bytes: number) => void },
): Promise<undefined> {
  const body = await origin.blob(blob, partial.size, signal);
  const file = await open(partial.path, body.start === 0 ? 'w' : 'a', 0o600).catch(
    (error: unknown) => {
      throw storeError(error, partial.path);
    },
  );
  let size = body.start;
  let isOther = false;
  try {
    for await (const chunk of body.bytes) {
      size += chunk.length;
      isOther = size > blob.size;
      if (isOther)
        throw new MbuildError(
          'SIZE_MISMATCH',
          `${origin.title} sends more than the ${blob.size} bytes of ${blob.digest}`,
        );
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
      progress(size);
    }
  } catch (error) {
    throw storeError(error, partial.path);
  } finally {
    await file.close();
    if (isOther) removeFile(partial.path);
  }
  return undefined;
}
