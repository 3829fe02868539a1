import { MbuildError } from '../../diagnostics/error';
import type { ImageConfig } from '../../oci/image';
import type { Platform } from '../../oci/platform';
import { formatReference, parseReference } from '../../oci/reference';
import type { Admit } from '../../registry/policy';
import type { ImageSource } from '../../registry/registry';
import type { ImageStore } from '../store/image-store';
import { describeRemote, type DescribedImage } from './describe-image';

/** How an image of a registry is looked at without being pulled. */
export interface Look {
  /** Called when something is to be asked. */
  readonly registry: () => ImageSource;
  readonly admit?: Admit | undefined;
  readonly signal: AbortSignal;
}

/**
 * The config of an image without its layers: the store's, else the registry's. Nothing is written
 * to the store.
 * @throws MbuildError as {@link peekImage}.
 */
export async function fetchConfig(
  name: string,
  platform: Platform,
  { images, ...look }: Look & { readonly images: Pick<ImageStore, 'find'> },
): Promise<ImageConfig> {
  const ref = parseReference(name);
  const local = images.find(ref === undefined ? name : formatReference(ref), platform);
  return local?.config ?? (await peekImage(name, platform, look)).config;
}

/**
 * Asks a registry for the manifest and the config of an image.
 * @throws MbuildError REFERENCE_INVALID, NOT_ALLOWED, PLATFORM_NOT_FOUND, DIGEST_MISMATCH, and what
 * the registry client throws.
 */
export async function peekImage(
  name: string,
  platform: Platform,
  { registry, admit, signal }: Look,
): Promise<DescribedImage> {
  const ref = parseReference(name);
  if (ref === undefined)
    throw new MbuildError('REFERENCE_INVALID', `${JSON.stringify(name)} is not a valid image name`);
  await admit?.({ transport: 'docker', ref });
  const top = await registry().manifest(ref, signal);
  return describeRemote(top, ref, platform, { registry: registry(), signal });
}
