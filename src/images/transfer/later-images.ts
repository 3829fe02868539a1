import { chainIds, type ChainID, type Digest, type DiffID } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { withRow, type VertexId } from '../../progress/events';
import { blobsIn, downloadBlob } from '../../registry/download';
import type { Catalog, ImageSource, RemoteBlob, Repository } from '../../registry/registry';
import type { Stack } from '../../snapshot/snapshotter';
import type { LaterImage } from './resolve';
import { limiter, type Transfer } from './transfer';

/** What images that are fetched later are fetched with. */
export interface LaterSetting extends Pick<Transfer, 'services' | 'lease' | 'scope'> {
  readonly registry: ImageSource & Catalog;
  readonly newVertex: () => VertexId;
}

/** A layer, and the repository that has it. */
interface PlacedLayer {
  readonly repository: Repository;
  readonly blob: Descriptor;
}

/**
 * Images of FROM whose layers are fetched when something needs them: a step that is run on them, or
 * an output that takes files. What leaves as
 * blobs takes the blobs alone, and a registry that has them is sent nothing.
 */
export class LaterImages {
  /** By the chain of all of an image's layers. */
  readonly #pulls = new Map<ChainID, () => Promise<Stack>>();
  readonly #layers = new Map<DiffID, PlacedLayer>();
  readonly #fetching = new Map<Digest, Promise<void>>();
  /** One at a time: images may share layers. */
  readonly #inTurn = limiter(1);

  constructor(private readonly setting: LaterSetting) {}

  /**
   * @returns what fetches and unpacks the image's layers, once. @param name as it is written, for
   * progress.
   */
  add(name: string, image: LaterImage): () => Promise<Stack> {
    const { config, manifest } = image.described;
    const { registry, repository } = image.ref;
    config.rootfs.diff_ids.forEach((diffId, i) => {
      const blob = manifest.layers[i];
      if (blob !== undefined)
        this.#layers.set(diffId, { repository: { registry, repository }, blob });
    });
    const top = chainIds(config.rootfs.diff_ids).at(-1);
    const known = top === undefined ? undefined : this.#pulls.get(top);
    if (known !== undefined) return known;
    let pulled: Promise<Stack> | undefined;
    const pull = (): Promise<Stack> => (pulled ??= this.#pull(name, image));
    if (top !== undefined) this.#pulls.set(top, pull);
    return pull;
  }

  /** Fetches the image that a stack of layers begins with, if it is one of these. */
  async pullBelow(chains: readonly ChainID[]): Promise<void> {
    const pull = chains.flatMap((chain) => this.#pulls.get(chain) ?? []).at(-1);
    await pull?.();
  }

  /** A layer as a blob that can be written elsewhere. */
  outgoing(diffId: DiffID): RemoteBlob | undefined {
    const found = this.#layers.get(diffId);
    if (found === undefined) return undefined;
    const { repository, blob } = found;
    return { descriptor: blob, repository, open: (start) => this.#open(found, start) };
  }

  #pull(name: string, image: LaterImage): Promise<Stack> {
    const { services, lease, scope, newVertex } = this.setting;
    return this.#inTurn(() =>
      withRow(`pulling ${name}`, newVertex(), scope, async (vertex) => {
        const { stack } = await image.pull({ services, vertex, scope });
        lease.hold({ layers: stack });
        return stack;
      }),
    );
  }

  async *#open({ repository, blob }: PlacedLayer, start: number): AsyncGenerator<Uint8Array> {
    const { services, lease, registry, scope } = this.setting;
    const { content, patience } = services;
    lease.hold({ blobs: [blob.digest] });
    const fetching =
      this.#fetching.get(blob.digest) ??
      downloadBlob(blob, blobsIn(repository, registry), {
        content,
        patience,
        signal: scope.signal,
      });
    this.#fetching.set(blob.digest, fetching);
    await fetching.finally(() => this.#fetching.delete(blob.digest));
    yield* content.open(blob.digest, { start }) as AsyncIterable<Uint8Array>;
  }
}
