import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { didYouMean } from '../../diagnostics/suggest';
import type { Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { isIndexType } from '../../oci/media-types';
import { hostPlatform, type Platform } from '../../oci/platform';
import { familiarName, formatReference, type Reference } from '../../oci/reference';
import type { BuildScope, VertexId } from '../../progress/events';
import { downloadBlob } from '../../registry/download';
import type { Catalog, ImageSource, RawManifest } from '../../registry/registry';
import type { Image } from '../store/image-store';
import { Lease } from '../store/lease';
import {
  parseConfig,
  parseIndex,
  parseManifest,
  platformNotFound,
  selectPlatform,
  suits,
} from './manifest';
import type { ImageServices } from '../store/services';
import { dropDamaged } from '../store/trust';
import { unpackLayers } from './unpack';

/** What is to be pulled. */
export interface PullRequest {
  readonly ref: Reference;
  /** The host's when absent. */
  readonly platform?: Platform | undefined;
  /** An image that is there for one platform alone is taken whatever that is. */
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

/** Indexes may hold indexes; more than this makes no sense. */
const MAX_DEPTH = 4;

/**
 * Brings an image from a registry into the store and names it: name → index → platform → manifest → config → layers.
 * Everything is verified before it is named; what is there is not fetched; what breaks off goes on with the next pull.
 * @throws MbuildError IMAGE_NOT_FOUND (close tags suggested), PLATFORM_NOT_FOUND, IMAGE_INVALID and the registry's errors.
 */
export async function pullImage(
  request: PullRequest,
  services: ImageServices,
  registry: ImageSource & Catalog,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Pulled> {
  const { ref } = request;
  const name = familiarName(ref);
  const platform = request.platform ?? hostPlatform();
  const lease = new Lease(services.root);
  try {
    const top = await registry.manifest(ref, scope.signal).catch(async (error: unknown) => {
      throw heldBack(error, ref, services) ?? (await withCloseTags(error, ref, registry, scope));
    });
    const chosen = await choose(top, ref, platform, registry, scope, 0);
    const manifest = parseManifest(chosen.bytes, name);
    const blobs = [
      chosen.descriptor.digest,
      manifest.config.digest,
      ...manifest.layers.map((layer) => layer.digest),
    ];
    lease.hold({ blobs });

    await dropDamaged(manifest.config.digest, services);
    await downloadBlob(
      registry,
      services.content,
      ref,
      manifest.config,
      scope.signal,
      undefined,
      services.patience,
    );
    const config = parseConfig(
      services.content.read(manifest.config.digest),
      manifest.layers.length,
      name,
    );
    if (request.anyPlatform !== true && !suits(config, platform))
      throw platformNotFound(name, platform, [config]);
    const digestName = formatReference({
      registry: ref.registry,
      repository: ref.repository,
      digest: top.descriptor.digest,
    });
    const before = services.images.find(manifest.config.digest);
    const known =
      ref.digest === undefined
        ? before?.names.includes(nameOf(ref)) === true
        : before?.repoDigests.includes(digestName) === true;
    // An image may have the same layer twice.
    const fetching = new Map<Digest, Promise<void>>();
    const stack = await unpackLayers(
      manifest.layers.map((blob, i) => ({
        blob,
        coming: () =>
          fetching.has(blob.digest) ? undefined : services.content.partial(blob.digest).path,
        diffId: diffIdAt(config.rootfs.diff_ids, i),
        fetch: (inner, report) => {
          const started =
            fetching.get(blob.digest) ??
            downloadBlob(
              registry,
              services.content,
              ref,
              blob,
              inner.signal,
              (bytes, retrying) => report(retrying === true ? 'retrying' : 'downloading', bytes),
              services.patience,
            );
          fetching.set(blob.digest, started);
          return started.finally(() => fetching.delete(blob.digest));
        },
      })),
      services,
      lease,
      vertex,
      scope,
    );

    services.content.write(chosen.bytes);
    const image = services.images.put(
      { config, manifest, descriptor: chosen.descriptor, stack },
      ref.tag === undefined || ref.digest !== undefined ? [] : [nameOf(ref)],
      [digestName],
    );
    return { image, descriptor: top.descriptor, changed: !known };
  } finally {
    lease.release();
  }
}

/** Goes down through indexes to the manifest of the platform. */
async function choose(
  from: RawManifest,
  ref: Reference,
  platform: Platform,
  registry: ImageSource,
  scope: BuildScope,
  depth: number,
): Promise<RawManifest> {
  if (!isIndexType(from.descriptor.mediaType)) return from;
  const name = familiarName(ref);
  if (depth >= MAX_DEPTH)
    throw new MbuildError(
      'LIMIT_EXCEEDED',
      `${name} has indexes inside of indexes, ${MAX_DEPTH} deep`,
    );
  const entry = selectPlatform(parseIndex(from.bytes, name), platform, name);
  const next = await registry.manifest(
    { registry: ref.registry, repository: ref.repository, digest: entry.digest },
    scope.signal,
  );
  if (next.bytes.length !== entry.size)
    throw new MbuildError(
      'SIZE_MISMATCH',
      `the manifest ${entry.digest} of ${name} has ${next.bytes.length} bytes where its index says ${entry.size}`,
    );
  if (isIndexType(next.descriptor.mediaType) !== isIndexType(entry.mediaType))
    throw new MbuildError(
      'IMAGE_INVALID',
      `the index of ${name} lists ${entry.digest} as ${entry.mediaType}, which it is not`,
    );
  return choose(next, ref, platform, registry, scope, depth + 1);
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
    hint: 'the store has an image of that name: do without pulling it, or without --offline (MBUILD_OFFLINE)',
  });
}

/** Names tags that are nearly what was asked for; whether the registry lists tags at all makes no difference to the error. */
async function withCloseTags(
  error: unknown,
  ref: Reference,
  registry: Catalog,
  scope: BuildScope,
): Promise<unknown> {
  if (!isMbuildError(error, 'IMAGE_NOT_FOUND') || ref.digest !== undefined || ref.tag === undefined)
    return error;
  const tags = await registry.tags(ref, scope.signal).catch(() => undefined);
  if (tags === undefined || tags.length === 0)
    return new MbuildError('IMAGE_NOT_FOUND', error.message, {
      cause: error,
      hint: `${ref.registry} has no repository ${ref.repository}, or does not show it`,
    });
  const hint =
    didYouMean(ref.tag, tags) ??
    `there are the tags ${tags.slice(0, 8).join(', ')}${tags.length > 8 ? ', …' : ''}`;
  return new MbuildError('IMAGE_NOT_FOUND', error.message, { cause: error, hint });
}

function nameOf(ref: Reference): string {
  return formatReference({ ...ref, digest: undefined });
}

function diffIdAt<T>(diffIds: readonly T[], at: number): T {
  const diffId = diffIds[at];
  if (diffId === undefined)
    throw new MbuildError('IMAGE_INVALID', `the config lists no layer ${at}`);
  return diffId;
}
