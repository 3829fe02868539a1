import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { limiter, together, PARALLEL_TRANSFERS } from '../../images/transfer/transfer';
import type { Descriptor } from '../../oci/image';
import { isIndexType } from '../../oci/media-types';
import { parseIndex } from '../../oci/read-image';
import { familiarName, parseReference, type Reference } from '../../oci/reference';
import type {
  BlobBody,
  ImageSource,
  ImageTarget,
  RawManifest,
  Repository,
} from '../../registry/registry';
import type { Admit } from '../../registry/policy';
import { readSmallBlob } from '../../registry/small-blob';
import { configOf, MAX_CACHE_CONFIG } from './format';
import type { CachePlace, OutgoingCache, StoredCache } from './place';

/**
 * Entries of an index that are looked at: images for more platforms than this are not to be
 * expected.
 */
const MAX_ENTRIES = 32;

/** A tag in a registry: a cache of its own, or an image with an inline cache. */
export class RegistryPlace implements CachePlace {
  readonly title: string;
  readonly repository: Repository;
  readonly #ref: Reference;

  /** @throws MbuildError REFERENCE_INVALID. */
  constructor(
    ref: string,
    private readonly registry: ImageSource & ImageTarget,
    private readonly admit?: Admit,
  ) {
    const parsed = parseReference(ref);
    if (parsed === undefined)
      throw new MbuildError(
        'REFERENCE_INVALID',
        `${JSON.stringify(ref)} is not a valid name for a cache`,
        { hint: 'write [registry/]repository[:tag]' },
      );
    this.#ref = parsed;
    this.title = familiarName(parsed);
    this.repository = parsed;
  }

  async read(signal: AbortSignal): Promise<readonly StoredCache[]> {
    try {
      const stored = await Promise.all(
        (await this.#manifests(signal)).map(async ({ bytes }) => {
          const config = configOf(bytes);
          return config === undefined
            ? []
            : [
                {
                  manifest: bytes,
                  config: await readSmallBlob(config, this, {
                    limit: MAX_CACHE_CONFIG,
                    what: 'its config',
                    signal,
                  }),
                },
              ];
        }),
      );
      return stored.flat();
    } catch (error) {
      if (isMbuildError(error, 'IMAGE_NOT_FOUND')) return [];
      throw error;
    }
  }

  async #manifests(signal: AbortSignal): Promise<readonly RawManifest[]> {
    await this.admit?.({ transport: 'docker', ref: this.#ref });
    const top = await this.registry.manifest(this.#ref, signal);
    if (!isIndexType(top.descriptor.mediaType)) return [top];
    const entries = parseIndex(top.bytes, this.title)
      .manifests.slice(0, MAX_ENTRIES)
      .filter(({ mediaType }) => !isIndexType(mediaType));
    return Promise.all(
      entries.map(({ digest }) =>
        this.registry.manifest(
          { registry: this.#ref.registry, repository: this.#ref.repository, digest },
          signal,
        ),
      ),
    );
  }

  blob(blob: Descriptor, start: number, signal: AbortSignal): Promise<BlobBody> {
    return this.registry.blob(this.#ref, blob, start, signal);
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
            const sent = await this.registry.pushBlob(this.#ref, blob, inner.signal);
            if (sent !== 'exists') note(`${sent} ${blob.descriptor.digest}`);
          }),
      ),
    );
    await this.registry.pushManifest(this.#ref, manifest, signal);
    note(`manifest ${manifest.descriptor.digest}`);
  }
}
