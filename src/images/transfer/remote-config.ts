import { MbuildError } from '../../diagnostics/error';
import { digestOf } from '../../oci/digest';
import type { ImageConfig } from '../../oci/image';
import { isIndexType } from '../../oci/media-types';
import type { Platform } from '../../oci/platform';
import { familiarName, formatReference, parseReference, type Reference } from '../../oci/reference';
import type { ImageSource, RawManifest } from '../../registry/registry';
import { parseConfig, parseIndex, parseManifest, selectPlatform } from './manifest';
import type { ImageStore } from '../store/image-store';

/** Indexes inside of indexes are followed so far. */
const MAX_DEPTH = 3;

/**
 * The config of an image without its layers: the store's, else the registry's. Nothing is written to the store.
 * @param source called when the store has no such image.
 * @throws MbuildError REFERENCE_INVALID, PLATFORM_NOT_FOUND, DIGEST_MISMATCH, and what the registry client throws.
 */
export async function fetchConfig(
  name: string,
  platform: Platform,
  images: Pick<ImageStore, 'find'>,
  source: () => ImageSource,
  signal: AbortSignal,
): Promise<ImageConfig> {
  const ref = parseReference(name);
  const local = images.find(ref === undefined ? name : formatReference(ref), platform);
  if (local !== undefined) return local.config;
  if (ref === undefined)
    throw new MbuildError(
      'REFERENCE_INVALID',
      `${JSON.stringify(name)} is not the name of an image`,
    );
  const registry = source();
  const { bytes } = await choose(
    await registry.manifest(ref, signal),
    ref,
    platform,
    registry,
    signal,
    0,
  );
  const { config, layers } = parseManifest(bytes, familiarName(ref));
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (await registry.blob(ref, config, 0, signal)).bytes) {
    size += chunk.length;
    if (size > config.size) break;
    chunks.push(chunk);
  }
  const content = Buffer.concat(chunks);
  if (digestOf(content) !== config.digest)
    throw new MbuildError(
      'DIGEST_MISMATCH',
      `the config of ${familiarName(ref)} is not what its manifest says`,
    );
  return parseConfig(content, layers.length, familiarName(ref));
}

async function choose(
  from: RawManifest,
  ref: Reference,
  platform: Platform,
  registry: ImageSource,
  signal: AbortSignal,
  depth: number,
): Promise<RawManifest> {
  if (!isIndexType(from.descriptor.mediaType)) return from;
  if (depth >= MAX_DEPTH)
    throw new MbuildError('LIMIT_EXCEEDED', `${familiarName(ref)} has indexes inside of indexes`);
  const { digest } = selectPlatform(
    parseIndex(from.bytes, familiarName(ref)),
    platform,
    familiarName(ref),
  );
  return choose(
    await registry.manifest({ registry: ref.registry, repository: ref.repository, digest }, signal),
    ref,
    platform,
    registry,
    signal,
    depth + 1,
  );
}
