import { MbuildError } from '../diagnostics/error';
import { Lease } from '../images/store/lease';
import type { Exporter, ExportServices, Outgoing } from './exporter';

/**
 * An exporter that keeps what it sends from being collected, whoever removes the image meanwhile.
 * `export` throws MbuildError IMAGE_NOT_FOUND for an image that was removed before it began.
 */
export function leased(exporter: Exporter, services: ExportServices): Exporter {
  return {
    async export(images, vertex, scope) {
      const lease = new Lease(services.root);
      try {
        for (const outgoing of images) hold(outgoing, lease, services);
        return await exporter.export(images, vertex, scope);
      } finally {
        lease.release();
      }
    },
  };
}

function hold({ image }: Outgoing, lease: Lease, { content }: ExportServices): void {
  const own = [image.id, image.descriptor.digest];
  lease.hold({
    layers: image.stack,
    blobs: [...own, ...image.manifest.layers.map(({ digest }) => digest)],
  });
  if (own.some((digest) => content.size(digest) === undefined))
    throw new MbuildError('IMAGE_NOT_FOUND', `the image ${image.id} was removed meanwhile`, {
      hint: 'build or pull it again',
    });
}
