import { randomBytes } from 'node:crypto';
import {
  divergedResult,
  hashValue,
  type CacheKey,
  type KeyInput,
  type ResultId,
} from '../cache/key';
import { familyOf } from '../cache/file-cache';
import type { CacheRecord, RecordedLayer } from '../cache/record';
import { recordLayer } from '../images/store/record-layer';
import type { TarSummary } from '../layer/layer';
import { bootId } from '../linux/process';
import type { Digest } from '../oci/digest';
import type { ActiveSnapshot, LayerId } from '../snapshot/snapshotter';
import type { Hashed, LayerHasher } from './layer-hasher';
import type { LeakWatch } from './leaks';
import { withLayer, type FoundResult, type ResultFinder } from './results';
import type { SolverServices } from './services';
import type { Tree, TreeLayer } from './tree';

/** A step that was run, about to be committed. */
export interface Executed {
  readonly key: CacheKey;
  readonly input: KeyInput;
  readonly durationMs: number;
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
  /** The command failed, and its tree is for this build alone: no later build may find it. */
  readonly taken?: boolean | undefined;
}

/** A committed directory that is on its way to being a result. */
interface Commit {
  readonly id: LayerId;
  readonly parent: Tree;
  readonly executed: Executed;
  /** What its cache record says, whatever comes of it. */
  readonly facts: Pick<
    CacheRecord,
    'version' | 'key' | 'input' | 'created' | 'durationMs' | 'build'
  >;
}

/** A committed step. */
export interface Made {
  readonly tree: Tree;
  /** Resolves when the layer is hashed and recorded. */
  readonly record: Promise<CacheRecord>;
  /** True when an earlier result was the same and was taken instead. */
  readonly kept: boolean;
}

/** What was recorded of a commit. */
interface Recorded {
  readonly record: CacheRecord;
  readonly layers: readonly TreeLayer[];
}

/**
 * Turns upper directories into recorded layers. Hashing goes on while later steps run: they need
 * the directory, not its digest.
 */
export class Committer {
  readonly #pending = new Set<Promise<unknown>>();
  readonly #surplus = new Set<LayerId>();

  /** @param sourceDateEpoch which the hasher has as well. */
  constructor(
    private readonly services: SolverServices,
    private readonly results: ResultFinder,
    private readonly hasher: LayerHasher,
    private readonly sourceDateEpoch: number | undefined,
  ) {}

  /** Waits for everything under way, then deletes directories that an equal layer made surplus. */
  async settled(): Promise<void> {
    const results = await Promise.allSettled([...this.#pending]);
    for (const id of this.#surplus) this.services.snapshots.remove(id);
    this.#surplus.clear();
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /**
   * Freezes what a step wrote. The tree is ready on return; hashing and recording go on. Only where
   * an earlier result may be the same (the key is known already, or a step of its family is) the
   * hash is waited for, and the earlier layer is taken.
   */
  async commit(active: ActiveSnapshot, parent: Tree, executed: Executed): Promise<Made> {
    const { key, input, durationMs, build } = executed;
    const created = new Date().toISOString();
    const facts = { version: 1, key, input, created, durationMs, build } as const;
    const commit: Commit = { id: active.id, parent, executed, facts };
    this.services.lease.hold({ layers: [active.id] });
    const stack = this.services.snapshots.commit(active);
    const small = this.#hashSmall(commit);
    if (small?.entries === 0) return this.#commitNothing(commit);

    const earlier = executed.taken === true ? [] : this.#earlierResults(executed);
    const hashed = this.#track(this.#hash(commit, small, earlier.length > 0));
    const twin = earlier.length === 0 ? undefined : await this.#twin(commit, earlier, await hashed);
    if (twin !== undefined) return this.#takeTwin(commit, twin);

    const result = executed.taken === true ? ownResult(key) : await this.#resultOf(key, hashed);
    const recorded = this.#track(this.#record(commit, result, hashed));
    const layers = reportedElsewhere(recorded.then(({ layers: made }) => made));
    return {
      tree: { result, stack: () => Promise.resolve(stack), layers },
      record: reportedElsewhere(recorded.then(({ record }) => record)),
      kept: false,
    };
  }

  /** The tree is the parent's; so is what it holds. */
  #commitNothing({ id, parent, facts, executed }: Commit): Made {
    this.services.snapshots.remove(id);
    if (executed.taken === true) {
      const result = ownResult(facts.key);
      const record: CacheRecord = { ...facts, result };
      return { tree: { ...parent, result }, record: Promise.resolve(record), kept: false };
    }
    const record: CacheRecord = { ...facts, result: parent.result };
    this.services.cache.put(record);
    return { tree: parent, record: Promise.resolve(record), kept: false };
  }

  #takeTwin({ id, facts }: Commit, twin: FoundResult): Made {
    this.services.snapshots.remove(id);
    const record: CacheRecord = { ...twin.record, ...facts, created: twin.record.created };
    this.services.cache.put(record);
    return { tree: twin.tree, record: Promise.resolve(record), kept: true };
  }

  #hashSmall({ id, executed }: Commit): TarSummary | undefined {
    try {
      return this.hasher.small(id, executed.leaks);
    } catch (error) {
      this.services.snapshots.remove(id);
      throw error;
    }
  }

  /**
   * @param small the summary of a small tree, which is known.
   * @param mayBeThere it may turn out that the store has the same.
   */
  async #hash(
    { id, executed }: Commit,
    small: TarSummary | undefined,
    mayBeThere: boolean,
  ): Promise<Hashed> {
    const { leaks } = executed;
    // What may turn out to be there already is not compressed for nothing.
    const asGzip = executed.leavesAsGzip === true && !mayBeThere;
    const hash = (): Promise<Hashed> => this.hasher.large(id, { leaks, asGzip });
    try {
      // What was begun ahead may have been stopped, where it now is a matter of patience.
      const ahead = leaks === undefined && !asGzip ? executed.hashed?.catch(hash) : undefined;
      const summary = small ?? (await (ahead ?? hash()));
      if (leaks !== undefined && summary.found?.length !== 0)
        await this.hasher.tellOfLeaks(id, leaks);
      return summary;
    } catch (error) {
      // What cannot be read makes no layer.
      this.#surplus.add(id);
      throw error;
    }
  }

