import type { CacheStore } from '../cache/record';
import { cacheKey, KEY_VERSION, type CacheKey, type KeyInput } from '../cache/key';
import { loadManifest, readManifest, type SelectionManifest } from '../cache/manifest';
import type { Dockerfile } from '../dockerfile/instruction';
import {
  LOOKED_AT,
  stepNumber,
  type BaseRecord,
  type BuildRecord,
  type EarlierStep,
  type StepRecord,
} from './build-record';
import type { Cause } from './cause';
import { compareSteps } from './compare';
import type { BuildHistory } from './file-history';
import { isForAnother, nearestStep, type Found, type PastBuild } from './nearest';

/** A step that was not found in the cache. */
export interface MissedStep {
  readonly stage: string;
  /** `os/architecture[/variant]` */
  readonly platform: string;
  readonly index: number;
  readonly line: number;
  readonly text: string;
  readonly key: CacheKey;
  readonly input: KeyInput;
  /** The step that left the tree it starts on. */
  readonly parent?: { readonly name: string; readonly cached: boolean } | undefined;
  /** The image that its stage starts from, where there is no step before it. */
  readonly base?: BaseRecord | undefined;
}

/** The steps of a build that is under way, as far as earlier builds are searched for them. */
export interface CurrentBuild {
  readonly project: string;
  readonly dockerfile: Dockerfile;
  readonly steps: readonly { readonly stage: string; readonly text: string }[];
  /** Manifests that were made in this build and may not be stored yet. */
  readonly manifests: ReadonlyMap<string, () => Promise<SelectionManifest>>;
}

/** What the caches of builds elsewhere say. */
export interface PastElsewhere {
  imported(): readonly {
    readonly title: string;
    readonly contents: {
      readonly records: readonly ElsewhereStep[];
      readonly bases: readonly BaseRecord[];
    };
  }[];
  /** The stored form of what a selection's digest stands for. */
  selection(digest: string): Promise<Buffer | undefined>;
}

/** A step of a build elsewhere. */
type ElsewhereStep = Pick<StepRecord, 'stage' | 'index' | 'text' | 'key' | 'durationMs'> & {
  readonly input: KeyInput;
};

/** Why a step was missed, and the earlier step that it was compared with. */
export interface Explanation {
  readonly causes: readonly Cause[];
  readonly earlier?: EarlierStep | undefined;
}

/** How many earlier builds of other projects are looked at. */
const LOOKED_AT_ELSEWHERE = 20;

/** Where the past of a build is kept. */
export interface ExplainerStore {
  readonly root: string;
  readonly history: BuildHistory;
  readonly cache: Pick<CacheStore, 'get' | 'evictedAt' | 'isForeign'>;
}

/** Explains the misses of one build. What it needs of the past is read at the first miss. */
export class Explainer {
  readonly #read: BuildRecord[] = [];
  readonly #unread: Iterator<BuildRecord>;

  constructor(
    private readonly store: ExplainerStore,
    private readonly current: CurrentBuild,
    private readonly elsewhere?: PastElsewhere,
  ) {
    this.#unread = this.#past();
  }

