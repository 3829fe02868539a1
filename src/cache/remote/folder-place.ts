import { MbuildError } from '../../diagnostics/error';
import { limiter, together, PARALLEL_TRANSFERS } from '../../images/transfer/transfer';
import { digestOf, isDigest, type Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import type { BlobBody, BlobSource } from '../../registry/registry';
import type { WebFolder } from '../../registry/web-folder';
import { configOf, MAX_CACHE_CONFIG } from './format';
import type { CachePlace, OutgoingCache, StoredCache } from './place';

const MAX_MANIFEST = 4 << 20;

/** What the files of a cache are called. */
export interface FolderNames {
  /** How messages name the place. */
  readonly title: string;
  /** The cache's manifest: read from the first, written to all. */
  readonly manifests: readonly [string, ...string[]];
  readonly blob: (digest: Digest) => string;
}

/**
 * Files in a folder that are written as a whole: the manifest of a cache, and its blobs. Nothing is
 * deleted there; blobs that no manifest names any more are for the server to expire.
 */
export class FolderPlace implements CachePlace {
  readonly title: string;

  constructor(
    private readonly names: FolderNames,
    private readonly folder: WebFolder,
  ) {
    this.title = names.title;
  }

  async read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    const manifest = await this.folder.read(this.names.manifests[0], MAX_MANIFEST, signal);
    const config = manifest === undefined ? undefined : configOf(manifest);
    if (manifest === undefined || config === undefined) return [];
    const bytes = await this.folder.read(this.#name(config.digest), MAX_CACHE_CONFIG, signal);
    if (bytes === undefined) throw lacks(config.digest);
    if (digestOf(bytes) !== config.digest)
      throw new MbuildError(
        'DIGEST_MISMATCH',
        `its config does not match its digest: expected ${config.digest}, found ${digestOf(bytes)}`,
      );
    return [{ manifest, config: bytes }];
  }

  async blob({ digest, size }: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody> {
    // Object stores refuse a range behind the end.
    const from = start < size ? start : 0;
    const body = await this.folder.open(this.#name(digest), from, signal);
    if (body === undefined) throw lacks(digest);
    return body;
  }

  async write(
    { blobs, manifest }: OutgoingCache,
    signal: AbortSignal,
    note: (text: string) => void,
  ): Promise<void> {
    const inTurn = limiter(PARALLEL_TRANSFERS);
    await together(
      { signal, events: () => undefined },
      blobs.map(
        (blob) => (inner) =>
          inTurn(async () => {
            if (await this.#put(blob, inner.signal)) note(`uploaded ${blob.descriptor.digest}`);
          }),
      ),
    );
    const { bytes } = manifest;
    for (const name of this.names.manifests)
      await this.folder.put(name, bytes.length, () => inMemory(bytes), signal);
    note(`manifest ${manifest.descriptor.digest}`);
  }

  #name(digest: Digest): string {
    if (isDigest(digest)) return this.names.blob(digest);
    throw new MbuildError('CACHE_INVALID', `${JSON.stringify(digest)} is not a digest`);
  }

  /** False for a blob that is there. */
  async #put(blob: BlobSource, signal: AbortSignal): Promise<boolean> {
    const { descriptor } = blob;
    const name = this.#name(descriptor.digest);
    if ((await this.folder.size(name, signal)) === descriptor.size) return false;
    await this.folder.put(name, descriptor.size, () => blob.open(0), signal);
    return true;
  }
}

function lacks(digest: Digest): MbuildError {
  return new MbuildError('CACHE_INVALID', `it lacks the blob ${digest}`);
}

async function* inMemory(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
