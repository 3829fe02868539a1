import { createHash } from 'node:crypto';
import { MbuildError } from '../../diagnostics/error';
import { tarLargeTree, tarTree } from '../../layer/diff';
import { toDigest, type Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { layerCompression } from '../../oci/media-types';
import type { LayerRecord } from './layer-index';
import type { ImageServices } from './services';

type Services = Pick<ImageServices, 'content' | 'snapshots' | 'threads' | 'xattrs'>;

/** A tar that is read before workers have started. */
const SMALL_TAR = 1024 * 1024;

/**
 * The tar of a layer, byte for byte as its DiffID says: out of a stored blob, for another builder's
 * tar cannot be written anew; without one, from the layer's directory. A chunk is valid until the
 * next is asked for.
 * @throws MbuildError STORE_CORRUPT, at the end, when it is not that tar any more.
 */
export async function* openLayerTar(
  record: LayerRecord,
  services: Services,
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of tarBytes(record, services)) {
    hash.update(chunk);
    yield chunk;
  }
  if ((toDigest(hash) as string) !== record.diffId) {
    throw new MbuildError('STORE_CORRUPT', `the layer ${record.diffId} was damaged in the store`, {
      hint: 'remove the images that hold it, then build or pull them again',
    });
  }
}

async function* tarBytes(record: LayerRecord, services: Services): AsyncIterable<Buffer> {
  const { content, snapshots, threads, xattrs } = services;
  const plain = record.diffId as string as Digest;
  if (content.size(plain) !== undefined) return yield* content.open(plain) as AsyncIterable<Buffer>;
  const blob = storedBlob(record, services);
  const compression = blob === undefined ? undefined : layerCompression(blob.mediaType);
  if (blob !== undefined && compression !== undefined) {
    const { decompressStream } = await import('../../layer/decompress');
    return yield* decompressStream(content.open(blob.digest), compression);
  }
  const dir = snapshots.layerDir(record.id);
  const options = { xattrs, clampMtime: record.clampMtime };
  return yield* record.size > SMALL_TAR
    ? tarLargeTree(dir, options, threads)
    : tarTree(dir, options);
}

/**
 * The blob that a layer can leave as without being compressed again: one of its stored ones, in
 * order of preference, or `undefined`.
 */
export function storedBlob(
  record: LayerRecord,
  services: Pick<Services, 'content'>,
  preferred: readonly Digest[] = [],
): Descriptor | undefined {
  const stored = record.blobs.filter((blob) => services.content.size(blob.digest) === blob.size);
  return stored.find((blob) => preferred.includes(blob.digest)) ?? stored[0];
}

/**
 * The bytes of a layer's blob: as stored, or regenerated when it is the uncompressed tar.
 * @throws MbuildError STORE_CORRUPT when it is neither, and at its end when it has changed on disk;
 * it is then deleted.
 */
export function openLayerBlob(
  record: LayerRecord,
  blob: Descriptor,
  services: Services,
): AsyncIterable<Buffer> {
  if (services.content.size(blob.digest) !== undefined)
    return services.content.openVerified(blob.digest);
  if ((blob.digest as string) === record.diffId && layerCompression(blob.mediaType) === 'none')
    return owned(openLayerTar(record, services));
  throw new MbuildError('STORE_CORRUPT', `the blob ${blob.digest} is not in the store`, {
    hint: 'pull the image again',
  });
}

/** The same bytes in chunks that stay as they are. */
async function* owned(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of source) yield Buffer.from(chunk);
}
