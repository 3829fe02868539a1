import { MbuildError } from '../diagnostics/error';
import type { DiffID, Digest } from '../oci/digest';
import { parseReference, type Reference } from '../oci/reference';
import type { MountSources } from '../images/transfer/mount-sources';
import {
  limiter,
  together,
  transferReporter,
  PARALLEL_TRANSFERS,
} from '../images/transfer/transfer';
import type { BuildScope, VertexId } from '../progress/events';
import type {
  BlobSource,
  EarlyUpload,
  ImageTarget,
  RawManifest,
  Repository,
} from '../registry/registry';
import type { CompressionSpec, Exporter, ExportServices, Outgoing } from './exporter';
import { indexesOf } from './image-index';
import { prepareImages, type OutgoingBlob, type OutgoingImage } from './outgoing-image';

/** `push`, `--push` and `--output type=registry`: images go to the registries that their names say. */
export interface PushOutput {
  readonly compression?: CompressionSpec | undefined;
  /** Repositories of a registry that are known to have a blob: it is mounted from there. */
  readonly mountFrom?: MountSources | undefined;
}

/**
 * Pushes each image under each of its names: blobs first, several at once and none that the registry has, then the manifest;
 * images for several platforms get an index under the name.
 * @throws MbuildError as {@link ImageTarget} does; REFERENCE_INVALID for an image without a name.
 */
export function pushExporter(
  output: PushOutput,
  services: ExportServices,
  registry: ImageTarget,
): Exporter {
  return {
    async export(images: readonly Outgoing[], vertex, scope) {
      if (images.some(({ names }) => names.length === 0)) {
        throw new MbuildError('REFERENCE_INVALID', 'an image without a name cannot be pushed', {
          hint: 'name it with -t or with: mbuild tag',
        });
      }
      const early = new EarlyUploads(
        images.flatMap(({ names }) => names.map(referenceOf))[0],
        registry,
        scope,
      );
      let prepared: OutgoingImage[];
      try {
        prepared = await prepareImages(
          images,
          {
            otherwise: 'gzip',
            compression: output.compression,
            begun: (diffId, open) => early.begin(diffId, open),
          },
          services,
          vertex,
          scope,
        );
        for (const image of prepared) {
          // What an index lists goes by its digest; the names are the index's.
          const isListed = image.group !== undefined;
          for (const name of image.names)
            await pushImage(
              image,
              isListed ? { ...referenceOf(name), tag: undefined } : referenceOf(name),
              early,
              output.mountFrom,
              registry,
              vertex,
              scope,
            );
        }
      } finally {
        await early.end();
      }
      const indexes = indexesOf(prepared);
      for (const { index, names } of indexes) {
        for (const name of names)
          await registry.pushManifest(referenceOf(name), await rawManifest(index), scope.signal);
      }
      return {
        descriptors: prepared.map((image) => image.manifest.descriptor),
        indexes: indexes.map(({ index }) => index.descriptor),
      };
    },
  };
}

/** Layers on their way to one repository while they are compressed. One that cannot be begun is none. */
class EarlyUploads {
  readonly #uploads = new Map<DiffID, Promise<EarlyUpload | undefined>>();

  constructor(
    private readonly repository: Repository | undefined,
    private readonly registry: ImageTarget,
    private readonly scope: BuildScope,
  ) {}

  begin(diffId: DiffID, open: (signal: AbortSignal) => AsyncIterable<Uint8Array>): void {
    if (this.repository === undefined || this.#uploads.has(diffId)) return;
    this.#uploads.set(
      diffId,
      this.registry.beginBlob(this.repository, open, this.scope.signal).catch(() => undefined),
    );
  }

  async of(
    diffId: DiffID | undefined,
    { registry, repository }: Repository,
  ): Promise<EarlyUpload | undefined> {
    const isHere =
      registry === this.repository?.registry && repository === this.repository.repository;
    return isHere && diffId !== undefined ? this.#uploads.get(diffId) : undefined;
  }

  /** Ends what nobody has waited for. */
  async end(): Promise<void> {
    for (const upload of this.#uploads.values()) (await upload)?.abort();
  }
}

async function pushImage(
  image: OutgoingImage,
  ref: Reference,
  early: EarlyUploads,
  mountFrom: MountSources | undefined,
  registry: ImageTarget,
  vertex: VertexId,
  scope: BuildScope,
): Promise<void> {
  const inTurn = limiter(PARALLEL_TRANSFERS);
  const blobs = new Map<Digest, OutgoingBlob>(
    [...image.layers, image.config].map((blob) => [blob.descriptor.digest, blob]),
  );
  await together(
    scope,
    [...blobs.values()].map(
      (blob) => (inner: BuildScope) =>
        inTurn(async () => {
          const report =
            blob === image.config
              ? () => undefined
              : transferReporter(
                  inner,
                  vertex,
                  (blob.diffId ?? blob.descriptor.digest) as Digest,
                  blob.descriptor.size,
                );
          report('preparing');
          const from = (
            blob.repository?.registry === ref.registry
              ? [blob.repository.repository]
              : (mountFrom?.(ref.registry, blob.descriptor.digest) ?? [])
          ).find((repository) => repository !== ref.repository);
          const source: BlobSource = {
            descriptor: blob.descriptor,
            open: (start) => bytesFrom(blob.open(), start),
            early: await early.of(blob.diffId, ref),
            ...(from === undefined ? {} : { from }),
          };
          const sent = await registry.pushBlob(ref, source, inner.signal, (bytes) =>
            report('uploading', bytes),
          );
          report(sent === 'uploaded' ? 'done' : sent, blob.descriptor.size);
        }),
    ),
  );
  await registry.pushManifest(ref, await rawManifest(image.manifest), scope.signal);
}

async function rawManifest({ descriptor, open }: OutgoingBlob): Promise<RawManifest> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of open()) chunks.push(chunk);
  return { descriptor, bytes: Buffer.concat(chunks) };
}

/** The bytes from `start` on. */
export async function* bytesFrom(
  source: AsyncIterable<Uint8Array>,
  start: number,
): AsyncGenerator<Uint8Array> {
  let left = start;
  for await (const chunk of source) {
    if (chunk.length > left) yield left === 0 ? chunk : chunk.subarray(left);
    left = Math.max(0, left - chunk.length);
  }
}

function referenceOf(name: string): Reference {
  const ref = parseReference(name);
  if (ref === undefined)
    throw new MbuildError(
      'REFERENCE_INVALID',
      `${JSON.stringify(name)} is not the name of an image`,
    );
  return ref;
}
