import { followFile } from '../content/files';
import { asFormat, imageLayers, tarBlob } from '../images/store/assemble';
import { openLayerBlob, openLayerTar, storedBlob } from '../images/store/layer-blobs';
import { Lease } from '../images/store/lease';
import type { LayerRecord } from '../images/store/layer-index';
import {
  limiter,
  together,
  transferReporter,
  type TransferSetting,
} from '../images/transfer/transfer';
import { MbuildError } from '../diagnostics/error';
import { compressTar } from '../layer/compress';
import { annotationsAt, type Annotation } from '../oci/annotations';
import type { DiffID, Digest } from '../oci/digest';
import type { Descriptor, Manifest } from '../oci/image';
import { MediaType, layerCompression } from '../oci/media-types';
import { formatPlatform } from '../oci/platform';
import type { BuildScope } from '../progress/events';
import type { RemoteBlob } from '../registry/registry';
import { attestationManifest, type OutgoingAttestation } from './attestation';
import type { CompressionSpec, ExportServices, Outgoing } from './exporter';
import { inMemory, type OutgoingBlob } from './outgoing-blob';

export type { OutgoingBlob } from './outgoing-blob';

/** An image with every blob at hand. */
export interface OutgoingImage {
  readonly names: readonly string[];
  readonly group?: number | undefined;
  readonly platform: {
    readonly os: string;
    readonly architecture: string;
    readonly variant?: string | undefined;
  };
  readonly manifest: OutgoingBlob;
  readonly config: OutgoingBlob;
  readonly layers: readonly OutgoingBlob[];
  /** For what is made of it: the index that lists it, and what points at both. */
  readonly annotations?: readonly Annotation[] | undefined;
  /** What is said of it, where there is something: it lies beside the image in the index. */
  readonly attestation?: OutgoingAttestation | undefined;
}

/**
 * How layers leave when nothing else is asked for: what is stored as a blob stays as it is, other
 * layers become this.
 */
export interface LayerPolicy {
  readonly otherwise: 'none' | 'gzip';
  /** Media types of manifest, config and layers; as the store has them when absent. */
  readonly mediaTypes?: 'oci' | 'docker' | undefined;
  /** Of every level; those of manifests that are there already stay. */
  readonly annotations?: readonly Annotation[] | undefined;
  readonly compression?: CompressionSpec | undefined;
  /** Attestations name the image as their subject. */
  readonly attestationArtifact?: boolean | undefined;
  /**
   * Told of each larger layer that is being compressed; `open` reads its bytes while they come,
   * until the signal ends it.
   */
  readonly begun?:
    | ((diffId: DiffID, open: (signal: AbortSignal) => AsyncIterable<Uint8Array>) => void)
    | undefined;
}

/** What exporters work with. */
export type ExportSetting = TransferSetting<ExportServices>;

/** Media types of both families. */
const FORMAT_TYPES = {
  oci: { manifest: MediaType.ociManifest, config: MediaType.ociConfig },
  docker: { manifest: MediaType.dockerManifest, config: MediaType.dockerConfig },
} as const;

const PARALLEL_LAYERS = 2;
/** Bytes of a tar that takes longer to be compressed than a registry to answer. */
const WORTH_FOLLOWING = 8 * 1024 * 1024;

/**
 * Prepares images to leave: layers that have no fitting blob are compressed into the store, and
 * remembered, so that the next export finds them. An image whose layers all leave as they came
 * keeps its manifest to the byte.
 */
export async function prepareImages(
  images: readonly Outgoing[],
  policy: LayerPolicy,
  setting: ExportSetting,
): Promise<OutgoingImage[]> {
  const prepared: OutgoingImage[] = [];
  for (const outgoing of images) prepared.push(await prepareImage(outgoing, policy, setting));
  return prepared;
}

async function prepareImage(
  { image, names, group, elsewhere, attestations = [] }: Outgoing,
  policy: LayerPolicy,
  setting: ExportSetting,
): Promise<OutgoingImage> {
  const { services, scope } = setting;
  const { manifest, config } = image;
  const stored = manifest.mediaType === MediaType.dockerManifest ? 'docker' : 'oci';
  // Attestations are OCI's: BuildKit makes the image OCI's as well.
  const format = attestations.length > 0 ? 'oci' : (policy.mediaTypes ?? stored);
  const inTurn = limiter(PARALLEL_LAYERS);
  const layers = await together(
    scope,
    imageLayers(config, services, elsewhere).map(
      (layer, i) => (inner: BuildScope) =>
        inTurn(async () =>
          'chainId' in layer
            ? prepareLayer({ record: layer, original: manifest.layers[i], format }, policy, {
                ...setting,
                scope: inner,
              })
            : remoteLayer(layer, manifest.layers[i], config.rootfs.diff_ids[i]),
        ),
    ),
  );
  const configBytes = services.content.read(image.id);
  const leaving = leavingManifest(image, format, policy);
  const isUnchanged =
    leaving === manifest && layers.every((layer, i) => layer.descriptor === manifest.layers[i]);
  const manifestBytes = isUnchanged
    ? services.content.read(image.descriptor.digest)
    : Buffer.from(
        JSON.stringify({
          ...leaving,
          layers: layers.map((layer) => layer.descriptor),
        } satisfies Manifest),
      );
  const platform = {
    os: config.os,
    architecture: config.architecture,
    ...(config.variant === undefined ? {} : { variant: config.variant }),
  };
  const leavingBlob = inMemory(manifestBytes, leaving.mediaType);
  const attested = { manifest: leavingBlob.descriptor, names, platform };
  return {
    ...{ names, group, layers, platform },
    annotations: policy.annotations,
    manifest: leavingBlob,
    config: { ...inMemory(configBytes, leaving.config.mediaType), descriptor: leaving.config },
    attestation:
      attestations.length === 0
        ? undefined
        : attestationManifest(attestations, attested, policy.attestationArtifact),
  };
}

