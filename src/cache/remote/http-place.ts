import { MbuildError } from '../../diagnostics/error';
import { limiter, together, PARALLEL_TRANSFERS } from '../../images/transfer/transfer';
import { digestOf, hexOf, isDigest, type Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import type { BlobBody, BlobSource } from '../../registry/registry';
import { redactUrl } from '../../registry/transport';
import type { WebFolder } from '../../registry/web-folder';
import { configOf, MAX_CACHE_CONFIG } from './format';
import type { CachePlace, OutgoingCache, StoredCache } from './place';

const MAX_MANIFEST = 4 << 20;

/**
 * A folder of a web server: `<tag>.json` is the manifest of a cache, `sha256-<hex>` are blobs, all
 * in one folder, because a server may not make others. Nothing is deleted there; blobs that no
 * manifest names any more are for the server to expire.
 */
export class HttpPlace implements CachePlace {
  readonly title: string;

  constructor(
    url: URL,
    private readonly tag: string,
    private readonly folder: WebFolder,
  ) {
    this.title = redactUrl(url);
  }

  async read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    const manifest = await this.folder.read(`${this.tag}.json`, MAX_MANIFEST, signal);
    const config = manifest === undefined ? undefined : configOf(manifest);
    if (manifest === undefined || config === undefined) return [];
    const bytes = await this.folder.read(nameOf(config.digest), MAX_CACHE_CONFIG, signal);
    if (bytes === undefined) throw lacks(config.digest);
    if (digestOf(bytes) !== config.digest)
      throw new MbuildError(
        'DIGEST_MISMATCH',
        `its config does not match its digest: expected ${config.digest}, found ${digestOf(bytes)}`,
      );
    return [{ manifest, config: bytes }];
  }

  async blob({ digest }: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody> {
    const body = await this.folder.open(nameOf(digest), start, signal);
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
    await this.folder.put(
      `${this.tag}.json`,
      manifest.bytes.length,
      () => inMemory(manifest.bytes),
      signal,
    );
    note(`manifest ${manifest.descriptor.digest}`);
  }

  /** False for a blob that is there. */
  async #put(blob: BlobSource, signal: AbortSignal): Promise<boolean> {
    const { descriptor } = blob;
    const name = nameOf(descriptor.digest);
    if ((await this.folder.size(name, signal)) === descriptor.size) return false;
    await this.folder.put(name, descriptor.size, () => blob.open(0), signal);
    return true;
  }
}

function nameOf(digest: Digest): string {
  if (!isDigest(digest))
    throw new MbuildError('CACHE_INVALID', `${JSON.stringify(digest)} is not a digest`);
  return `sha256-${hexOf(digest)}`;
}

function lacks(digest: Digest): MbuildError {
  return new MbuildError('CACHE_INVALID', `it lacks the blob ${digest}`);
}

async function* inMemory(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}
