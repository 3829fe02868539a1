import {
  chooseVictims,
  EVICTION_POLICIES,
  foundRatioOf,
  NEVER_SEEN,
  type EvictionPolicy,
  type Reuse,
  type Weighed,
} from '../cache/eviction';
import { MbuildError } from '../diagnostics/error';
import type { AnalysedCommit, AnalysedStep } from './replay';

/** What a cache keeps from one build to the next. */
export type Policy =
  /** One store on one machine. Bytes of layers, and what goes beyond them; seconds of commit time since the last use. */
  | {
      readonly kind: 'local';
      readonly name: string;
      readonly maxBytes?: number | undefined;
      readonly evict: EvictionPolicy;
      readonly maxAgeSeconds?: number | undefined;
    }
  /** A fresh machine for every build, and a cache in a registry that each build replaces: with all its steps, or those of the image alone. */
  | { readonly kind: 'registry'; readonly name: string; readonly mode: 'min' | 'max' };

/** `evicted`: it was built before, and the policy has not kept it. */
export type PolicyOutcome = 'hit' | 'miss' | 'evicted';

const UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
};
const TIMES: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Reads `local`, `size=5GB`, `age=72h`, `size=5GB,evict=lru,age=72h`, `registry=min|max`. @throws MbuildError USAGE. */
export function parsePolicy(text: string): Policy {
  if (text === 'local') return { kind: 'local', name: text, evict: 'value' };
  if (text === 'registry=min' || text === 'registry=max')
    return { kind: 'registry', name: text, mode: text === 'registry=min' ? 'min' : 'max' };
  let [maxBytes, maxAgeSeconds]: (number | undefined)[] = [];
  let evict: EvictionPolicy = 'value';
  for (const part of text.split(',')) {
    const [, size, sizeUnit] = /^size=(\d+(?:\.\d+)?)([a-z]*)$/i.exec(part) ?? [];
    const [, age, ageUnit] = /^age=(\d+(?:\.\d+)?)([smhd])$/.exec(part) ?? [];
    const eviction = EVICTION_POLICIES.find((known) => part === `evict=${known}`);
    const unit = UNITS[(sizeUnit === '' || sizeUnit === undefined ? 'b' : sizeUnit).toLowerCase()];
    if (size !== undefined && unit !== undefined) maxBytes = Number(size) * unit;
    else if (age !== undefined) maxAgeSeconds = Number(age) * (TIMES[ageUnit ?? 's'] ?? 1);
    else if (eviction !== undefined) evict = eviction;
    else
      throw new MbuildError('USAGE', `${JSON.stringify(text)} is no policy`, {
        hint: 'policies are local, size=5GB, age=72h, size=5GB,age=72h, size=5GB,evict=lru, registry=min, registry=max',
      });
  }
  return { kind: 'local', name: text, maxBytes, maxAgeSeconds, evict };
}

/** What every step of every commit finds, when they are built one after the other from an empty cache. */
export function replayPolicy(
  policy: Policy,
  commits: readonly AnalysedCommit[],
): PolicyOutcome[][] {
  const cache =
    policy.kind === 'registry' ? new ExportedCache(policy.mode) : new LocalCache(policy);
  const seen = new Set<string>();
  return commits.map(({ steps, commit }) => {
    const outcomes: PolicyOutcome[] = [];
    cache.begin(commit.time);
    for (const step of steps) {
      // A result is found on the tree that it was made on.
      const outcome = !cache.has(step.key)
        ? seen.has(step.key)
          ? 'evicted'
          : 'miss'
        : outcomes[step.needs[0] ?? -1] === 'evicted'
          ? 'evicted'
          : 'hit';
      outcomes.push(outcome);
      cache.use(step, steps[step.needs[0] ?? -1]?.key, outcome === 'hit');
      seen.add(step.key);
    }
    cache.end();
    return outcomes;
  });
}

interface SimulatedCache {
  /** A build begins. @param time seconds since the epoch. */
  begin(time: number): void;
  has(key: string): boolean;
  /** A step was found or built. @param parent key of the step that it stands on. */
  use(step: AnalysedStep, parent: string | undefined, found: boolean): void;
  end(): void;
}

/** A result that is kept. */
interface Kept extends Omit<Weighed, 'idle' | 'foundRatio'> {
  readonly instruction: string;
  /** Time and number of the build that used it last. */
  readonly used: number;
  readonly build: number;
}

class LocalCache implements SimulatedCache {
  readonly #kept = new Map<string, Kept>();
  readonly #reuse = new Map<string, Reuse>();
  #now = 0;
  #build = 0;

  constructor(private readonly policy: Extract<Policy, { kind: 'local' }>) {}

  begin(time: number): void {
    this.#now = time;
    this.#build++;
    const { maxAgeSeconds } = this.policy;
    if (maxAgeSeconds === undefined) return;
    for (const [key, { used }] of this.#kept)
      if (time - used > maxAgeSeconds) this.#kept.delete(key);
  }

  has(key: string): boolean {
    return this.#kept.has(key);
  }

  use(
    { key, layerBytes, seconds, text }: AnalysedStep,
    parent: string | undefined,
    found: boolean,
  ): void {
    this.#kept.set(key, {
      key,
      parent,
      bytes: layerBytes,
      seconds,
      instruction: text,
      used: this.#now,
      build: this.#build,
    });
    const { times, found: before } = this.#reuse.get(text) ?? NEVER_SEEN;
    this.#reuse.set(text, { times: times + 1, found: before + (found ? 1 : 0) });
  }

  end(): void {
    const { maxBytes, evict } = this.policy;
    if (maxBytes === undefined) return;
    const items = [...this.#kept.values()].map((kept): Weighed => ({
      ...kept,
      idle: this.#build - kept.build,
      foundRatio: foundRatioOf(this.#reuse.get(kept.instruction) ?? NEVER_SEEN),
    }));
    for (const { key } of chooseVictims(items, maxBytes, evict)) this.#kept.delete(key);
  }
}

class ExportedCache implements SimulatedCache {
  #imported: ReadonlySet<string> = new Set();
  #exported = new Set<string>();

  constructor(private readonly mode: 'min' | 'max') {}

  begin(): void {
    this.#imported = this.#exported;
    this.#exported = new Set();
  }

  has(key: string): boolean {
    return this.#imported.has(key) || this.#exported.has(key);
  }

  use({ key, inTarget }: AnalysedStep): void {
    if (this.mode === 'max' || inTarget) this.#exported.add(key);
  }

  end(): void {}
}