  /**
   * What later keys name a result by: a step that was run again and left something else has another
   * one.
   */
  async #resultOf(key: CacheKey, hashed: Promise<TarSummary>): Promise<ResultId> {
    const known = this.services.cache.get(key);
    if (known === undefined) return key as string as ResultId;
    const { diffId } = await hashed;
    return known.layer?.diffId === diffId ? known.result : divergedResult(key, diffId);
  }

  #earlierResults(executed: Executed): CacheRecord[] {
    const { cache } = this.services;
    const same = cache.get(executed.key);
    const family = familyOf(executed.input);
    const before = executed.earlierKey === undefined ? undefined : cache.get(executed.earlierKey);
    const edited =
      before !== undefined && mayLeaveTheSame(before.input, executed.input) ? [before] : [];
    return [
      ...(same === undefined ? [] : [same]),
      ...edited,
      ...(family === undefined ? [] : cache.candidates(family)),
    ];
  }

  /** An earlier result on the same parent whose layer holds the same, times aside. */
  async #twin(
    { id, parent }: Commit,
    earlier: readonly CacheRecord[],
    hashed: TarSummary,
  ): Promise<FoundResult | undefined> {
    let ours: Digest | undefined;
    for (const record of earlier) {
      if (record.layer === undefined || record.layer.contentSize !== hashed.contentSize) continue;
      const revived = await this.results.revive(record, parent);
      const theirs = (await revived?.tree.stack())?.at(-1);
      if (revived === undefined || theirs === undefined) continue;
      ours ??= await this.hasher.digest(id);
      if (ours === (await this.#treeDigest(revived.record, theirs))) return revived;
    }
    return undefined;
  }

  async #treeDigest(record: CacheRecord, id: LayerId): Promise<string> {
    if (record.layer?.treeDigest !== undefined) return record.layer.treeDigest;
    const treeDigest = await this.hasher.digest(id);
    if (record.layer !== undefined)
      this.services.cache.put({ ...record, layer: { ...record.layer, treeDigest } });
    return treeDigest;
  }

  async #record(commit: Commit, result: ResultId, hashed: Promise<Hashed>): Promise<Recorded> {
    const { id, parent, facts, executed } = commit;
    const { blob, diffId, size, contentSize } = await hashed;
    const below = await parent.layers;
    const { layers, chainId } = withLayer(below, diffId);
    const kept = recordLayer(
      {
        chainId,
        parent: below.at(-1)?.chainId,
        id,
        diffId,
        size,
        contentSize,
        clampMtime: this.sourceDateEpoch,
        blobs: blob === undefined ? [] : [blob],
        madeBy: executed.taken === true ? undefined : facts.key,
        boot: bootId(),
        synced: false,
      },
      this.services.layers,
      this.services.lease,
    );
    // Later steps of this build stand on our directory; it goes when they are done.
    if (kept.id !== id) {
      this.#surplus.add(id);
      if (blob !== undefined) this.services.layers.addBlob(chainId, blob);
    }
    const clampMtime = this.sourceDateEpoch;
    const layer: RecordedLayer = { diffId, chainId, size, contentSize, clampMtime };
    const record: CacheRecord = { ...facts, result, layer };
    if (executed.taken !== true) this.services.cache.put(record);
    return { record, layers };
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#pending.add(work);
    work.catch(() => undefined); // settled() reports it
    return work;
  }
}

/** A result that no other build has: what stands on it is found by none either. */
function ownResult(key: CacheKey): ResultId {
  return divergedResult(key, `sha256:${randomBytes(32).toString('hex')}`);
}

/**
 * Two steps on one tree may; but copies of different sources do not, unless --chmod makes them
 * alike.
 */
function mayLeaveTheSame(a: KeyInput, b: KeyInput): boolean {
  if (a.parent !== b.parent || a.kind !== b.kind) return false;
  return (
    a.kind !== 'copy' ||
    b.inputs['chmod'] !== undefined ||
    hashValue(a.inputs['sources']) === hashValue(b.inputs['sources'])
  );
}

/**
 * A promise whose failure {@link Committer.settled} tells of as well, so that it need not be looked
 * at.
 */
export function reportedElsewhere<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}
