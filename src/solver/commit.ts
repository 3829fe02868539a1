import {
  divergedResult,
  hashValue,
  type CacheKey,
  type KeyInput,
  type ResultId,
} from '../cache/key';
import { familyOf } from '../cache/file-cache';
import type { CacheRecord, RecordedLayer } from '../cache/record';
import type { RemoteResult } from '../cache/remote/caches';
import type { LayerRecord } from '../images/store/layer-index';
import { recordLayer } from '../images/store/record-layer';
import { restoreLayer } from '../images/store/trust';
import { hashLargeTree, hashSmallTree, treeDigest } from '../layer/diff';
import type { TreeOptions } from '../layer/entries';
import type { TarSummary } from '../layer/layer';
import type { layerTasks } from '../layer/tasks';
import { toRaw } from '../linux/paths';
import { bootId } from '../linux/process';
import { chainIds, type Digest } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { MediaType } from '../oci/media-types';
import type { ActiveSnapshot, LayerId, Stack } from '../snapshot/snapshotter';
import type { SolverServices } from './solver';
import type { LeakWatch } from './leaks';
import type { Tree, TreeLayer } from './tree';

/** A step that was run, about to be committed. */
export interface Executed {
  readonly key: CacheKey;
  readonly input: KeyInput;
  /** Another key whose result may be the same: that of the step as it was before it was edited. */
  readonly earlierKey?: CacheKey | undefined;
  /** The build that ran it. */
  readonly build?: string | undefined;
  /** What must not be in the layer, and whom to tell when it is. */
  readonly leaks?: LeakWatch | undefined;
  /** The layer will leave as gzip: it is compressed while it is hashed. */
  readonly leavesAsGzip?: boolean | undefined;
  /** What the layer comes to, where that is being found out already. */
  readonly hashed?: Promise<TarSummary> | undefined;
}

/** A result that was found, and the tree that it is. */
export interface FoundResult {
  readonly record: CacheRecord;
  readonly tree: Tree;
  /** Of a cache elsewhere: how messages name it, and the bytes that its layer has there. */
  readonly remote?: { readonly from: string; readonly bytes: number } | undefined;
}

/** What a layer comes to, and the blob that was made of it on the way. */
interface Hashed extends TarSummary {
  readonly blob?: Descriptor | undefined;
}

/** A committed step. */
export interface Made {
  readonly tree: Tree;
  /** Resolves when the layer is hashed and recorded. */
  readonly record: Promise<CacheRecord>;
  /** True when an earlier result was the same and was taken instead. */
  readonly kept: boolean;
}

/**
 * Turns upper directories into recorded layers, and finds recorded ones again. Hashing goes on while later steps run:
 * they need the directory, not its digest.
 */
export class Committer {
  readonly #pending = new Set<Promise<unknown>>();
  readonly #surplus = new Set<LayerId>();

  /**
   * @param signal ends what only saves time later.
   * @param patience ends hashing as well, and with it what cannot be recorded without its hash.
   */
  constructor(
    private readonly services: SolverServices,
    private readonly sourceDateEpoch: number | undefined,
    private readonly signal: AbortSignal,
    private readonly patience: AbortSignal = signal,
  ) {}

