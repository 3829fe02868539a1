import { MbuildError } from '../../diagnostics/error';
import type { Descriptor, ImageConfig, Manifest } from '../../oci/image';
import { isIndexType } from '../../oci/media-types';
import type { Platform } from '../../oci/platform';
import { MAX_DESCRIPTION, parseConfig, parseIndex, parseManifest } from '../../oci/read-image';
import { familiarName, type Reference } from '../../oci/reference';
import { blobsIn } from '../../registry/download';
import type { ImageSource, Patience, RawManifest } from '../../registry/registry';
import { readSmallBlob } from '../../registry/small-blob';
import { platformNotFound, selectPlatform, suits } from './select-platform';

/** An image without its layers: what its index, its manifest and its config say. */
export interface DescribedImage {
  /** Of the manifest. */
  readonly descriptor: Descriptor;
  /** The manifest as it came. */
  readonly bytes: Buffer;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** The config as it came. */
  readonly configBytes: Buffer;
  /**
   * False for an image that is there for one platform alone, and for another than was asked for.
   */
  readonly suits: boolean;
}

/**
 * Where the parts of an image are: a repository, an archive, a layout. What it gives is verified
 * against the digests that were asked for.
 */
export interface ImageParts {
  /** How messages name the image. */
  readonly name: string;
  /** A manifest or an index that an index lists. */
  manifest(entry: Descriptor): Promise<RawManifest>;
  config(blob: Descriptor): Promise<Buffer>;
}

/**
 * Indexes may hold indexes; buildx and registries make one level, and more than this makes no
 * sense.
 */
const MAX_INDEXES = 4;

/**
 * Goes from what a name points at to the image of a platform: index → platform → manifest → config.
 * Every command that looks at an image of a registry, an archive or a layout looks at it with this.
 * @throws MbuildError PLATFORM_NOT_FOUND, IMAGE_INVALID, SIZE_MISMATCH, LIMIT_EXCEEDED, and what
 * the parts throw.
 */
export async function describeImage(
  top: RawManifest,
  platform: Platform,
  parts: ImageParts,
): Promise<DescribedImage> {
  const { name } = parts;
  let chosen = top;
  for (let indexes = 0; isIndexType(chosen.descriptor.mediaType); indexes++) {
    if (indexes >= MAX_INDEXES)
      throw new MbuildError('LIMIT_EXCEEDED', `${name} nests more than ${MAX_INDEXES} indexes`);
    const entry = selectPlatform(parseIndex(chosen.bytes, name), platform, name);
    chosen = sameAs(entry, await parts.manifest(entry), name);
  }
  const manifest = parseManifest(chosen.bytes, name);
  const configBytes = await parts.config(manifest.config);
  const config = parseConfig(configBytes, manifest.layers.length, name, platform);
  const isSuitable = suits(config, platform);
  if (!isSuitable && chosen !== top) throw platformNotFound(name, platform, [config]);
  const { descriptor, bytes } = chosen;
  return { descriptor, bytes, manifest, config, configBytes, suits: isSuitable };
}

/** @throws MbuildError when an index says other things of a manifest than it is. */
function sameAs(entry: Descriptor, found: RawManifest, name: string): RawManifest {
  if (found.bytes.length !== entry.size)
    throw new MbuildError(
      'SIZE_MISMATCH',
      `the manifest ${entry.digest} of ${name} has ${found.bytes.length} bytes, but its index says ${entry.size}`,
    );
  if (isIndexType(found.descriptor.mediaType) !== isIndexType(entry.mediaType))
    throw new MbuildError(
      'IMAGE_INVALID',
      `the index of ${name} lists ${entry.digest} as ${entry.mediaType}, but it has another type`,
    );
  return found;
}

/** How a registry's image is looked at. */
export interface RemoteLook {
  readonly registry: ImageSource;
  readonly signal: AbortSignal;
  readonly patience?: Patience | undefined;
  /** The config, where it is at hand already. */
  readonly known?: ((blob: Descriptor) => Promise<Buffer | undefined>) | undefined;
}

/**
 * The image that a manifest or index of a registry stands for.
 * @throws as {@link describeImage}, and as the registry does.
 */
export function describeRemote(
  top: RawManifest,
  ref: Reference,
  platform: Platform,
  { registry, signal, patience, known }: RemoteLook,
): Promise<DescribedImage> {
  const name = familiarName(ref);
  const repository = { registry: ref.registry, repository: ref.repository };
  return describeImage(top, platform, {
    name,
    manifest: ({ digest }) => registry.manifest({ ...repository, digest }, signal),
    config: async (blob) =>
      (await known?.(blob)) ??
      readSmallBlob(blob, blobsIn(repository, registry), {
        limit: MAX_DESCRIPTION,
        what: `the config of ${name}`,
        signal,
        patience,
      }),
  });
}
