import type { CacheKey } from '../cache/key';
import type { CacheRecord, RecordedLayer } from '../cache/record';
import type { RemoteResult } from '../cache/remote/caches';
import type { LayerRecord } from '../images/store/layer-index';
import { recordLayer } from '../images/store/record-layer';
import { restoreLayer } from '../images/store/trust';
import { toRaw } from '../linux/paths';
import { chainIds, type ChainID } from '../oci/digest';
import type { Stack } from '../snapshot/snapshotter';
import type { LayerHasher } from './layer-hasher';
import type { SolverServices } from './services';
import { treeWith, type Tree, type TreeLayer } from './tree';

/** A result that was found, and the tree that it is. */
export interface FoundResult {
  readonly record: CacheRecord;
  readonly tree: Tree;
  /** Of a cache elsewhere: how messages name it, and the bytes that its layer has there. */
  readonly remote?: { readonly from: string; readonly bytes: number } | undefined;
}

/** Finds what steps left earlier: in the store, else in the caches elsewhere. */
export class ResultFinder {
  /**
   * @param sourceDateEpoch seconds since the epoch, which the hasher has as well: layers that were
   * made for another one get these times.
   */
  constructor(
    private readonly services: SolverServices,
    private readonly hasher: LayerHasher,
    private readonly sourceDateEpoch: number | undefined,
  ) {}

  /**
   * The recorded result of a key on a parent, if its layer is in the store and can be trusted; else
   * that of a cache elsewhere.
   */
  async lookup(key: CacheKey, parent: Tree): Promise<FoundResult | undefined> {
    const record = this.services.cache.get(key);
    const own = record === undefined ? undefined : await this.revive(record, parent);
    if (own !== undefined || this.services.remote === undefined) return own;
    for (const result of await this.services.remote.find(key)) {
      const found = await this.#adopt(result, parent);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** The result of a record at hand, if its layer is in the store and can be trusted. */
  async revive(record: CacheRecord, parent: Tree): Promise<FoundResult | undefined> {
    if (record.layer === undefined)
      return { record, tree: treeWith(parent, { result: record.result }) };
    const below = await parent.layers;
    const { layers, chainId } = withLayer(below, record.layer.diffId);
    const there = await this.#trusted(chainId);
    if (there !== undefined && there.clampMtime === this.sourceDateEpoch)
      return found(record, parent, layers, there);
    return this.#retimed(record, record.layer, parent);
  }

  /**
   * A layer that was made for another SOURCE_DATE_EPOCH, or for none, is the same directory with
   * other times in its tar: nothing is run for it. The directory has the times as they were, so
   * that it can be hashed for any.
   */
  async #retimed(
    record: CacheRecord,
    layer: RecordedLayer,
    parent: Tree,
  ): Promise<FoundResult | undefined> {
    const source = await this.#trusted(layer.chainId);
    if (source === undefined) return undefined;
    const below = await parent.layers;
    const { diffId, size, contentSize } =
      this.hasher.small(source.id) ?? (await this.hasher.large(source.id));
    const { layers, chainId } = withLayer(below, diffId);
    const { clampMtime: _clamp, blobs, ...rest } = source;
    const made: LayerRecord = {
      ...rest,
      chainId,
      parent: below.at(-1)?.chainId,
      diffId,
      size,
      contentSize,
      clampMtime: this.sourceDateEpoch,
      blobs: diffId === source.diffId ? blobs : [],
    };
    const kept = recordLayer(made, this.services.layers, this.services.lease);
    // Where all is older, its tar is the same for this epoch: the next build need not look.
    if (kept.clampMtime !== this.sourceDateEpoch)
      this.services.layers.replace({ ...kept, clampMtime: this.sourceDateEpoch });
    const clampMtime = this.sourceDateEpoch;
    const now = { ...record, layer: { ...layer, diffId, chainId, size, contentSize, clampMtime } };
    this.services.cache.put(now);
    return found(now, parent, layers, kept);
  }

  /**
   * A result from elsewhere becomes one of the store when its layers are there, which are fetched
   * when they are asked for. One that was made on other layers is none: what a step leaves
   * elsewhere under the same key need not be the same.
   */
  async #adopt(
    {
      record: { stage: _stage, index: _index, line: _line, text: _text, ...rest },
      from,
      bytes,
    }: RemoteResult,
    parent: Tree,
  ): Promise<FoundResult | undefined> {
    const record: CacheRecord = { version: 1, ...rest };
    const remote = { from, bytes };
    if (record.layer === undefined) {
      this.services.cache.put(record);
      return { record, tree: treeWith(parent, { result: record.result }), remote };
    }
    const below = parent.former ?? (await parent.layers);
    const { layers, chainId } = withLayer(below, record.layer.diffId);
    if (chainId !== record.layer.chainId) return undefined;
    if (parent.former !== undefined || record.layer.clampMtime !== this.sourceDateEpoch)
      return { record, tree: this.#formerTree(record, record.layer, layers, parent), remote };
    let fetching: Promise<Stack> | undefined;
    const stack = (): Promise<Stack> => (fetching ??= this.#fetch(layers, record));
    return {
      record,
      tree: { result: record.result, stack, layers: Promise.resolve(layers) },
      remote,
    };
  }

  /**
   * The tree of a result that was made elsewhere for another SOURCE_DATE_EPOCH. Its layers are
   * fetched and hashed for this one when they are asked for.
   */
  #formerTree(
    record: CacheRecord,
    layer: RecordedLayer,
    former: readonly TreeLayer[],
    parent: Tree,
  ): Tree {
    let made: Promise<Tree> | undefined;
    const make = async (): Promise<Tree> => {
      await this.#fetchFormer(layer, former);
      const retimed = await this.#retimed(record, layer, parent);
      if (retimed === undefined) throw new Error('a layer from nowhere');
      return retimed.tree;
    };
    const tree = (): Promise<Tree> => (made ??= make());
    return {
      result: record.result,
      former,
      stack: async () => (await tree()).stack(),
      get layers() {
        return tree().then(({ layers }) => layers);
      },
    };
  }

  /**
   * Fetches a layer of another SOURCE_DATE_EPOCH. Files that have just that time were made later:
   * they get the present, so that the directory can be hashed for any, as one that was made here.
   */
  async #fetchFormer(
    { chainId, clampMtime }: RecordedLayer,
    former: readonly TreeLayer[],
  ): Promise<void> {
    if (this.services.remote === undefined) throw new Error('a layer from nowhere');
    await this.services.remote.stack(former);
    const fetched = this.services.layers.get(chainId);
    if (fetched === undefined || clampMtime === undefined || fetched.clampMtime !== undefined)
      return;
    const { loosenTimes } = await import('./loosen-times');
    // First the record: until the times are set, the directory is the same for this one too.
    this.services.layers.replace({ ...fetched, clampMtime });
    loosenTimes(toRaw(this.services.snapshots.layerDir(fetched.id)), clampMtime);
  }

