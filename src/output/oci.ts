import { createWriteStream, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { removeFile } from '../linux/remove-tree';
import { hexOf, type Digest } from '../oci/digest';
import type { Descriptor, Index } from '../oci/image';
import { MediaType } from '../oci/media-types';
import { parseIndex } from '../oci/read-image';
import { parseReference } from '../oci/reference';
import type { BuildScope } from '../progress/events';
import { archiveOf, textFile, type ArchiveFile } from './archive-writer';
import { outputError, writeTo, type Destination } from './destination';
import type { CompressionSpec, Exporter, ExportServices } from './exporter';
import { annotated, indexesOf } from './image-index';
import {
  prepareImages,
  type LayerPolicy,
  type OutgoingBlob,
  type OutgoingImage,
} from './outgoing-image';
import { leased } from './leased';

/**
 * `--output type=oci`: an image layout (OCI image-spec, image-layout.md) as a folder or as one tar.
 */
export interface OciOutput {
  /** The folder, or the archive. */
  readonly destination: { readonly folder: string } | Destination;
  /** Layers without a stored blob become gzip when this is absent, as BuildKit makes them. */
  readonly compression?: CompressionSpec | undefined;
  readonly mediaTypes?: LayerPolicy['mediaTypes'];
  readonly annotations?: LayerPolicy['annotations'];
  readonly attestationArtifact?: LayerPolicy['attestationArtifact'];
}

export const OCI_LAYOUT = '{"imageLayoutVersion":"1.0.0"}';

/**
 * Writes OCI image layouts. A folder that is a layout already keeps its other images; an archive is
 * made anew.
 */
export function ociExporter(output: OciOutput, services: ExportServices): Exporter {
  const exporter: Exporter = {
    async export(images, vertex, scope) {
      const prepared = await prepareImages(
        images,
        { ...output, otherwise: 'gzip' },
        { services, vertex, scope },
      );
      if ('folder' in output.destination)
        await writeFolder(output.destination.folder, prepared, scope);
      else await writeTo(output.destination, archiveOf(layoutFiles(prepared)), scope.signal);
      return {
        descriptors: prepared.map((image) => image.manifest.descriptor),
        indexes: indexesOf(prepared).map(({ index }) => index.descriptor),
      };
    },
  };
  return leased(exporter, services);
}

/** All files of a layout with the given images, each blob once. */
export function* layoutFiles(images: readonly OutgoingImage[]): Generator<ArchiveFile> {
  yield { name: 'blobs', size: 0 };
  yield { name: 'blobs/sha256', size: 0 };
  for (const blob of blobsOf(images))
    yield {
      name: blobPath(blob.descriptor.digest),
      size: blob.descriptor.size,
      open: () => blob.open(),
    };
  yield textFile('index.json', JSON.stringify(indexOf(images)));
  yield textFile('oci-layout', OCI_LAYOUT);
}

/**
 * The index of a layout: an entry per name, so that each name can be asked for; images for several
 * platforms have one together.
 */
export function indexOf(images: readonly OutgoingImage[]): Index {
  const single = images
    .filter(({ group }) => group === undefined)
    .map((image) => ({
      names: image.names,
      entry: {
        ...image.manifest.descriptor,
        platform: image.platform,
        ...annotated(image, 'manifest-descriptor'),
      },
    }));
  const grouped = indexesOf(images).map(({ index, names, images: [first] }) => ({
    names,
    entry: {
      ...index.descriptor,
      ...(first === undefined ? {} : annotated(first, 'index-descriptor')),
    },
  }));
  const manifests = [...single, ...grouped].flatMap(({ names, entry }): Descriptor[] => {
    return names.length === 0
      ? [entry]
      : names.map((name) => {
          const tag = parseReference(name)?.tag;
          return {
            ...entry,
            annotations: {
              ...entry.annotations,
              'io.containerd.image.name': name,
              ...(tag === undefined ? {} : { 'org.opencontainers.image.ref.name': tag }),
            },
          };
        });
  });
  return { schemaVersion: 2, mediaType: MediaType.ociIndex, manifests };
}

/** Where a blob lies in a layout. */
export function blobPath(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function blobsOf(images: readonly OutgoingImage[]): OutgoingBlob[] {
  const all = [
    ...images.flatMap((image) => [...image.layers, image.config, image.manifest]),
    ...images.flatMap(({ attestation }) =>
      attestation === undefined
        ? []
        : [...attestation.layers, attestation.config, attestation.manifest],
    ),
    ...indexesOf(images).map(({ index }) => index),
  ];
  return [...new Map(all.map((blob) => [blob.descriptor.digest, blob])).values()];
}

async function writeFolder(
  folder: string,
  images: readonly OutgoingImage[],
  scope: BuildScope,
): Promise<void> {
  try {
    mkdirSync(path.join(folder, 'blobs', 'sha256'), { recursive: true });
    for (const blob of blobsOf(images)) {
      const file = path.join(folder, blobPath(blob.descriptor.digest));
      if (statSync(file, { throwIfNoEntry: false })?.size !== blob.descriptor.size)
        await writeFile(file, blob.open(), scope);
    }
    await writeFile(
      path.join(folder, 'oci-layout'),
      textFile('', OCI_LAYOUT).open?.() ?? [],
      scope,
    );
    const index = merge(readIndex(path.join(folder, 'index.json')), indexOf(images));
    await writeFile(
      path.join(folder, 'index.json'),
      textFile('', JSON.stringify(index)).open?.() ?? [],
      scope,
    );
  } catch (error) {
    throw outputError(error, folder, scope.signal);
  }
}

/** The old entries whose names the new ones do not take. */
function merge(old: Index | undefined, added: Index): Index {
  const keyOf = (entry: Descriptor): string =>
    entry.annotations?.['io.containerd.image.name'] ??
    entry.annotations?.['org.opencontainers.image.ref.name'] ??
    entry.digest;
  const tagOf = (entry: Descriptor): string | undefined =>
    entry.annotations?.['org.opencontainers.image.ref.name'];
  const taken = new Set(added.manifests.map(keyOf));
  const takenTags = new Set(added.manifests.map(tagOf));
  const kept = (old?.manifests ?? []).filter(
    (entry) =>
      !taken.has(keyOf(entry)) && (tagOf(entry) === undefined || !takenTags.has(tagOf(entry))),
  );
  return { ...added, manifests: [...kept, ...added.manifests] };
}

function readIndex(file: string): Index | undefined {
  try {
    return parseIndex(readFileSync(file), file);
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw new MbuildError('USAGE', `${file} is not the index of an image layout`, {
      cause,
      hint: 'give another directory',
    });
  }
}

async function writeFile(
  file: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  scope: BuildScope,
): Promise<void> {
  const temp = `${file}.${randomBytes(6).toString('hex')}.partial`;
  try {
    await pipeline(
      Readable.from(bytes, { objectMode: false }),
      createWriteStream(temp, { flags: 'wx' }),
      { signal: scope.signal },
    );
    renameSync(temp, file);
  } catch (error) {
    removeFile(temp);
    throw error;
  }
}
