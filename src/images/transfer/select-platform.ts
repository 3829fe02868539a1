import { MbuildError } from '../../diagnostics/error';
import type { Descriptor, Index } from '../../oci/image';
import { isIndexType } from '../../oci/media-types';
import { formatPlatform, normalizePlatform, type Platform } from '../../oci/platform';

/**
 * The entry of an index that suits a platform best: the same variant first, then for arm the
 * nearest older one. Attestations and other artifacts are passed over.
 * @throws MbuildError PLATFORM_NOT_FOUND listing what there is.
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
    `${name} does not exist for ${formatPlatform(wanted)}`,
    {
      hint:
        list.length === 0
          ? 'its index does not name any platform'
          : `it exists for ${list.join(', ')}; choose with --platform`,
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
