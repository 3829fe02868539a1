import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { ContentStore } from '../content/store';
import { Lease } from '../images/store/lease';
import { PARALLEL_TRANSFERS, limiter, together } from '../images/transfer/transfer';
import { compressTar } from '../layer/compress';
import type { Workers } from '../linux/threads';
import { digestOf, isDigest, toDigest, type Digest } from '../oci/digest';
import type { Descriptor, Manifest } from '../oci/image';
import { JsonError, list, parseJsonObject, text } from '../oci/json';
import { MediaType } from '../oci/media-types';
import { parseManifest } from '../oci/read-image';
import { familiarName, type Reference } from '../oci/reference';
import { blobsIn, downloadBlob } from '../registry/download';
import type { ImageSource, ImageTarget } from '../registry/registry';
import { readSmallBlob } from '../registry/small-blob';
import { cutMount, tarOfPart, type MountPart } from './mount-parts';
import { importMount, mountContent } from './mounts';

/** Media type of the config of a cache mount in a registry. */
const CONFIG_TYPE = 'application/vnd.mbuild.cache-mount.config.v1+json';
const MAX_CONFIG = 4 << 20;
const MAX_PARTS = 4096;

/**
 * The config: nothing of it is needed to read the content. Its hashes tell the next export what is
 * there already.
 */
interface MountConfig {
  readonly id: string;
  /** Of each part's uncompressed bytes. */
  readonly parts: readonly Digest[];
}

/** The parts of a store that the content of a cache mount goes through. */
export interface MountServices {
  readonly root: string;
  readonly content: ContentStore;
  readonly threads: Workers;
}

/** What a registry has of an earlier export. */
interface Earlier {
  readonly digest: Digest;
  /** By the hash of a part's uncompressed bytes. */
  readonly parts: ReadonlyMap<Digest, Descriptor>;
}

/** What came of an export. */
export interface PushedMount {
  /** Of the manifest. */
  readonly digest: Digest;
  /** False when the registry had the very same under that name: nothing was sent. */
  readonly changed: boolean;
  readonly parts: number;
  /** Those that the export before had not, and their compressed bytes. */
  readonly newParts: number;
  readonly newBytes: number;
}

/** Where a cache mount is exported to or filled from, and what it needs on the way. */
export interface MountTransfer extends MountServices {
  readonly registry: ImageSource & ImageTarget;
  readonly signal: AbortSignal;
}

/** A part as a registry has it. */
interface StoredPart {
  /** Of its uncompressed bytes. */
  readonly hash: Digest;
  readonly blob: Descriptor;
  /** The export before had it not. */
  readonly isNew: boolean;
}

/**
 * Makes a name of a registry the content of a cache mount, in parts; those that were exported under
 * the name before are neither compressed nor sent.
 * @throws MbuildError USAGE when there is no cache of that id, and as ImageTarget does.
 */
export async function pushMount(
  id: string,
  ref: Reference,
  transfer: MountTransfer,
): Promise<PushedMount> {
  const lease = new Lease(transfer.root);
  try {
    const parts = cutMount(mountContent(transfer.root, id));
    const earlier = await findEarlier(ref, transfer.registry, transfer.signal);
    const inTurn = limiter(PARALLEL_TRANSFERS);
    const send = partSender(ref, earlier, transfer, lease);
    const stored = await together(
      { signal: transfer.signal, events: () => undefined },
      parts.map((part) => (inner) => inTurn(() => send(part, inner.signal))),
    );
    const digest = await pushDescription(id, stored, { ref, earlier }, transfer);
    const fresh = stored.filter(({ isNew }) => isNew);
    return {
      digest,
      changed: digest !== earlier?.digest,
      parts: stored.length,
      newParts: fresh.length,
      newBytes: fresh.reduce((sum, { blob }) => sum + blob.size, 0),
    };
  } finally {
    lease.release();
  }
}

/** Compresses and sends a part, unless the registry has it. */
function partSender(
  ref: Reference,
  earlier: Earlier | undefined,
  transfer: MountTransfer,
  lease: Lease,
): (part: MountPart, signal: AbortSignal) => Promise<StoredPart> {
  return async (part, signal) => {
    const hash = await hashOf(part, signal);
    const known = earlier?.parts.get(hash);
    if (known !== undefined) return { hash, blob: known, isNew: false };
    const made = await compressPart(part, transfer, lease);
    const open = (start?: number): AsyncIterable<Uint8Array> =>
      transfer.content.open(made.blob.digest, { start: start ?? 0 }) as AsyncIterable<Uint8Array>;
    await transfer.registry.pushBlob(ref, { descriptor: made.blob, open }, signal);
    return { ...made, isNew: true };
  };
}

/**
 * Sends config and manifest, unless the name has that manifest already.
 * @returns the manifest's digest.
 */
async function pushDescription(
  id: string,
  parts: readonly StoredPart[],
  { ref, earlier }: { readonly ref: Reference; readonly earlier: Earlier | undefined },
  { registry, signal }: MountTransfer,
): Promise<Digest> {
  const config = Buffer.from(
    JSON.stringify({ id, parts: parts.map(({ hash }) => hash) } satisfies MountConfig),
  );
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: { mediaType: CONFIG_TYPE, digest: digestOf(config), size: config.length },
    layers: parts.map(({ blob }) => blob),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const descriptor = {
    mediaType: MediaType.ociManifest,
    digest: digestOf(bytes),
    size: bytes.length,
  };
  if (descriptor.digest === earlier?.digest) return descriptor.digest;
  async function* open(start?: number): AsyncGenerator<Buffer, void> {
    yield config.subarray(start);
  }
  await registry.pushBlob(ref, { descriptor: manifest.config, open }, signal);
  await registry.pushManifest(ref, { descriptor, bytes }, signal);
  return descriptor.digest;
}

