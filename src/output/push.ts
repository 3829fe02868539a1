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
import {
  prepareImages,
  type LayerPolicy,
  type OutgoingBlob,
  type OutgoingImage,
} from './outgoing-image';
import { leased } from './leased';

/**
 * `push`, `--push` and `--output type=registry`: images go to the registries that their names say.
 */
export interface PushOutput {
  readonly compression?: CompressionSpec | undefined;
  readonly mediaTypes?: LayerPolicy['mediaTypes'];
  readonly annotations?: LayerPolicy['annotations'];
  readonly attestationArtifact?: LayerPolicy['attestationArtifact'];
  /** No tag is pushed: images and indexes are found by their digests alone. */
  readonly byDigest?: boolean | undefined;
  /** Repositories of a registry that are known to have a blob: it is mounted from there. */
  readonly mountFrom?: MountSources | undefined;
}

/** What pushing one image needs. */
interface Push {
  readonly registry: ImageTarget;
  readonly early: EarlyUploads;
  readonly mountFrom: MountSources | undefined;
  readonly vertex: VertexId;
  readonly scope: BuildScope;
}

/**
 * Pushes each image under each of its names: blobs first, several at once and none that the
 * registry has, then the manifest; images for several platforms get an index under the name.
 * @throws MbuildError as {@link ImageTarget} does; REFERENCE_INVALID for an image without a name.
 */
export function pushExporter(
  output: PushOutput,
  services: ExportServices,
  registry: ImageTarget,
): Exporter {
  const exporter: Exporter = {
    async export(images: readonly Outgoing[], vertex, scope) {
      if (images.some(({ names }) => names.length === 0)) {
        throw new MbuildError('REFERENCE_INVALID', 'an image without a name cannot be pushed', {
          hint: 'name it with -t, or with: mbuild tag',
        });
      }
      const [first] = images.flatMap(({ names }) => names.map(referenceOf));
      const early = new EarlyUploads(first, registry, scope);
      const { mountFrom, byDigest, ...policy } = output;
      const begun: EarlyUploads['begin'] = (diffId, open) => early.begin(diffId, open);
      let prepared: OutgoingImage[];
      try {
        prepared = await prepareImages(
          images,
          { ...policy, otherwise: 'gzip', begun },
          { services, vertex, scope },
        );
        const push = { registry, early, mountFrom, vertex, scope };
        for (const image of prepared)
          for (const ref of placesOf(image, byDigest)) await pushImage(image, ref, push);
      } finally {
        await early.end();
      }
      const indexes = indexesOf(prepared);
      for (const { index, names } of indexes) {
        for (const ref of placesOf({ names }, byDigest))
          await registry.pushManifest(ref, await rawManifest(index), scope.signal);
      }
      return {
        descriptors: prepared.map((image) => image.manifest.descriptor),
        indexes: indexes.map(({ index }) => index.descriptor),
      };
    },
  };
  return leased(exporter, services);
}

/** What an index lists goes by its digest; the names are the index's. */
function placesOf(
  { names, group }: Pick<OutgoingImage, 'names' | 'group'>,
  byDigest: boolean | undefined,
): Reference[] {
  const refs = names.map(referenceOf);
  return group === undefined && byDigest !== true
    ? refs
    : refs.map((ref) => ({ ...ref, tag: undefined }));
}

/**
 * Layers on their way to one repository while they are compressed. One that cannot be begun is sent
 * afterwards.
 */
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

async function pushImage(image: OutgoingImage, ref: Reference, push: Push): Promise<void> {
  await pushContents(image, ref, push);
  if (image.attestation !== undefined) await pushContents(image.attestation, ref, push);
}

/** A manifest after what it lists. */
async function pushContents(
  { layers, config, manifest }: Pick<OutgoingImage, 'layers' | 'config' | 'manifest'>,
  ref: Reference,
  push: Push,
): Promise<void> {
  const inTurn = limiter(PARALLEL_TRANSFERS);
  const blobs = new Map<Digest, OutgoingBlob>(
    [...layers, config].map((blob) => [blob.descriptor.digest, blob]),
  );
  await together(
    push.scope,
    [...blobs.values()].map(
      (blob) => (scope: BuildScope) =>
        inTurn(() => pushBlob(blob, ref, { ...push, scope }, blob !== config)),
    ),
  );
  await push.registry.pushManifest(ref, await rawManifest(manifest), push.scope.signal);
}

/** @param isShown false for what no vertex of progress lists: the config. */
async function pushBlob(
  { descriptor, diffId, repository, open }: OutgoingBlob,
  ref: Reference,
  push: Push,
  isShown: boolean,
): Promise<void> {
  const shown = transferReporter(push, (diffId ?? descriptor.digest) as Digest, descriptor.size);
  const report = isShown ? shown : () => undefined;
  report('preparing');
  const known =
    repository?.registry === ref.registry
      ? [repository.repository]
      : (push.mountFrom?.(ref.registry, descriptor.digest) ?? []);
  const source: BlobSource = {
    descriptor,
    open: (start) => bytesFrom(open(), start),
    early: await push.early.of(diffId, ref),
    from: known.find((path) => path !== ref.repository),
  };
  const sent = await push.registry.pushBlob(ref, source, push.scope.signal, (bytes) =>
    report('uploading', bytes),
  );
  report(sent === 'uploaded' ? 'done' : sent, descriptor.size);
}

/** A manifest with its bytes in memory. */
export async function rawManifest({ descriptor, open }: OutgoingBlob): Promise<RawManifest> {
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
    throw new MbuildError('REFERENCE_INVALID', `${JSON.stringify(name)} is not a valid image name`);
  return ref;
}
