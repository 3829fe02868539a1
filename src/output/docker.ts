import { MbuildError } from '../diagnostics/error';
import { hexOf } from '../oci/digest';
import { familiarName, familiarRepository, parseReference } from '../oci/reference';
import { archiveOf, textFile, type ArchiveFile } from './archive-writer';
import { writeTo, type Destination } from './destination';
import type { CompressionSpec, Exporter, ExportServices } from './exporter';
import { blobPath, layoutFiles } from './oci';
import { prepareImages, type LayerPolicy, type OutgoingImage } from './outgoing-image';
import { leased } from './leased';

/** `--output type=docker` and `save`: what `docker save` writes and `docker load` reads. */
export interface DockerOutput {
  readonly destination: Destination;
  /** Layers without a stored blob stay plain tars when this is absent, as docker has them. */
  readonly compression?: CompressionSpec | undefined;
  readonly mediaTypes?: LayerPolicy['mediaTypes'];
  readonly annotations?: LayerPolicy['annotations'];
}

/**
 * Writes docker archives as docker from 25 on does: `manifest.json` and `repositories` over an OCI
 * layout, so that every reader of either finds what it knows. Layers that images share are in it
 * once.
 */
export function dockerExporter(output: DockerOutput, services: ExportServices): Exporter {
  const exporter: Exporter = {
    async export(images, vertex, scope) {
      const { compression, mediaTypes, annotations } = output;
      const prepared = await prepareImages(
        images,
        { otherwise: 'none', compression, mediaTypes, annotations },
        { services, vertex, scope },
      );
      await writeTo(output.destination, archiveOf(dockerFiles(prepared)), scope.signal);
      return { descriptors: prepared.map((image) => image.manifest.descriptor) };
    },
  };
  return leased(exporter, services);
}

/** All files of such an archive. */
export function* dockerFiles(images: readonly OutgoingImage[]): Generator<ArchiveFile> {
  if (images.some(({ group }) => group !== undefined)) {
    throw new MbuildError('USAGE', 'a docker archive cannot hold an image for several platforms', {
      hint: 'use --output type=oci or --push, or one --platform',
    });
  }
  yield* layoutFiles(images);
  yield textFile(
    'manifest.json',
    JSON.stringify(
      images.map((image) => ({
        Config: blobPath(image.config.descriptor.digest),
        RepoTags: tagged(image).length === 0 ? null : tagged(image).map(familiarName),
        Layers: image.layers.map((layer) => blobPath(layer.descriptor.digest)),
      })),
    ),
  );
  const repositories: Record<string, Record<string, string>> = {};
  for (const image of images) {
    const top = image.layers.at(-1);
    for (const ref of tagged(image)) {
      if (top !== undefined && ref.tag !== undefined)
        repositories[familiarRepository(ref)] = {
          ...repositories[familiarRepository(ref)],
          [ref.tag]: hexOf(top.descriptor.digest),
        };
    }
  }
  if (Object.keys(repositories).length > 0)
    yield textFile('repositories', JSON.stringify(repositories));
}

function tagged(image: OutgoingImage): NonNullable<ReturnType<typeof parseReference>>[] {
  return image.names
    .flatMap((name) => parseReference(name) ?? [])
    .filter((ref) => ref.tag !== undefined);
}
