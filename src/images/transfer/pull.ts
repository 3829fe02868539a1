import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import type { Digest } from '../../oci/digest';
import type { Descriptor, ImageConfig } from '../../oci/image';
import { formatPlatform, hostPlatform, normalizePlatform, type Platform } from '../../oci/platform';
import { familiarName, formatReference, type Reference } from '../../oci/reference';
import type { BuildScope } from '../../progress/events';
import { blobsIn, downloadBlob } from '../../registry/download';
import type { Catalog, ImageSource } from '../../registry/registry';
import type { Image } from '../store/image-store';
import type { ImageServices } from '../store/services';
import { dropDamaged } from '../store/trust';
import { describeRemote, type DescribedImage } from './describe-image';
import { withLease, type TransferSetting } from './transfer';
import { unpackLayers, type LayerToUnpack } from './unpack';

/** What is to be pulled. */
export interface PullRequest {
  readonly ref: Reference;
  /** The host's when absent. */
  readonly platform?: Platform | undefined;
  /** An image that is there for one platform alone, and for another, is taken without a warning. */
  readonly anyPlatform?: boolean | undefined;
}

/** What came of a pull. */
export interface Pulled {
  readonly image: Image;
  /** What the reference points at in the registry: an index, or the manifest itself. */
  readonly descriptor: Descriptor;
  /** False when the store had this very image under this name before. */
  readonly changed: boolean;
}

/** An image that was asked for, before its layers are fetched. */
export interface FoundImage {
  readonly ref: Reference;
  /** What the reference points at in the registry. */
  readonly top: Descriptor;
  readonly image: DescribedImage;
}

/**
 * Brings an image from a registry into the store and names it: name → index → platform → manifest →
 * config → layers. Everything is verified before it is named; what is there is not fetched; what
 * breaks off goes on with the next pull.
 * @throws MbuildError IMAGE_NOT_FOUND (close tags suggested), PLATFORM_NOT_FOUND, IMAGE_INVALID and
 * the registry's errors.
 */
export async function pullImage(
  request: PullRequest,
  registry: ImageSource & Catalog,
  setting: TransferSetting,
): Promise<Pulled> {
  return pullFound(await findImage(request, registry, setting), registry, setting);
}

/**
 * The first half of a pull: all that the registry says of an image. Nothing is written to the
 * store. @throws MbuildError as {@link pullImage}.
 */
export async function findImage(
  { ref, platform = hostPlatform(), anyPlatform }: PullRequest,
  registry: ImageSource & Catalog,
  setting: TransferSetting,
): Promise<FoundImage> {
  const { services, scope } = setting;
  const { signal } = scope;
  await services.admit?.({ transport: 'docker', ref });
  const top = await registry.manifest(ref, signal).catch(async (error: unknown) => {
    throw heldBack(error, ref, services) ?? (await withCloseTags(error, ref, registry, signal));
  });
  const image = await describeRemote(top, ref, platform, {
    registry,
    signal,
    patience: services.patience,
    known: (blob) => storedConfig(blob, services),
  });
  if (!image.suits && anyPlatform !== true) warnOfPlatform(ref, image, platform, scope);
  return { ref, top: top.descriptor, image };
}

/** The second half: its layers, and its names. @throws MbuildError as {@link pullImage}. */
export function pullFound(
  { ref, top, image }: FoundImage,
  registry: ImageSource,
  setting: TransferSetting,
): Promise<Pulled> {
  return withLease(setting, async (transfer) => {
    const { services, lease } = transfer;
    lease.hold({ blobs: blobsOf(image) });
    const stack = await unpackLayers(layersFrom(image, ref, registry, services), transfer);
    for (const bytes of [image.configBytes, image.bytes]) services.content.write(bytes);
    return nameIt(ref, top, { ...image, stack }, services);
  });
}

/** The config of an image that is here already, verified again. */
async function storedConfig(
  { digest, size }: Descriptor,
  services: ImageServices,
): Promise<Buffer | undefined> {
  await dropDamaged(digest, services);
  return services.content.size(digest) === size ? services.content.read(digest) : undefined;
}