  /** Waits for everything under way, then deletes directories that an equal layer made surplus. */
  async settled(): Promise<void> {
    const results = await Promise.allSettled([...this.#pending]);
    for (const id of this.#surplus) this.services.snapshots.remove(id);
    this.#surplus.clear();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** The recorded result of a key on a parent, if its layer is in the store and can be trusted; else that of a cache elsewhere. */
  async lookup(key: CacheKey, parent: Tree): Promise<FoundResult | undefined> {
    const record = this.services.cache.get(key);
    const own = record === undefined ? undefined : await this.#revive(record, parent);
    if (own !== undefined || this.services.remote === undefined) return own;
    for (const result of await this.services.remote.find(key)) {
      const found = await this.#adopt(result, parent);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * A result from elsewhere becomes one of the store when its layers are there, which are fetched when they are asked for. One that was made on
   * other layers is none: what a step leaves elsewhere under the same key need not be the same.
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
      return { record, tree: { ...parent, result: record.result }, remote };
    }
    const layers = withLayer(await parent.layers, record.layer.diffId);
    if (layers.at(-1)?.chainId !== record.layer.chainId) return undefined;
    let fetching: Promise<Stack> | undefined;
    const stack = (): Promise<Stack> => (fetching ??= this.#fetch(layers, record));
    return {
      record,
      tree: { result: record.result, stack, layers: Promise.resolve(layers) },
      remote,
    };
  }

  async #fetch(layers: readonly TreeLayer[], record: CacheRecord): Promise<Stack> {
    if (this.services.remote === undefined) throw new Error('a layer from nowhere');
    const stack = await this.services.remote.stack(layers);
    this.services.cache.put(record);
    return stack;
  }

  async #revive(record: CacheRecord, parent: Tree): Promise<FoundResult | undefined> {
    if (record.layer === undefined) return { record, tree: { ...parent, result: record.result } };
    const layers = withLayer(await parent.layers, record.layer.diffId);
    const top = layers.at(-1);
    if (top === undefined) return undefined;
    const found = this.#held(top);
    if (found === undefined || !(await restoreLayer(found, this.services))) return undefined;
    return {
      record,
      tree: {
        result: record.result,
        stack: async () => [...(await parent.stack()), found.id],
        layers: Promise.resolve(layers),
      },
    };
  }

  /** A layer of the index that is kept from collection before it is looked at for good. */
  #held(layer: TreeLayer): LayerRecord | undefined {
    const seen = this.services.layers.get(layer.chainId);
    if (seen === undefined) return undefined;
    this.services.lease.hold({ layers: [seen.id] });
    return this.services.layers.get(layer.chainId);
  }

  /**
   * Freezes what a step wrote. The tree is ready on return; hashing and recording go on. Only where an earlier result may be
   * the same (the key is known already, or a step of its family is) the hash is waited for, and the earlier layer is taken.
   */
  async commit(
    active: ActiveSnapshot,
    parent: Tree,
    executed: Executed,
    durationMs: number,
  ): Promise<Made> {
    const created = new Date(
      this.sourceDateEpoch === undefined ? Date.now() : this.sourceDateEpoch * 1000,
    ).toISOString();
    this.services.lease.hold({ layers: [active.id] });
    const stack = this.services.snapshots.commit(active);
    const small = this.#hashSmall(active.id, executed.leaks);
    if (small?.entries === 0)
      return this.#commitNothing(active.id, parent, executed, created, durationMs);

    const earlier = this.#earlierResults(executed);
    // What may turn out to be there already is not compressed for nothing.
    const asGzip = executed.leavesAsGzip === true && earlier.length === 0;
    const hash = (): Promise<Hashed> => this.#hash(active.id, executed.leaks, asGzip);
    // That may have been stopped, where it now is a matter of patience.
    const ahead =
      executed.leaks === undefined && !asGzip ? executed.hashed?.catch(hash) : undefined;
    const hashed = this.#track(
      (small === undefined ? (ahead ?? hash()) : Promise.resolve<Hashed>(small))
        .then(async (summary) => {
          if (executed.leaks !== undefined && summary.found?.length !== 0)
            await this.#tellOfLeaks(active.id, executed.leaks);
          return summary;
        })
        .catch((error: unknown) => {
          // What cannot be read makes no layer.
          this.#surplus.add(active.id);
          throw error;
        }),
    );
    const twin =
      earlier.length === 0 ? undefined : await this.#twin(active.id, parent, earlier, await hashed);
    if (twin !== undefined) {
      this.services.snapshots.remove(active.id);
      const record: CacheRecord = {
        ...twin.record,
        key: executed.key,
        input: executed.input,
        durationMs,
        build: executed.build,
      };
      this.services.cache.put(record);
      return { tree: twin.tree, record: Promise.resolve(record), kept: true };
    }
    const result = await this.#resultOf(executed.key, hashed);
    const recorded = this.#track(
      this.#record(active.id, parent, executed, result, hashed, created, durationMs),
    );
    const layers = reportedElsewhere(recorded.then(({ layers: made }) => made));
    return {
      tree: { result, stack: () => Promise.resolve(stack), layers },
      record: reportedElsewhere(recorded.then(({ record }) => record)),
      kept: false,
    };
  }

