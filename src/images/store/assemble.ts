import { MbuildError } from '../../diagnostics/error';
import { chainIds, digestOf, type Digest, type DiffID } from '../../oci/digest';
import type { Descriptor, ImageConfig, Manifest } from '../../oci/image';
import { MediaType, layerCompression } from '../../oci/media-types';
import type { RemoteBlob } from '../../registry/registry';
import type { Image } from './image-store';
import type { LayerRecord } from './layer-index';
import { storedBlob } from './layer-blobs';
import type { Lease } from './lease';
import type { ImageServices } from './services';

/** An image to be made out of layers that the store has. */
export interface ImageDraft {
  /** Its `rootfs.diff_ids` are unpacked layers of the store. */
  readonly config: ImageConfig;
  /** Full names (`formatReference`); none for a dangling image. */
  readonly names: readonly string[];
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Media types of the manifest; OCI's when absent. */
  readonly format?: 'oci' | 'docker' | undefined;
}

/**
 * Writes config and manifest (held by `lease`, as its layers are), records and names the image.
 * Layers that were pulled stay the blobs that they are; built ones stand in the manifest as
 * uncompressed tars, which are written from their directories when they are asked for. The same
 * config gives the same image id.
 * @throws MbuildError STORE_CORRUPT when a layer is not in the store.
 */
export function assembleImage(
  draft: ImageDraft,
  services: Pick<ImageServices, 'content' | 'images' | 'layers' | 'snapshots' | 'xattrs'>,
  lease: Lease,
): Image {
  const records = layerRecords(draft.config, services);
  const image = writeImage(draft, records, services, lease);
  return services.images.put({ ...image, stack: records.map((record) => record.id) }, draft.names);
}

/**
 * The same for an image with layers that the store lacks: it is described, not recorded, and has no
 * names.
 */
export function describeImage(
  draft: Omit<ImageDraft, 'names'>,
  elsewhere: Elsewhere,
  services: Pick<ImageServices, 'content' | 'layers'>,
  lease: Lease,
): Image {
  const image = writeImage(draft, imageLayers(draft.config, services, elsewhere), services, lease);
  return { ...image, id: image.manifest.config.digest, stack: [], names: [], repoDigests: [] };
}

/** Writes config and manifest. */
function writeImage(
  draft: Omit<ImageDraft, 'names'>,
  layers: readonly (LayerRecord | RemoteBlob)[],
  services: Pick<ImageServices, 'content'>,
  lease: Lease,
): Pick<Image, 'config' | 'manifest' | 'descriptor'> {
  const { config } = draft;
  const docker = draft.format === 'docker';
  const write = (bytes: Buffer): Digest => {
    lease.hold({ blobs: [digestOf(bytes)] });
    return services.content.write(bytes);
  };
  const configBytes = Buffer.from(JSON.stringify(config));
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: docker ? MediaType.dockerManifest : MediaType.ociManifest,
    config: {
      mediaType: docker ? MediaType.dockerConfig : MediaType.ociConfig,
      digest: write(configBytes),
      size: configBytes.length,
    },
    layers: layers.map((layer) =>
      asFormat(
        'chainId' in layer ? (storedBlob(layer, services) ?? tarBlob(layer)) : layer.descriptor,
        docker ? 'docker' : 'oci',
      ),
    ),
    ...(draft.annotations === undefined || Object.keys(draft.annotations).length === 0
      ? {}
      : { annotations: draft.annotations }),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return {
    config,
    manifest,
    descriptor: { mediaType: manifest.mediaType, digest: write(bytes), size: bytes.length },
  };
}

/** Finds layers that the store lacks. */
export type Elsewhere = (diffId: DiffID) => RemoteBlob | undefined;

/** The unpacked layers of a config, bottom first. @throws MbuildError STORE_CORRUPT. */
export function layerRecords(
  config: ImageConfig,
  services: Pick<ImageServices, 'layers'>,
): LayerRecord[] {
  return imageLayers(config, services).flatMap((layer) => ('chainId' in layer ? [layer] : []));
}

/**
 * The layers of a config, bottom first: unpacked ones of the store, else those that are elsewhere.
 * @throws MbuildError STORE_CORRUPT.
 */
export function imageLayers(
  config: ImageConfig,
  services: Pick<ImageServices, 'layers'>,
  elsewhere: Elsewhere = () => undefined,
): (LayerRecord | RemoteBlob)[] {
  return chainIds(config.rootfs.diff_ids).map((chain, i) => {
    const diffId = config.rootfs.diff_ids[i];
    const layer =
      services.layers.get(chain) ?? (diffId === undefined ? undefined : elsewhere(diffId));
    if (layer === undefined)
      throw new MbuildError('STORE_CORRUPT', `the layer ${diffId ?? chain} is not in the store`, {
        hint: 'build or pull the image again',
      });
    return layer;
  });
}

/** A layer as an uncompressed tar, whose digest is the DiffID. */
export function tarBlob(record: LayerRecord): Descriptor {
  return {
    mediaType: MediaType.ociLayerTar,
    digest: record.diffId as string as Descriptor['digest'],
    size: record.size,
  };
}

/**
 * The same blob under the media type of the given family; Docker has none for zstd and keeps OCI's.
 */
export function asFormat(blob: Descriptor, format: 'oci' | 'docker'): Descriptor {
  const types = {
    oci: {
      none: MediaType.ociLayerTar,
      gzip: MediaType.ociLayerGzip,
      zstd: MediaType.ociLayerZstd,
    },
    docker: {
      none: MediaType.dockerLayerTar,
      gzip: MediaType.dockerLayerGzip,
      zstd: MediaType.ociLayerZstd,
    },
  } as const;
  const compression = layerCompression(blob.mediaType);
  return {
    mediaType: compression === undefined ? blob.mediaType : types[format][compression],
    digest: blob.digest,
    size: blob.size,
  };
}
