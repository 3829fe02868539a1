import { MbuildError } from '../diagnostics/error';
import type { ListedManifest, ManifestList } from '../images/transfer/manifest-list';
import type { MountSources } from '../images/transfer/mount-sources';
import type { ImageStore } from '../images/store/image-store';
import {
  limiter,
  together,
  transferReporter,
  PARALLEL_TRANSFERS,
  type TransferSetting,
} from '../images/transfer/transfer';
import type { Descriptor } from '../oci/image';
import { isManifestType } from '../oci/media-types';
import { parseArtifact } from '../oci/read-image';
import { parseReference, type Reference } from '../oci/reference';
import type { BuildScope } from '../progress/events';
import { blobsIn, type BlobOrigin } from '../registry/download';
import type { ImageSource, ImageTarget, RawManifest, Repository } from '../registry/registry';
import type { ExportServices } from './exporter';
import { indexOfManifests } from './image-index';
import { bytesFrom, pushExporter, rawManifest } from './push';

/** What pushing a list works with. */
export interface ListPush
  extends CopySetting, TransferSetting<ExportServices & { readonly images: ImageStore }> {
  readonly mountFrom: MountSources;
}

/** What bringing manifests from repository to repository works with. */
export interface CopySetting extends Pick<TransferSetting, 'vertex' | 'scope'> {
  readonly registry: ImageSource & ImageTarget;
}

/**
 * Pushes a manifest list: what its repository lacks first (mounted from where the manifests were
 * found, copied from another registry, or sent from the store), then the list under its name.
 * Returns the list as it was pushed.
 * @throws MbuildError IMAGE_NOT_FOUND for an image that is no longer in the store, and as
 * {@link ImageTarget} does.
 */
export async function pushManifestList(list: ManifestList, push: ListPush): Promise<Descriptor> {
  const ref = referenceOf(list.name);
  const manifests: Descriptor[] = [];
  for (const entry of list.manifests) {
    manifests.push(
      entry.image === undefined
        ? await copyManifest(entry, ref, push)
        : await pushImage(entry, ref, push),
    );
  }
  const index = indexOfManifests(manifests, list.annotations);
  await push.registry.pushManifest(ref, await rawManifest(index), push.scope.signal);
  return index.descriptor;
}

/**
 * Pushes a manifest that lists others, or an image's own, under a name: what it lists is brought
 * from the registries that have it.
 * @throws MbuildError as {@link ImageTarget} does.
 */
export async function pushJoined(
  top: RawManifest,
  listed: readonly ListedManifest[],
  ref: Reference,
  push: CopySetting,
): Promise<void> {
  for (const entry of listed) await copyManifest(entry, ref, push);
  await push.registry.pushManifest(ref, top, push.scope.signal);
}

async function pushImage(
  entry: ListedManifest,
  ref: Reference,
  { services, registry, mountFrom, vertex, scope }: ListPush,
): Promise<Descriptor> {
  const image = entry.image === undefined ? undefined : services.images.find(entry.image);
  if (image === undefined)
    throw new MbuildError(
      'IMAGE_NOT_FOUND',
      `${entry.source} of the list is no longer in the store`,
      { hint: 'build or pull it again, then: mbuild manifest create --amend' },
    );
  const byDigest = `${ref.registry}/${ref.repository}@${image.descriptor.digest}`;
  const {
    descriptors: [pushed],
  } = await pushExporter({ mountFrom }, services, registry).export(
    [{ image, names: [byDigest], group: undefined }],
    vertex,
    scope,
  );
  if (pushed === undefined) throw new MbuildError('INTERNAL', 'a pushed image has no manifest');
  return {
    ...entry.descriptor,
    mediaType: pushed.mediaType,
    digest: pushed.digest,
    size: pushed.size,
  };
}

/** Brings a manifest with its blobs into the list's repository, unless it is there. */
async function copyManifest(
  entry: ListedManifest,
  ref: Reference,
  push: CopySetting,
): Promise<Descriptor> {
  const { registry, scope } = push;
  const { digest, mediaType } = entry.descriptor;
  const source: Repository = referenceOf(entry.source);
  if (source.registry === ref.registry && source.repository === ref.repository)
    return entry.descriptor;
  const manifest = await registry.manifest(
    { registry: source.registry, repository: source.repository, digest },
    scope.signal,
  );
  if (isManifestType(mediaType)) {
    const { config, layers } = parseArtifact(manifest.bytes, entry.source);
    const inTurn = limiter(PARALLEL_TRANSFERS);
    await together(
      scope,
      [...layers, config].map(
        (descriptor) => (inner: BuildScope) =>
          inTurn(() => copyBlob(descriptor, source, ref, { ...push, scope: inner })),
      ),
    );
  }
  await registry.pushManifest(
    { registry: ref.registry, repository: ref.repository, digest },
    manifest,
    scope.signal,
  );
  return entry.descriptor;
}

async function copyBlob(
  descriptor: Descriptor,
  source: Repository,
  ref: Reference,
  push: CopySetting,
): Promise<void> {
  const { registry, scope } = push;
  const report = transferReporter(push, descriptor.digest, descriptor.size);
  const origin = blobsIn(source, registry);
  const sent = await registry.pushBlob(
    ref,
    {
      descriptor,
      open: (start) => openBlob(descriptor, origin, start, scope.signal),
      ...(source.registry === ref.registry ? { from: source.repository } : {}),
    },
    scope.signal,
    (bytes) => report('uploading', bytes),
  );
  report(sent === 'uploaded' ? 'done' : sent, descriptor.size);
}

async function* openBlob(
  blob: Descriptor,
  origin: BlobOrigin,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const body = await origin.blob(blob, start, signal);
  yield* bytesFrom(body.bytes, start - body.start);
}

function referenceOf(name: string): Reference {
  const ref = parseReference(name);
  if (ref === undefined)
    throw new MbuildError('REFERENCE_INVALID', `${JSON.stringify(name)} is not a valid image name`);
  return ref;
}
