import { MbuildError } from '../../diagnostics/error';
import { isDigest, type DiffID } from '../../oci/digest';
import type { Descriptor, ImageConfig, Index, Manifest } from '../../oci/image';
import { isIndexType, layerCompression } from '../../oci/media-types';
import { formatPlatform, normalizePlatform, type Platform } from '../../oci/platform';

/** Most layers of an image: overlay takes no more, as docker knows too. */
const MAX_LAYERS = 127;
/** Configs beyond this are an attack or damage. */
const MAX_CONFIG = 4 << 20;

/** Reads an index and checks its form. @throws MbuildError IMAGE_INVALID naming `name`. */
export function parseIndex(bytes: Uint8Array, name: string): Index {
  const index = parse(bytes, name, 'index') as Partial<Index>;
  if (!Array.isArray(index.manifests) || !index.manifests.every(isDescriptor) || 'layers' in index)
    throw broken(name, 'its index lists no manifests');
  return index as Index;
}

/** Reads a manifest and checks its form. @param mostLayers for what is no image. @throws MbuildError IMAGE_INVALID naming `name`, LIMIT_EXCEEDED. */
export function parseManifest(bytes: Uint8Array, name: string, mostLayers = MAX_LAYERS): Manifest {
  const manifest = parse(bytes, name, 'manifest') as Partial<Manifest>;
  if (manifest.schemaVersion !== 2)
    throw broken(name, `its manifest is of schema ${JSON.stringify(manifest.schemaVersion)}`);
  if (
    !isDescriptor(manifest.config) ||
    !Array.isArray(manifest.layers) ||
    !manifest.layers.every(isDescriptor) ||
    'manifests' in manifest
  )
    throw broken(name, 'its manifest lacks the config or the layers');
  if (manifest.layers.length > mostLayers)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `${name} has ${manifest.layers.length} layers; ${mostLayers} are the most`,
    );
  for (const layer of manifest.layers) {
    if (layerCompression(layer.mediaType) === undefined) {
      throw broken(
        name,
        `it holds ${JSON.stringify(layer.mediaType)}, which is no layer of a file system`,
      );
    }
  }
  if (manifest.config.size > MAX_CONFIG)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `the config of ${name} has ${manifest.config.size} bytes`,
    );
  return manifest as Manifest;
}

/** Reads an image config and checks that it fits the manifest. @throws MbuildError IMAGE_INVALID naming `name`. */
export function parseConfig(bytes: Uint8Array, layers: number, name: string): ImageConfig {
  const config = parse(bytes, name, 'config') as Partial<ImageConfig>;
  const diffIds: readonly unknown[] = config.rootfs?.diff_ids ?? [];
  if (typeof config.os !== 'string' || typeof config.architecture !== 'string')
    throw broken(name, 'its config names no platform');
  if (
    !Array.isArray(diffIds) ||
    !diffIds.every((id): id is DiffID => typeof id === 'string' && isDigest(id))
  )
    throw broken(name, 'its config lists layers that are no digests');
  if (diffIds.length !== layers)
    throw broken(name, `its manifest has ${layers} layers and its config ${diffIds.length}`);
  return {
    ...config,
    os: config.os,
    architecture: config.architecture,
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
}

/**
 * The entry of an index that suits a platform best: the same variant first, then for arm the nearest older one.
 * Attestations and other artifacts are passed over. @throws MbuildError PLATFORM_NOT_FOUND listing what there is.
 */
export function selectPlatform(index: Index, wanted: Platform, name: string): Descriptor {
  const images = index.manifests.filter((entry) => !isAttestation(entry));
  const acceptable = acceptablePlatforms(wanted);
  for (const platform of acceptable) {
    const found = images.find(
      (entry) =>
        entry.platform !== undefined &&
        formatPlatform(normalizePlatform(entry.platform)) === platform,
    );
    if (found !== undefined) return found;
  }
  // Without a platform an entry may be an index of its own, or an image whose config tells.
  const untold = images.filter((entry) => entry.platform === undefined);
  const [only] = untold;
  if (only !== undefined && (untold.length === 1 || isIndexType(only.mediaType))) return only;
  throw platformNotFound(
    name,
    wanted,
    images.flatMap((entry) => entry.platform ?? []),
  );
}

/** @returns the error for an image that exists, but not for the platform. */
export function platformNotFound(
  name: string,
  wanted: Platform,
  there: readonly Platform[],
): MbuildError {
  const list = [
    ...new Set(there.map((platform) => formatPlatform(normalizePlatform(platform)))),
  ].sort();
  return new MbuildError(
    'PLATFORM_NOT_FOUND',
    `${name} is not there for ${formatPlatform(wanted)}`,
    {
      hint:
        list.length === 0
          ? 'it names no platform at all'
          : `it is there for ${list.join(', ')}; choose with --platform`,
    },
  );
}

/** True when an image of platform `have` runs where `wanted` is asked for. */
export function suits(have: Platform, wanted: Platform): boolean {
  return acceptablePlatforms(wanted).includes(formatPlatform(normalizePlatform(have)));
}

/** Platforms that run where `wanted` is asked for, best first: containerd, platforms, "Only". */
function acceptablePlatforms(wanted: Platform): string[] {
  const platform = normalizePlatform(wanted);
  const newest = /^v(\d)$/.exec(platform.variant ?? '')?.[1];
  const older =
    platform.architecture === 'arm' && newest !== undefined
      ? Array.from({ length: Math.max(0, Number(newest) - 5) }, (_, i) => ({
          ...platform,
          variant: `v${Number(newest) - 1 - i}`,
        }))
      : [];
  const plain =
    platform.architecture === 'amd64' && platform.variant !== undefined
      ? [{ os: platform.os, architecture: platform.architecture }]
      : [];
  return [platform, ...older, ...plain].map(formatPlatform);
}

function isAttestation(entry: Descriptor): boolean {
  return (
    entry.annotations?.['vnd.docker.reference.type'] !== undefined ||
    entry.artifactType !== undefined ||
    (entry.platform?.os === 'unknown' && entry.platform.architecture === 'unknown')
  );
}

function isDescriptor(value: unknown): value is Descriptor {
  if (typeof value !== 'object' || value === null) return false;
  const { mediaType, digest, size } = value as Record<string, unknown>;
  return (
    typeof mediaType === 'string' &&
    typeof digest === 'string' &&
    isDigest(digest) &&
    Number.isSafeInteger(size) &&
    Number(size) >= 0
  );
}

function parse(bytes: Uint8Array, name: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (cause) {
    throw new MbuildError(
      'IMAGE_INVALID',
      `${name} is not a valid image: its ${what} is not JSON`,
      { cause },
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw broken(name, `its ${what} is not a JSON object`);
  return value as Record<string, unknown>;
}

function broken(name: string, why: string): MbuildError {
  return new MbuildError('IMAGE_INVALID', `${name} is not a valid image: ${why}`);
}
