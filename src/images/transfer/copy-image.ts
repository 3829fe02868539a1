import { layerRecords, tarBlob } from '../store/assemble';
import type { Image } from '../store/image-store';
import { openLayerBlob, storedBlob } from '../store/layer-blobs';
import { Lease } from '../store/lease';
import type { ImageServices } from '../store/services';
import { withLease, type Transfer, type TransferSetting } from './transfer';
import { unpackLayers } from './unpack';

/**
 * Brings an image of one store into the store of the transfer, under the same names. Layers that
 * are there already are not copied.
 * @throws MbuildError STORE_CORRUPT when the first store lacks a part of it, NO_SPACE, CANCELED.
 */
export async function copyImage(
  image: Image,
  from: ImageServices,
  setting: TransferSetting,
): Promise<Image> {
  const reading = new Lease(from.root);
  try {
    reading.hold({
      layers: image.stack,
      blobs: [
        image.id,
        image.descriptor.digest,
        ...image.manifest.layers.map((blob) => blob.digest),
      ],
    });
    return await withLease(setting, (transfer) => copyHeld(image, from, transfer));
  } finally {
    reading.release();
  }
}

async function copyHeld(image: Image, from: ImageServices, transfer: Transfer): Promise<Image> {
  const { services: to, lease } = transfer;
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
  lease.hold({
    blobs: [image.id, image.descriptor.digest, ...layers.map(({ blob }) => blob.digest)],
  });
  const stack = await unpackLayers(layers, transfer);
  for (const digest of [image.id, image.descriptor.digest])
    to.content.write(from.content.read(digest));
  const { config, manifest, descriptor } = image;
  return to.images.put({ config, manifest, descriptor, stack }, image.names);
}