/**
 * The manifest with the media types and annotations that it leaves with: the very same where that
 * is as it is.
 */
function leavingManifest(
  { manifest, config }: Outgoing['image'],
  format: 'oci' | 'docker',
  policy: LayerPolicy,
): Manifest {
  const types = FORMAT_TYPES[format];
  const added = annotationsAt('manifest', policy.annotations, formatPlatform(config)) ?? {};
  const isNew = Object.entries(added).some(([key, value]) => manifest.annotations?.[key] !== value);
  if (types.manifest === manifest.mediaType && !isNew) return manifest;
  return {
    ...manifest,
    mediaType: types.manifest,
    config: { ...manifest.config, mediaType: types.config },
    ...(isNew ? { annotations: { ...manifest.annotations, ...added } } : {}),
  };
}

/** A layer of the store that is to leave. */
export interface LeavingLayer {
  readonly record: LayerRecord;
  /** What its manifest says of it. */
  readonly original?: Descriptor | undefined;
  readonly format: 'oci' | 'docker';
}

/** Prepares one layer. */
export async function prepareLayer(
  { record, original, format }: LeavingLayer,
  policy: LayerPolicy,
  setting: ExportSetting,
): Promise<OutgoingBlob> {
  const { services } = setting;
  const chosen =
    chooseBlob(record, original, policy, services) ?? (await compress(record, policy, setting));
  // The manifest's own descriptor may say more (annotations, urls), so it stays where the blob
  // does.
  const wanted = asFormat(chosen, format);
  const isSame =
    original?.digest === chosen.digest &&
    (policy.mediaTypes === undefined || original.mediaType === wanted.mediaType);
  const descriptor = isSame ? original : wanted;
  return {
    descriptor,
    diffId: record.diffId,
    open: () => openLayerBlob(record, descriptor, services),
  };
}

/** A layer that leaves as it is elsewhere. */
function remoteLayer(
  { descriptor, repository, open }: RemoteBlob,
  original: Descriptor | undefined,
  diffId: DiffID | undefined,
): OutgoingBlob {
  return {
    descriptor: original?.digest === descriptor.digest ? original : descriptor,
    diffId,
    repository,
    open: () => open(0),
  };
}

/** The blob that a layer leaves as when nothing needs to be compressed for it. */
function chooseBlob(
  record: LayerRecord,
  original: Descriptor | undefined,
  { compression, otherwise }: LayerPolicy,
  services: ExportServices,
): Descriptor | undefined {
  const there = (blob: Descriptor | undefined): blob is Descriptor =>
    blob !== undefined && services.content.size(blob.digest) === blob.size;
  const originalCompression =
    original === undefined ? undefined : layerCompression(original.mediaType);
  if (compression === undefined || compression.force !== true) {
    // What was pulled is not compressed anew; a tar that was loaded or imported is, where another
    // form is asked for.
    if (there(original) && (compression === undefined || originalCompression !== 'none'))
      return original;
  }
  const wanted = compression?.type ?? otherwise;
  if (wanted === 'none') return tarBlob(record);
  // A blob of unknown level will not do where a level is asked for.
  if (compression?.level !== undefined) return undefined;
  const fitting = record.blobs.filter((blob) => layerCompression(blob.mediaType) === wanted);
  return storedBlob({ ...record, blobs: fitting }, services);
}

async function compress(
  record: LayerRecord,
  policy: LayerPolicy,
  setting: ExportSetting,
): Promise<Descriptor> {
  const { services, scope } = setting;
  const type = policy.compression?.type ?? policy.otherwise;
  if (type === 'none')
    throw new MbuildError('INTERNAL', 'an uncompressed layer was to be compressed');
  const report = transferReporter(setting, record.diffId as string as Digest, record.size);
  report('preparing');
  const level = policy.compression?.level;
  const tar = counted(openLayerTar(record, services), scope.signal, (bytes) =>
    report('preparing', bytes),
  );
  const lease = new Lease(services.root);
  let isWhole = false;
  const begun = (file: string): void => {
    if (record.size >= WORTH_FOLLOWING)
      policy.begun?.(record.diffId, (signal) => followFile(file, () => isWhole, signal));
  };
  try {
    const { digest, size } = await services.content.ingest(
      compressTar(tar, { type, level }, services.threads),
      undefined,
      (made) => lease.hold({ blobs: [made] }),
      begun,
    );
    isWhole = true;
    const blob: Descriptor = {
      mediaType: type === 'gzip' ? MediaType.ociLayerGzip : MediaType.ociLayerZstd,
      digest,
      size,
    };
    services.layers.addBlob(record.chainId, blob);
    report('waiting', record.size);
    return blob;
  } finally {
    lease.release();
  }
}

async function* counted(
  source: AsyncIterable<Buffer>,
  signal: AbortSignal,
  count: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    if (signal.aborted) throw new MbuildError('CANCELED', 'stopped', { cause: signal.reason });
    yield chunk;
    count((bytes += chunk.length));
  }
}
