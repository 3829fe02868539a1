import { hashLargeTree, hashSmallTree, treeDigest } from '../layer/diff';
import type { TreeOptions } from '../layer/entries';
import type { TarSummary } from '../layer/layer';
import type { layerTasks } from '../layer/tasks';
import { toRaw } from '../linux/paths';
import type { Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { MediaType } from '../oci/media-types';
import type { LayerId } from '../snapshot/snapshotter';
import type { LeakWatch } from './leaks';
import type { SolverServices } from './services';

/** What holds for everything that a build hashes. */
export interface HashTerms {
  /** Seconds since the epoch: later times are this in the tar. */
  readonly sourceDateEpoch: number | undefined;
  /** Ends what only saves time later. */
  readonly signal: AbortSignal;
  /** Ends hashing as well, and with it what cannot be recorded without its hash. */
  readonly patience: AbortSignal;
}

/** What a layer comes to, and the blob that was made of it on the way. */
export interface Hashed extends TarSummary {
  readonly blob?: Descriptor | undefined;
}

/** How a layer is hashed. */
export interface HashRequest {
  /** What must not be in the layer, and whom to tell when it is. */
  readonly leaks?: LeakWatch | undefined;
  /** The layer will leave as gzip: it is compressed while it is hashed. */
  readonly asGzip?: boolean | undefined;
}

/** Finds out what committed directories come to. */
export class LayerHasher {
  constructor(
    private readonly services: SolverServices,
    private readonly terms: HashTerms,
  ) {}

  /** The summary of a tree of a few files, at once; `undefined` for a larger one. */
  small(id: LayerId, leaks?: LeakWatch): TarSummary | undefined {
    return hashSmallTree(this.#dir(id), this.#options(leaks));
  }

  async large(id: LayerId, { leaks, asGzip }: HashRequest = {}): Promise<Hashed> {
    const hash = (take: (tar: AsyncIterable<Buffer>) => Promise<void>): Promise<TarSummary> =>
      hashLargeTree(this.#dir(id), this.#options(leaks), this.services.threads, take);
    if (asGzip !== true || this.terms.signal.aborted) return hash(this.#readThrough);
    let blob: Descriptor | undefined;
    try {
      const summary = await hash(async (tar) => {
        blob = await this.#compress(tar);
      });
      return { ...summary, blob };
    } catch (error) {
      if (!this.terms.signal.aborted) throw error;
      // Of a build that was stopped only the result of the step is kept.
      return hash(this.#readThrough);
    }
  }

  /** Hash of a tree without its times. */
  digest(id: LayerId): Promise<Digest> {
    return treeDigest(this.#dir(id), this.#options(), this.services.threads, this.#readThrough);
  }

  /** Looks for the places of secrets in a tree that holds some, and tells of them. */
  async tellOfLeaks(id: LayerId, leaks: LeakWatch): Promise<void> {
    const { findNeedles } = this.services.threads.remote<typeof layerTasks>('layer');
    const values = leaks.secrets.map(({ value }) => value);
    for (const { path, needle } of await findNeedles(this.#dir(id), this.#options(), values))
      leaks.found(path, leaks.secrets[needle]?.id ?? '');
  }

  readonly #readThrough = async (tar: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of untilAborted(tar, this.terms.patience)) void chunk;
  };

  async #compress(tar: AsyncIterable<Buffer>): Promise<Descriptor> {
    const { content, lease, threads } = this.services;
    const { compressTar } = await import('../layer/compress');
    const stored = await content.ingest(
      compressTar(untilAborted(tar, this.terms.signal), { type: 'gzip' }, threads),
      undefined,
      (digest) => lease.hold({ blobs: [digest] }),
    );
    return { mediaType: MediaType.ociLayerGzip, ...stored };
  }

  #dir(id: LayerId): string {
    return toRaw(this.services.snapshots.layerDir(id));
  }

  #options(leaks?: LeakWatch): TreeOptions {
    return {
      xattrs: this.services.xattrs,
      clampMtime: this.terms.sourceDateEpoch,
      needles: leaks?.secrets.map(({ value }) => value),
    };
  }
}

async function* untilAborted(
  source: AsyncIterable<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}