/**
 * Puts what {@link pushMount} has sent in the place of a cache mount's content: under the first of
 * the names that is there, which is returned.
 * @throws MbuildError IMAGE_INVALID for something else, IMAGE_NOT_FOUND, DIGEST_MISMATCH, and as
 * `importMount`; the mount then is as it was.
 */
export async function pullMount(
  id: string,
  refs: readonly Reference[],
  { root, content, registry, signal }: Omit<MountTransfer, 'threads'>,
): Promise<Reference> {
  const lease = new Lease(root);
  try {
    const { ref, manifest } = await firstThatIsThere(refs, registry, signal);
    lease.hold({ blobs: manifest.layers.map(({ digest }) => digest) });
    const inTurn = limiter(PARALLEL_TRANSFERS);
    await together(
      { signal, events: () => undefined },
      [...new Map(manifest.layers.map((layer) => [layer.digest, layer])).values()].map(
        (layer) => (inner) =>
          inTurn(() =>
            downloadBlob(layer, blobsIn(ref, registry), { content, signal: inner.signal }),
          ),
      ),
    );
    // Members of gzip, one behind the other, are one stream.
    await importMount(
      root,
      id,
      Readable.from(oneAfterTheOther(manifest.layers, content), { objectMode: false }),
    );
    return ref;
  } finally {
    lease.release();
  }
}

async function firstThatIsThere(
  refs: readonly Reference[],
  registry: ImageSource,
  signal: AbortSignal,
): Promise<{ readonly ref: Reference; readonly manifest: Manifest }> {
  for (const [i, ref] of refs.entries()) {
    const name = familiarName(ref);
    const found = await registry.manifest(ref, signal).catch((error: unknown) => {
      if (isMbuildError(error, 'IMAGE_NOT_FOUND') && i < refs.length - 1) return undefined;
      throw error;
    });
    if (found === undefined) continue;
    const manifest = mountManifest(found.bytes, name);
    if (manifest !== undefined) return { ref, manifest };
    throw new MbuildError('IMAGE_INVALID', `${name} is not a cache mount`, {
      hint: "'mbuild cache-mount export --ref' makes one",
    });
  }
  throw new MbuildError('INTERNAL', 'a cache mount from nowhere');
}

/** `undefined` for the manifest of something else. */
function mountManifest(bytes: Buffer, name: string): Manifest | undefined {
  const manifest = parseManifest(bytes, name, MAX_PARTS);
  return manifest.config.mediaType === CONFIG_TYPE && manifest.layers.length > 0
    ? manifest
    : undefined;
}

/**
 * What a name has now; `undefined` when it is free, or something else's, which the export replaces.
 */
async function findEarlier(
  ref: Reference,
  registry: ImageSource,
  signal: AbortSignal,
): Promise<Earlier | undefined> {
  try {
    const name = familiarName(ref);
    const { bytes, descriptor } = await registry.manifest(ref, signal);
    const manifest = mountManifest(bytes, name);
    if (manifest === undefined) return undefined;
    const hashes = readHashes(
      await readSmallBlob(manifest.config, blobsIn(ref, registry), {
        limit: MAX_CONFIG,
        what: `the config of ${name}`,
        signal,
      }),
    );
    return {
      digest: descriptor.digest,
      parts: new Map(
        manifest.layers.flatMap((layer, i) =>
          hashes[i] === undefined ? [] : [[hashes[i], layer] as const],
        ),
      ),
    };
  } catch (error) {
    if (isMbuildError(error, 'IMAGE_NOT_FOUND') || isMbuildError(error, 'IMAGE_INVALID'))
      return undefined;
    throw error;
  }
}

/** None where another version wrote them in another way. */
function readHashes(config: Buffer): readonly Digest[] {
  try {
    const { parts = [] } = parseJsonObject(config, { parts: list(text) });
    return parts.every((part) => isDigest(part)) ? parts : [];
  } catch (error) {
    if (error instanceof JsonError) return [];
    throw error;
  }
}

async function hashOf(part: MountPart, signal: AbortSignal): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of tarOfPart(part)) {
    signal.throwIfAborted();
    hash.update(chunk);
  }
  return toDigest(hash);
}

/** Hashed again while it is read: a step may have written to the cache since. */
async function compressPart(
  part: MountPart,
  { content, threads }: MountServices,
  lease: Lease,
): Promise<{ readonly hash: Digest; readonly blob: Descriptor }> {
  const hash = createHash('sha256');
  async function* hashed(): AsyncGenerator<Buffer, void> {
    for await (const chunk of tarOfPart(part)) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const stored = await content.ingest(
    compressTar(hashed(), { type: 'gzip' }, threads),
    undefined,
    (digest) => lease.hold({ blobs: [digest] }),
  );
  return { hash: toDigest(hash), blob: { mediaType: MediaType.ociLayerGzip, ...stored } };
}

async function* oneAfterTheOther(
  layers: readonly Descriptor[],
  content: ContentStore,
): AsyncGenerator<Buffer, void> {
  for (const { digest } of layers) yield* content.open(digest) as AsyncIterable<Buffer>;
}
