import { MbuildError } from '../diagnostics/error';
import type { ListedManifest, ManifestList } from '../images/transfer/manifest-list';
import type { MountSources } from '../images/transfer/mount-sources';
import { parseManifest } from '../images/transfer/manifest';
import type { ImageStore } from '../images/store/image-store';
import {
  limiter,
  together,
  transferReporter,
  PARALLEL_TRANSFERS,
} from '../images/transfer/transfer';
import type { Descriptor } from '../oci/image';
import { isManifestType } from '../oci/media-types';
import { parseReference, type Reference } from '../oci/reference';
import type { BuildScope, VertexId } from '../progress/events';
import type { ImageSource, ImageTarget, Repository } from '../registry/registry';
import type { ExportServices } from './exporter';
import { indexOfManifests } from './image-index';
import { pushExporter } from './push';

/** What pushing a list needs of a registry. */
type Registry = ImageSource & ImageTarget;

/**
 * Pushes a manifest list: what its repository lacks first (mounted from where the manifests were found, copied from another registry,
 * or sent from the store), then the list under its name. Returns the list as it was pushed.
 * @throws MbuildError IMAGE_NOT_FOUND for an image that is no more in the store, and as {@link ImageTarget} does.
 */
export async function pushManifestList(
  list: ManifestList,
  services: ExportServices & { readonly images: ImageStore },
  registry: Registry,
  mountFrom: MountSources,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Descriptor> {
  const ref = referenceOf(list.name);
  const manifests: Descriptor[] = [];
  for (const entry of list.manifests) {
    manifests.push(
      entry.image === undefined
        ? await copyManifest(entry, ref, registry, vertex, scope)
        : await pushImage(entry, ref, services, registry, mountFrom, vertex, scope),
    );
  }
  const index = indexOfManifests(manifests, list.annotations);
  const chunks: Uint8Array[] = [];
  for await (const chunk of index.open()) chunks.push(chunk);
  await registry.pushManifest(
    ref,
    { descriptor: index.descriptor, bytes: Buffer.concat(chunks) },
    scope.signal,
  );
  return index.descriptor;
}

async function pushImage(
  entry: ListedManifest,
  ref: Reference,
  services: ExportServices & { readonly images: ImageStore },
  registry: Registry,
  mountFrom: MountSources,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Descriptor> {
  const image = entry.image === undefined ? undefined : services.images.find(entry.image);
  if (image === undefined)
    throw new MbuildError(
      'IMAGE_NOT_FOUND',
      `${entry.source} of the list is no more in the store`,
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
  registry: Registry,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Descriptor> {
  const { digest, mediaType } = entry.descriptor;
  const source: Repository = referenceOf(entry.source);
  if (source.registry === ref.registry && source.repository === ref.repository)
    return entry.descriptor;
  const manifest = await registry.manifest(
    { registry: source.registry, repository: source.repository, digest },
    scope.signal,
  );
  if (isManifestType(mediaType)) {
    const { config, layers } = parseManifest(manifest.bytes, entry.source);
    const inTurn = limiter(PARALLEL_TRANSFERS);
    const from = source.registry === ref.registry ? { from: source.repository } : {};
    await together(
      scope,
      [...layers, config].map(
        (descriptor) => (inner: BuildScope) =>
          inTurn(async () => {
            const report = transferReporter(inner, vertex, descriptor.digest, descriptor.size);
            const open = (start: number): AsyncIterable<Uint8Array> =>
              bytesFrom(registry, source, descriptor, start, inner.signal);
            const sent = await registry.pushBlob(
              ref,
              { descriptor, open, ...from },
              inner.signal,
              (bytes) => report('uploading', bytes),
            );
            report(sent === 'uploaded' ? 'done' : sent, descriptor.size);
          }),
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

async function* bytesFrom(
  registry: ImageSource,
  source: Repository,
  blob: Descriptor,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const body = await registry.blob(source, blob, start, signal);
  let skip = start - body.start;
  for await (const chunk of body.bytes) {
    if (chunk.length > skip) yield chunk.subarray(skip);
    skip = Math.max(0, skip - chunk.length);
  }
}

function referenceOf(name: string): Reference {
  const ref = parseReference(name);
  if (ref === undefined)
    throw new MbuildError(
      'REFERENCE_INVALID',
      `${JSON.stringify(name)} is not the name of an image`,
    );
  return ref;
}