  /** Compares a step with the nearest earlier one. */
  async explain(missed: MissedStep): Promise<Explanation> {
    const evictedAt = this.store.cache.evictedAt(missed.key);
    const earlier = nearestStep(missed, this.#all(), this.current.steps);
    const told =
      earlier === undefined
        ? {}
        : {
            earlier: {
              build: earlier.build.id,
              from: earlier.build.from,
              key: earlier.step.key,
              durationMs: earlier.step.durationMs,
            },
          };
    if (evictedAt !== undefined) return { causes: [{ kind: 'evicted', at: evictedAt }], ...told };
    if (this.store.cache.isForeign(missed.key))
      return { causes: [{ kind: 'version', after: KEY_VERSION }], ...told };
    if (earlier === undefined) return { causes: [{ kind: 'first' }] };
    const { from } = earlier.build;
    if (earlier.step.key === missed.key)
      return {
        causes: [from === undefined ? { kind: 'lost' } : { kind: 'elsewhere', from }],
        ...told,
      };
    const { keys } = earlier.build;
    const version: Cause = { kind: 'version', before: keys, after: KEY_VERSION };
    const input = this.#inputOf(earlier);
    if (input === undefined)
      return {
        causes: [
          keys === undefined || keys === KEY_VERSION
            ? {
                kind: 'unknown',
                reason: 'the inputs of the earlier step are no longer on record',
              }
            : version,
        ],
        ...told,
      };
    const own = await compareSteps(
      { text: earlier.step.text, input },
      missed,
      (digest) => this.#manifest(digest),
      { dockerfile: this.current.dockerfile, stage: missed.stage, line: missed.line },
    );
    return { causes: [...own, ...this.#around(missed, earlier, input, version)], ...told };
  }

  /** What differs around the step. */
  #around(missed: MissedStep, earlier: Found, input: KeyInput, version: Cause): readonly Cause[] {
    // What a step starts on is told by keys too.
    if ((cacheKey(input) as string) !== earlier.step.key) return [version];
    if (input.parent === missed.input.parent) return [];
    if (isForAnother(earlier.step, missed))
      return [
        {
          kind: 'setting',
          name: 'platform',
          before: earlier.step.platform,
          after: missed.platform,
        },
      ];
    return [this.#parentCause(missed, earlier)];
  }

  #parentCause(missed: MissedStep, earlier: Found): Cause {
    if (missed.parent !== undefined)
      return {
        kind: 'parent',
        step: stepNumber(missed.parent.name),
        rebuilt: !missed.parent.cached,
      };
    const before = earlier.build.bases.find(
      (base) => base.stage === earlier.step.stage && !isForAnother(base, missed),
    );
    if (missed.base === undefined || before === undefined) return { kind: 'setting', name: 'FROM' };
    return {
      kind: 'base',
      before: { name: before.name, digest: before.digest },
      after: { name: missed.base.name, digest: missed.base.digest },
    };
  }

  *#all(): Generator<PastBuild> {
    yield* this.#builds();
    yield* this.#elsewhere();
  }

  /** Earlier builds of this store; each is read when it is reached, and kept for the next miss. */
  *#builds(): Generator<BuildRecord> {
    for (let i = 0; ; i++) {
      if (this.#read[i] === undefined) {
        const next = this.#unread.next();
        if (next.done === true) return;
        this.#read.push(next.value);
      }
      const build = this.#read[i];
      if (build !== undefined) yield build;
    }
  }

  /**
   * The last builds of the project; of a new one, recent builds of much the same Dockerfile
   * elsewhere.
   */
  *#past(): Generator<BuildRecord> {
    let own = 0;
    for (const build of this.store.history.ofProject(this.current.project)) {
      yield build;
      own++;
      if (own === LOOKED_AT) return;
    }
    if (own > 0) return;
    const texts = this.current.steps.map((step) => `${step.stage}\0${step.text}`);
    for (const build of take(this.store.history.all(), LOOKED_AT_ELSEWHERE)) {
      const theirs = new Set(build.steps.map((step) => `${step.stage}\0${step.text}`));
      if (texts.filter((text) => theirs.has(text)).length * 2 >= texts.length && texts.length > 0)
        yield build;
    }
  }

  #elsewhere(): readonly PastBuild[] {
    return (this.elsewhere?.imported() ?? []).map(({ title, contents }) => ({
      from: title,
      bases: contents.bases,
      steps: contents.records,
    }));
  }

  /** What a step did: told by the build that ran it, or by the cache. */
  #inputOf({ step }: Found): KeyInput | undefined {
    if (step.input !== undefined) return step.input;
    const record = this.store.cache.get(step.key as CacheKey);
    if (record !== undefined) return record.input;
    for (const build of this.#all()) {
      const input = build.steps.find(
        (other) => other.key === step.key && other.input !== undefined,
      )?.input;
      if (input !== undefined) return input;
    }
    return undefined;
  }

  async #manifest(digest: string): Promise<SelectionManifest | undefined> {
    const known =
      (await this.current.manifests.get(digest)?.()) ??
      (await loadManifest(this.store.root, digest));
    if (known !== undefined || this.elsewhere === undefined) return known;
    const bytes = await this.elsewhere.selection(digest);
    return bytes === undefined ? undefined : readManifest(bytes, digest);
  }
}

function take<T>(items: Iterable<T>, count: number): T[] {
  const taken: T[] = [];
  for (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}
