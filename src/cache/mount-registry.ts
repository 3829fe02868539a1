import { importMount, exportMount } from './mounts';
import type { ContentStore } from '../content/store';
import { MbuildError } from '../diagnostics/error';
import { parseManifest } from '../images/manifest';
import { Lease } from '../images/lease';
import { compressTar } from '../layer/compress';
import type { Workers } from '../linux/threads';
import { digestOf, type Digest } from '../oci/digest';
import type { Manifest } from '../oci/image';
import { MediaType } from '../oci/media-types';
import { familiarName, type Reference } from '../oci/reference';
import { downloadBlob } from '../registry/download';
import type { ImageSource, ImageTarget } from '../registry/registry';

/** Media type of the config of a cache mount in a registry: its id, and nothing that is needed to read it. */
const CONFIG_TYPE = 'application/vnd.mbuild.cache-mount.config.v1+json';

/** The parts of a store that the content of a cache mount goes through. */
export interface MountServices {
  readonly root: string;
  readonly content: ContentStore;
  readonly threads: Workers;
}

/** Pushes the content of a cache mount as one layer. Returns the manifest's digest. @throws MbuildError USAGE when there is none of that id, and as ImageTarget does. */
export async function pushMount(id: string, ref: Reference, { root, content, threads }: MountServices, registry: ImageTarget, signal: AbortSignal): Promise<Digest> {
  const lease = new Lease(root);
  try {
    const layer = await content.ingest(compressTar(exportMount(root, id), { type: 'gzip' }, threads), undefined, (digest) => lease.hold({ blobs: [digest] }));
    const config = Buffer.from(JSON.stringify({ id }));
    const manifest: Manifest = {
      schemaVersion: 2, mediaType: MediaType.ociManifest, config: { mediaType: CONFIG_TYPE, digest: digestOf(config), size: config.length }, layers: [{ mediaType: MediaType.ociLayerGzip, ...layer }],
    };
    await registry.pushBlob(ref, { descriptor: { mediaType: MediaType.ociLayerGzip, ...layer }, open: (start) => content.open(layer.digest, { start }) as AsyncIterable<Uint8Array> }, signal);
    await registry.pushBlob(ref, { descriptor: manifest.config, open: async function* open(start) { yield config.subarray(start); } }, signal);
    const bytes = Buffer.from(JSON.stringify(manifest));
    return await registry.pushManifest(ref, { descriptor: { mediaType: MediaType.ociManifest, digest: digestOf(bytes), size: bytes.length }, bytes }, signal);
  } finally {
    lease.release();
  }
}

/**
 * Puts what {@link pushMount} has sent in the place of a cache mount's content.
 * @throws MbuildError IMAGE_INVALID for something else, IMAGE_NOT_FOUND, DIGEST_MISMATCH, and as `importMount`; the mount then is as it was.
 */
export async function pullMount(id: string, ref: Reference, { root, content }: MountServices, registry: ImageSource, signal: AbortSignal): Promise<void> {
  const lease = new Lease(root);
  try {
    const name = familiarName(ref);
    const { config, layers: [layer, ...others] } = parseManifest((await registry.manifest(ref, signal)).bytes, name);
    if (config.mediaType !== CONFIG_TYPE || layer === undefined || others.length > 0) {
      throw new MbuildError('IMAGE_INVALID', `${name} is no cache mount`, { hint: "'mbuild cache-mount export --ref' makes one" });
    }
    lease.hold({ blobs: [layer.digest] });
    await downloadBlob(registry, content, ref, layer, signal);
    await importMount(root, id, content.open(layer.digest));
  } finally {
    lease.release();
  }
}