  async #fetch(layers: readonly TreeLayer[], record: CacheRecord): Promise<Stack> {
    if (this.services.remote === undefined) throw new Error('a layer from nowhere');
    const stack = await this.services.remote.stack(layers);
    this.services.cache.put(record);
    return stack;
  }

  /** A layer of the index that is kept from collection, and is what it was. */
  async #trusted(chainId: ChainID): Promise<LayerRecord | undefined> {
    const seen = this.services.layers.get(chainId);
    if (seen === undefined) return undefined;
    this.services.lease.hold({ layers: [seen.id] });
    // It may have been collected before it was held.
    const layer = this.services.layers.get(chainId);
    return layer !== undefined && (await restoreLayer(layer, this.services)) ? layer : undefined;
  }
}

function found(
  record: CacheRecord,
  parent: Tree,
  layers: readonly TreeLayer[],
  { id }: LayerRecord,
): FoundResult {
  const stack = async (): Promise<Stack> => [...(await parent.stack()), id];
  return { record, tree: { result: record.result, stack, layers: Promise.resolve(layers) } };
}

/** The layers of a tree with one more on top, and the chain that they are. */
export function withLayer(
  below: readonly TreeLayer[],
  diffId: TreeLayer['diffId'],
): { readonly layers: readonly TreeLayer[]; readonly chainId: ChainID } {
  const chainId = chainIds([...below.map((layer) => layer.diffId), diffId]).at(-1);
  if (chainId === undefined) throw new Error('a stack of layers without a chain');
  return { layers: [...below, { diffId, chainId }], chainId };
}