  #commitNothing(
    id: LayerId,
    parent: Tree,
    executed: Executed,
    created: string,
    durationMs: number,
  ): Made {
    this.services.snapshots.remove(id);
    // The tree is the parent's; so is what it holds.
    const record: CacheRecord = {
      version: 1,
      key: executed.key,
      input: executed.input,
      result: parent.result,
      created,
      durationMs,
      build: executed.build,
    };
    this.services.cache.put(record);
    return { tree: parent, record: Promise.resolve(record), kept: false };
  }

  /** What later keys name a result by: a step that was run again and left something else has another one. */
  async #resultOf(key: CacheKey, hashed: Promise<TarSummary>): Promise<ResultId> {
    const known = this.services.cache.get(key);
    if (known === undefined) return key as string as ResultId;
    const { diffId } = await hashed;
    return known.layer?.diffId === diffId ? known.result : divergedResult(key, diffId);
  }

  #earlierResults(executed: Executed): CacheRecord[] {
    const same = this.services.cache.get(executed.key);
    const family = familyOf(executed.input);
    const before =
      executed.earlierKey === undefined ? undefined : this.services.cache.get(executed.earlierKey);
    const edited =
      before !== undefined && mayLeaveTheSame(before.input, executed.input) ? [before] : [];
    const earlier = [
      ...(same === undefined ? [] : [same]),
      ...edited,
      ...(family === undefined ? [] : this.services.cache.candidates(family)),
    ];
    // What was built for another SOURCE_DATE_EPOCH, or for none, has other times: its digest is not the one that is asked for.
    return earlier.filter(
      (record) => record.input.inputs['sourceDateEpoch'] === this.sourceDateEpoch,
    );
  }

  /** An earlier result on the same parent whose layer holds the same, times aside. */
  async #twin(
    id: LayerId,
    parent: Tree,
    earlier: readonly CacheRecord[],
    hashed: TarSummary,
  ): Promise<FoundResult | undefined> {
    let ours: Digest | undefined;
    for (const record of earlier) {
      if (record.layer === undefined || record.layer.contentSize !== hashed.contentSize) continue;
      const revived = await this.#revive(record, parent);
      const theirs = (await revived?.tree.stack())?.at(-1);
      if (revived === undefined || theirs === undefined) continue;
      ours ??= await this.#digest(id);
      if (ours === (await this.#treeDigest(record, record.layer, theirs))) return revived;
    }
    return undefined;
  }

  async #treeDigest(record: CacheRecord, layer: RecordedLayer, id: LayerId): Promise<string> {
    if (layer.treeDigest !== undefined) return layer.treeDigest;
    const digest = await this.#digest(id);
    this.services.cache.put({ ...record, layer: { ...layer, treeDigest: digest } });
    return digest;
  }

  #digest(id: LayerId): Promise<Digest> {
    return treeDigest(this.#dir(id), this.#options(), this.services.threads, this.#readThrough);
  }

  async #record(
    id: LayerId,
    parent: Tree,
    executed: Executed,
    result: ResultId,
    hashed: Promise<Hashed>,
    created: string,
    durationMs: number,
  ): Promise<{ readonly record: CacheRecord; readonly layers: readonly TreeLayer[] }> {
    const summary = await hashed;
    const below = await parent.layers;
    const layers = withLayer(below, summary.diffId);
    const top = layers.at(-1);
    if (top === undefined) throw new Error('a layer without a chain');
    const kept = recordLayer(
      {
        chainId: top.chainId,
        parent: below.at(-1)?.chainId,
        id,
        diffId: summary.diffId,
        size: summary.size,
        contentSize: summary.contentSize,
        ...(this.sourceDateEpoch === undefined ? {} : { clampMtime: this.sourceDateEpoch }),
        blobs: summary.blob === undefined ? [] : [summary.blob],
        madeBy: executed.key,
        boot: bootId(),
        synced: false,
      },
      this.services.layers,
      this.services.lease,
    );
    // Later steps of this build stand on our directory; it goes when they are done.
    if (kept.id !== id) {
      this.#surplus.add(id);
      if (summary.blob !== undefined) this.services.layers.addBlob(top.chainId, summary.blob);
    }
    const layer: RecordedLayer = {
      diffId: summary.diffId,
      chainId: top.chainId,
      size: summary.size,
      contentSize: summary.contentSize,
    };
    const record: CacheRecord = {
      version: 1,
      key: executed.key,
      input: executed.input,
      result,
      layer,
      created,
      durationMs,
      build: executed.build,
    };
    this.services.cache.put(record);
    return { record, layers };
  }

  #hashSmall(id: LayerId, leaks: LeakWatch | undefined): TarSummary | undefined {
    try {
      return hashSmallTree(this.#dir(id), this.#options(leaks));
    } catch (error) {
      this.services.snapshots.remove(id);
      throw error;
    }
  }

  async #hash(id: LayerId, leaks: LeakWatch | undefined, asGzip: boolean): Promise<Hashed> {
    let blob: Descriptor | undefined;
    const compress = async (tar: AsyncIterable<Buffer>): Promise<void> => {
      blob = await this.#compress(tar);
    };
    const hash = (take: typeof compress): Promise<TarSummary> =>
      hashLargeTree(this.#dir(id), this.#options(leaks), this.services.threads, take);
    if (!asGzip || this.signal.aborted) return hash(this.#readThrough);
    try {
      return { ...(await hash(compress)), blob };
    } catch (error) {
      if (!this.signal.aborted) throw error;
      // Of a build that was stopped only the result of the step is kept.
      return hash(this.#readThrough);
    }
  }

  readonly #readThrough = async (tar: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of untilAborted(tar, this.patience)) void chunk;
  };

  async #compress(tar: AsyncIterable<Buffer>): Promise<Descriptor> {
    const { content, lease, threads } = this.services;
    const { compressTar } = await import('../layer/compress');
    const stored = await content.ingest(
      compressTar(untilAborted(tar, this.signal), { type: 'gzip' }, threads),
      undefined,
      (digest) => lease.hold({ blobs: [digest] }),
    );
    return { mediaType: MediaType.ociLayerGzip, ...stored };
  }

  async #tellOfLeaks(id: LayerId, leaks: LeakWatch): Promise<void> {
    const { findNeedles } = this.services.threads.remote<typeof layerTasks>('layer');
    const places = await findNeedles(
      this.#dir(id),
      this.#options(),
      leaks.secrets.map(({ value }) => value),
    );
    for (const { path, needle } of places) leaks.found(path, leaks.secrets[needle]?.id ?? '');
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    work.catch(() => undefined); // settled() reports it
    return work;
  }

  #dir(id: LayerId): string {
    return toRaw(this.services.snapshots.layerDir(id));
  }

  #options(leaks?: LeakWatch): TreeOptions {
    return {
      xattrs: this.services.xattrs,
      clampMtime: this.sourceDateEpoch,
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

/** Two steps on one tree may; but copies of different sources do not, unless --chmod makes them alike. */
function mayLeaveTheSame(a: KeyInput, b: KeyInput): boolean {
  if (a.parent !== b.parent || a.kind !== b.kind) return false;
  return (
    a.kind !== 'copy' ||
    b.inputs['chmod'] !== undefined ||
    hashValue(a.inputs['sources']) === hashValue(b.inputs['sources'])
  );
}

/** A promise whose failure {@link Committer.settled} tells of as well, so that it need not be looked at. */
export function reportedElsewhere<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** The layers of a tree with one more on top. */
function withLayer(layers: readonly TreeLayer[], diffId: TreeLayer['diffId']): TreeLayer[] {
  const chainId = chainIds([...layers.map((layer) => layer.diffId), diffId]).at(-1);
  if (chainId === undefined) throw new Error('a stack of layers without a chain');
  return [...layers, { diffId, chainId }];
}
