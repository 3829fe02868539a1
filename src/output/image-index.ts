import { annotationsAt, type AnnotationLevel, type AnnotationMap } from '../oci/annotations';
import { digestOf } from '../oci/digest';
import type { Descriptor, Index } from '../oci/image';
import { MediaType } from '../oci/media-types';
import { formatPlatform } from '../oci/platform';
import type { OutgoingBlob, OutgoingImage } from './outgoing-image';

/** Images of one thing for several platforms: an index lists them, and has their names. */
export interface OutgoingIndex {
  readonly names: readonly string[];
  readonly index: OutgoingBlob;
  readonly images: readonly OutgoingImage[];
}

/**
 * The indexes of images that belong together, in order of their first image. OCI image-spec,
 * image-index.md.
 */
export function indexesOf(images: readonly OutgoingImage[]): OutgoingIndex[] {
  const groups = new Map<number, OutgoingImage[]>();
  for (const image of images)
    if (image.group !== undefined)
      groups.set(image.group, [...(groups.get(image.group) ?? []), image]);
  return [...groups.values()].map((members) => ({
    names: [...new Set(members.flatMap(({ names }) => names))],
    index: indexBlob(members),
    images: members,
  }));
}

function indexBlob(images: readonly OutgoingImage[]): OutgoingBlob {
  return indexOfManifests(
    [
      ...images.map((image): Descriptor => ({
        ...image.manifest.descriptor,
        platform: image.platform,
        ...annotated(image, 'manifest-descriptor'),
      })),
      ...images.flatMap(({ attestation }) => attestation?.manifest.descriptor ?? []),
    ],
    Object.assign(
      {},
      ...images.map((image) => annotated(image, 'index').annotations ?? {}),
    ) as AnnotationMap,
  );
}

/** The annotations of a level that an image has, as a member of a descriptor. */
export function annotated(
  { annotations, platform }: OutgoingImage,
  level: AnnotationLevel,
): { readonly annotations?: AnnotationMap } {
  const found = annotationsAt(level, annotations, formatPlatform(platform));
  return found === undefined ? {} : { annotations: found };
}

/**
 * The index of manifests, each with its platform: Docker's manifest list when all are Docker's and
 * nothing is annotated, else OCI's.
 */
export function indexOfManifests(
  manifests: readonly Descriptor[],
  annotations: Readonly<Record<string, string>> = {},
): OutgoingBlob {
  const isAnnotated = Object.keys(annotations).length > 0;
  const isDocker =
    !isAnnotated &&
    manifests.every(
      (manifest) =>
        manifest.mediaType === MediaType.dockerManifest && manifest.annotations === undefined,
    );
  const mediaType = isDocker ? MediaType.dockerIndex : MediaType.ociIndex;
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      manifests,
      ...(isAnnotated ? { annotations } : {}),
    } satisfies Index),
  );
  return {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    open: async function* open() {
      yield bytes;
    },
  };
}
