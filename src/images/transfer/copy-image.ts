import type { BuildScope, VertexId } from '../../progress/events';
import { layerRecords, tarBlob } from '../store/assemble';
import type { Image } from '../store/image-store';
import { openLayerBlob, storedBlob } from '../store/layer-blobs';
import { Lease } from '../store/lease';
import type { ImageServices } from '../store/services';
import { unpackLayers } from './unpack';

/**
 * Brings an image of one store into another one, under the same names. Layers that are there already are not copied.
 * @throws MbuildError STORE_CORRUPT when the first store lacks a part of it, NO_SPACE, CANCELED.
 */
export async function copyImage(
  image: Image,
  from: ImageServices,
  to: ImageServices,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Image> {
  const reading = new Lease(from.root);
  const writing = new Lease(to.root);
  try {
    reading.hold({
      layers: image.stack,
      blobs: [
        image.id,
        image.descriptor.digest,
        ...image.manifest.layers.map((blob) => blob.digest),
      ],
    });
    const layers = layerRecords(image.config, from).map((record) => {
      const blob = storedBlob(record, from) ?? tarBlob(record);
      return {
        diffId: record.diffId,
        blob,
        fetch: async () => {
          await to.content.ingest(openLayerBlob(record, blob, from), blob);
        },
      };
    });
    writing.hold({
      blobs: [image.id, image.descriptor.digest, ...layers.map(({ blob }) => blob.digest)],
    });
    const stack = await unpackLayers(layers, to, writing, vertex, scope);
    for (const digest of [image.id, image.descriptor.digest])
      to.content.write(from.content.read(digest));
    return to.images.put(
      { config: image.config, manifest: image.manifest, descriptor: image.descriptor, stack },
      image.names,
    );
  } finally {
    writing.release();
    reading.release();
  }
}
