import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import { formatPlatform, hostPlatform, type Platform } from '../../oci/platform';
import {
  familiarName,
  formatReference,
  parseReference,
  referenceHint,
  type Reference,
} from '../../oci/reference';
import type { Catalog, ImageSource } from '../../registry/registry';
import type { Image } from '../store/image-store';
import type { DescribedImage } from './describe-image';
import { suits } from './select-platform';
import type { TransferSetting } from './transfer';
import type { ImageServices } from '../store/services';
import { trustedStack } from '../store/trust';

/** An image that something is made from or run. */
export interface ImageRequest {
  /** As the user wrote it: a name, a digest or an image id. */
  readonly name: string;
  /** The host's when absent. */
  readonly platform?: Platform | undefined;
  /**
   * `missing`: what the store has under the name is taken, as docker does; `always`: the registry
   * is asked first; `never`: not at all.
   */
  readonly pull: 'always' | 'missing' | 'never';
  /** An image that a registry has for one platform alone is taken for any, as BuildKit does. */
  readonly anyPlatform?: boolean | undefined;
  /** Called when the store has it not, and its registry is asked. */
  readonly asking?: (() => void) | undefined;
}

/**
 * The image that a name stands for: one of the store (whose layers are made sure of, see
 * `trust.ts`), else one that is pulled.
 * @throws MbuildError REFERENCE_INVALID, IMAGE_NOT_FOUND (close names suggested),
 * PLATFORM_NOT_FOUND (platforms listed), and as `pullImage`.
 */
export async function resolveImage(
  request: ImageRequest,
  registry: ImageSource & Catalog,
  setting: TransferSetting,
): Promise<Image> {
  const found = await resolveLater(request, registry, setting);
  return 'stored' in found ? found.stored : found.pull(setting);
}

/** An image that is only described yet. */
export interface LaterImage {
  readonly ref: Reference;
  readonly described: DescribedImage;
  /** Brings it into the store. @throws MbuildError as `pullImage`. */
  pull(setting: TransferSetting): Promise<Image>;
}

/**
 * The same, but an image that the store lacks is only asked for: its layers come when it is pulled.
 * @throws MbuildError as {@link resolveImage}.
 */
export async function resolveLater(
  request: ImageRequest,
  registry: ImageSource & Catalog,
  setting: TransferSetting,
): Promise<{ readonly stored: Image } | LaterImage> {
  const { services } = setting;
  const platform = request.platform ?? hostPlatform();
  const ref = parseReference(request.name);
  if (request.pull !== 'always' || ref === undefined) {
    const local = findLocal(request.name, platform, services);
    if (
      local !== undefined &&
      (await trustedStack(local.config.rootfs.diff_ids, services)) !== undefined
    )
      return { stored: local };
  }
  if (ref === undefined) {
    if (/^(sha256:)?[0-9a-f]{64}$/.test(request.name)) throw notFound(request.name, services);
    throw new MbuildError(
      'REFERENCE_INVALID',
      `${JSON.stringify(request.name)} is not a valid image name`,
      { hint: referenceHint(request.name) },
    );
  }
  if (request.pull === 'never')
    throw wrongPlatform(request.name, platform, services) ?? notFound(request.name, services);
  request.asking?.();
  const { findImage, pullFound } = await import('./pull');
  const { anyPlatform } = request;
  const hinted = (error: unknown): never => {
    throw withLocalHint(error, familiarName(ref), services);
  };
  const wanted = { ref, platform: request.platform, anyPlatform };
  const found = await findImage(wanted, registry, setting).catch(hinted);
  return {
    ref,
    described: found.image,
    pull: async (inner) => (await pullFound(found, registry, inner).catch(hinted)).image,
  };
}

function findLocal(name: string, platform: Platform, services: ImageServices): Image | undefined {
  const exact = services.images.find(name, platform);
  if (exact !== undefined) return exact;
  const any = services.images.find(name);
  return any !== undefined && suits(any.config, platform) ? any : undefined;
}

function wrongPlatform(
  name: string,
  platform: Platform,
  services: ImageServices,
): MbuildError | undefined {
  const other = services.images.find(name);
  if (other === undefined) return undefined;
  return new MbuildError(
    'PLATFORM_NOT_FOUND',
    `the store has ${name} for ${formatPlatform(other.config)}, not for ${formatPlatform(platform)}`,
    { hint: 'pull it with --platform, or allow pulling' },
  );
}

/** The error for an image that is not in the store, with a name that is nearly the same. */
export function notFound(name: string, services: Pick<ImageServices, 'images'>): MbuildError {
  return new MbuildError('IMAGE_NOT_FOUND', `the store has no image ${name}`, {
    hint: closeName(name, services) ?? 'list the images with: mbuild images',
  });
}

function withLocalHint(error: unknown, name: string, services: ImageServices): unknown {
  const close = closeName(name, services);
  if (
    close === undefined ||
    !isMbuildError(error) ||
    !['IMAGE_NOT_FOUND', 'REGISTRY_DENIED', 'REGISTRY_UNREACHABLE'].includes(error.code)
  )
    return error;
  return new MbuildError(error.code, error.message, {
    cause: error,
    hint:
      error.hint === undefined
        ? `the store has a similar image: ${close}`
        : `${error.hint}; the store has a similar image: ${close}`,
  });
}

function closeName(name: string, services: Pick<ImageServices, 'images'>): string | undefined {
  const names = services.images
    .list()
    .flatMap((image) => image.names)
    .flatMap((full) => {
      const ref = parseReference(full);
      return ref === undefined ? [] : [familiarName(ref), formatReference(ref)];
    });
  const ref = parseReference(name);
  return didYouMean(ref === undefined ? name : familiarName(ref), names);
}