/** Docker takes such an image as well. */
function warnOfPlatform(
  ref: Reference,
  { config }: { readonly config: ImageConfig },
  wanted: Platform,
  scope: BuildScope,
): void {
  scope.events({
    kind: 'warning',
    diagnostic: {
      severity: 'warning',
      code: 'ImagePlatform',
      message: `${familiarName(ref)} exists only for ${formatPlatform(normalizePlatform(config))}, not for ${formatPlatform(normalizePlatform(wanted))}`,
    },
  });
}

function blobsOf({ descriptor, manifest }: DescribedImage): Digest[] {
  return [
    descriptor.digest,
    manifest.config.digest,
    ...manifest.layers.map((layer) => layer.digest),
  ];
}

function layersFrom(
  { manifest, config }: DescribedImage,
  ref: Reference,
  registry: ImageSource,
  { content, patience }: ImageServices,
): LayerToUnpack[] {
  const origin = blobsIn(ref, registry);
  // An image may have the same layer twice.
  const fetching = new Map<Digest, Promise<void>>();
  return manifest.layers.map((blob, i) => ({
    blob,
    coming: () => (fetching.has(blob.digest) ? undefined : content.partial(blob.digest).path),
    diffId: diffIdAt(config.rootfs.diff_ids, i),
    fetch: ({ signal }, report) => {
      const started =
        fetching.get(blob.digest) ??
        downloadBlob(blob, origin, {
          content,
          signal,
          patience,
          progress: (bytes, retrying) =>
            report(retrying === true ? 'retrying' : 'downloading', bytes),
        });
      fetching.set(blob.digest, started);
      return started.finally(() => fetching.delete(blob.digest));
    },
  }));
}

function nameIt(
  ref: Reference,
  top: Descriptor,
  made: Pick<Image, 'config' | 'manifest' | 'descriptor' | 'stack'>,
  { images }: ImageServices,
): Pulled {
  const { registry, repository } = ref;
  const digestName = formatReference({ registry, repository, digest: top.digest });
  const name = formatReference({ ...ref, digest: undefined });
  const before = images.find(made.manifest.config.digest);
  const known =
    ref.digest === undefined
      ? before?.names.includes(name) === true
      : before?.repoDigests.includes(digestName) === true;
  const { config, manifest, descriptor, stack } = made;
  const image = images.put(
    { config, manifest, descriptor, stack },
    ref.tag === undefined || ref.digest !== undefined ? [] : [name],
    [digestName],
  );
  return { image, descriptor: top, changed: !known };
}

/** What `--offline` forbids to fetch again, of an image that is here. */
function heldBack(
  error: unknown,
  ref: Reference,
  { images }: ImageServices,
): MbuildError | undefined {
  if (!isMbuildError(error, 'NOT_ALLOWED') || images.find(formatReference(ref)) === undefined)
    return undefined;
  return new MbuildError('NOT_ALLOWED', error.message, {
    cause: error,
    hint: 'the store has an image with that name: build without --pull, or without --offline (MBUILD_OFFLINE)',
  });
}

/**
 * Names tags that are nearly what was asked for; whether the registry lists tags at all makes no
 * difference to the error.
 */
async function withCloseTags(
  error: unknown,
  ref: Reference,
  registry: Catalog,
  signal: AbortSignal,
): Promise<unknown> {
  if (!isMbuildError(error, 'IMAGE_NOT_FOUND') || ref.digest !== undefined || ref.tag === undefined)
    return error;
  // Whoever knows the way out has asked nobody else.
  if (error.hint !== undefined) return error;
  const tags = await registry.tags(ref, signal).catch(() => undefined);
  return new MbuildError('IMAGE_NOT_FOUND', error.message, {
    cause: error,
    hint: hintOfTags(ref, ref.tag, tags),
  });
}

function hintOfTags(ref: Reference, tag: string, tags: readonly string[] | undefined): string {
  if (tags === undefined)
    return `${ref.registry} has no repository ${ref.repository}, or you may not see it`;
  if (tags.length === 0) return `the repository ${ref.repository} has no tags`;
  const some = `its tags are ${tags.slice(0, 8).join(', ')}${tags.length > 8 ? ', …' : ''}`;
  return didYouMean(tag, tags) ?? some;
}

function diffIdAt<T>(diffIds: readonly T[], at: number): T {
  const diffId = diffIds[at];
  if (diffId === undefined)
    throw new MbuildError('IMAGE_INVALID', `the config lists no layer ${at}`);
  return diffId;
}
