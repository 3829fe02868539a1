import { MbuildError } from '../../diagnostics/error';
import type { ImageConfig } from '../../oci/image';
import type { Platform } from '../../oci/platform';
import { formatReference, parseReference } from '../../oci/reference';
import type { ImageSource } from '../../registry/registry';
import type { ImageStore } from '../store/image-store';
import { describeRemote, type DescribedImage } from './describe-image';

/** Where an image that is only looked at may be. */
export interface Lookup {
  readonly images: Pick<ImageStore, 'find'>;
  /** Called when the store has no such image. */
  readonly registry: () => ImageSource;
  readonly signal: AbortSignal;
}

/**
 * The config of an image without its layers: the store's, else the registry's. Nothing is written to the store.
 * @throws MbuildError as {@link peekImage}.
 */
export async function fetchConfig(
  name: string,
  platform: Platform,
  { images, registry, signal }: Lookup,
): Promise<ImageConfig> {
  const ref = parseReference(name);
  const local = images.find(ref === undefined ? name : formatReference(ref), platform);
  return local?.config ?? (await peekImage(name, platform, registry(), signal)).config;
}

/**
 * Asks a registry for the manifest and the config of an image.
 * @throws MbuildError REFERENCE_INVALID, PLATFORM_NOT_FOUND, DIGEST_MISMATCH, and what the registry client throws.
 */
export async function peekImage(
  name: string,
  platform: Platform,
  registry: ImageSource,
  signal: AbortSignal,
): Promise<DescribedImage> {
  const ref = parseReference(name);
  if (ref === undefined)
    throw new MbuildError(
      'REFERENCE_INVALID',
      `${JSON.stringify(name)} is not the name of an image`,
    );
  return describeRemote(await registry.manifest(ref, signal), ref, platform, { registry, signal });
}
