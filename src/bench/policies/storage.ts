import {
  chooseVictims,
  foundRatioOf,
  NEVER_SEEN,
  type EvictionPolicy,
  type Reuse,
  type Weighed,
} from '../../cache/eviction';
import type { AnalysedStep } from '../analysis';
import type { BuildMoment, RuleName, Storage } from './policy';

/** What a local cache keeps. */
export interface LocalLimits {
  /** Bytes of layers. */
  readonly maxBytes?: number | undefined;
  /** Seconds since the last use. */
  readonly maxAgeSeconds?: number | undefined;
  /** Which go first where there are too many bytes. */
  readonly evict: EvictionPolicy;
}

/** A result that is kept. */
interface Kept extends Omit<Weighed, 'idle' | 'foundRatio'> {
  readonly instruction: string;
  /** Time and number of the build that used it last. */
  readonly used: number;
  readonly build: number;
}

/** One store on one machine. */
export class LocalStorage implements Storage {
  readonly rule: RuleName = 'kept';
  readonly #kept = new Map<string, Kept>();
  readonly #reuse = new Map<string, Reuse>();
  #now = 0;
  #build = 0;

  constructor(private readonly limits: LocalLimits) {}

  begin({ time }: BuildMoment): void {
    this.#now = time;
    this.#build++;
    const { maxAgeSeconds } = this.limits;
    if (maxAgeSeconds === undefined) return;
    for (const [key, { used }] of this.#kept)
      if (time - used > maxAgeSeconds) this.#kept.delete(key);
  }

  has(key: string): boolean {
    return this.#kept.has(key);
  }

  use({ cost, keyed }: AnalysedStep, key: string, below: string | undefined, found: boolean): void {
    const { text } = keyed.row;
    this.#kept.set(key, {
      key,
      parent: below,
      bytes: cost.bytes,
      seconds: cost.seconds,
      instruction: text,
      used: this.#now,
      build: this.#build,
    });
    const { times, found: before } = this.#reuse.get(text) ?? NEVER_SEEN;
    this.#reuse.set(text, { times: times + 1, found: before + (found ? 1 : 0) });
  }

  end(): void {
    const { maxBytes, evict } = this.limits;
    if (maxBytes === undefined) return;
    const items = [...this.#kept.values()].map((kept): Weighed => ({
      ...kept,
      idle: this.#build - kept.build,
      foundRatio: foundRatioOf(this.#reuse.get(kept.instruction) ?? NEVER_SEEN),
    }));
    for (const { key } of chooseVictims(items, maxBytes, evict)) this.#kept.delete(key);
  }
}

/** Everything is kept for ever, and no sizes are asked for. */
export class EndlessStorage implements Storage {
  readonly rule: RuleName = 'kept';
  readonly #kept = new Set<string>();

  begin(): void {}

  has(key: string): boolean {
    return this.#kept.has(key);
  }

  use(_step: AnalysedStep, key: string): void {
    this.#kept.add(key);
  }

  end(): void {}
}

/** A fresh machine for every build, and a cache elsewhere that each build replaces. */
export class ExportedStorage implements Storage {
  readonly rule: RuleName = 'exported';
  #imported: ReadonlySet<string> = new Set();
  #exported = new Set<string>();
  readonly #made = new Set<string>();

  /** @param mode `min`: the layers of the image alone. */
  constructor(private readonly mode: 'min' | 'max') {}

  begin(): void {
    this.#imported = this.#exported;
    this.#exported = new Set();
    this.#made.clear();
  }

  has(key: string): boolean {
    return this.#imported.has(key) || this.#made.has(key);
  }

  use({ keyed }: AnalysedStep, key: string): void {
    this.#made.add(key);
    if (this.mode === 'max' || keyed.row.inTarget) this.#exported.add(key);
  }

  end(): void {}
}

/** What GitHub keeps of a repository (docs.github.com, "Dependency caching reference"). */
export interface HubLimits {
  readonly maxBytes: number;
  readonly maxAgeSeconds: number;
}

interface HubBlob {
  readonly bytes: number;
  readonly used: number;
}

/**
 * GitHub's cache: each branch has a cache of its own, which every build replaces; it sees its own and that of the default
 * branch. What all of them refer to is limited together, the longest unused goes first.
 */
export class HubStorage implements Storage {
  readonly rule: RuleName = 'scope';
  readonly #scopes = new Map<string, ReadonlySet<string>>();
  readonly #blobs = new Map<string, HubBlob>();
  #moment: BuildMoment = { time: 0 };
  #made = new Set<string>();

  constructor(
    private readonly limits: HubLimits,
    private readonly mode: 'min' | 'max',
  ) {}

  begin(moment: BuildMoment): void {
    this.#moment = moment;
    this.#made = new Set();
    for (const [key, { used }] of this.#blobs)
      if (moment.time - used > this.limits.maxAgeSeconds) this.#blobs.delete(key);
  }

  has(key: string): boolean {
    if (this.#made.has(key)) return true;
    const scopes = [this.#moment.branch ?? '', ''];
    return scopes.some((scope) => this.#scopes.get(scope)?.has(key)) && this.#blobs.has(key);
  }

  use({ keyed, cost }: AnalysedStep, key: string): void {
    this.#made.add(key);
    if (this.mode === 'min' && !keyed.row.inTarget) return;
    this.#blobs.delete(key); // so that the order of the map is that of use
    this.#blobs.set(key, { bytes: cost.bytes, used: this.#moment.time });
  }

  end(): void {
    const made = [...this.#made].filter((key) => this.#blobs.has(key));
    this.#scopes.set(this.#moment.branch ?? '', new Set(made));
    let bytes = [...this.#blobs.values()].reduce((sum, blob) => sum + blob.bytes, 0);
    for (const [key, blob] of this.#blobs) {
      if (bytes <= this.limits.maxBytes) return;
      this.#blobs.delete(key);
      bytes -= blob.bytes;
    }
  }
}

/** A repository of layers by their keys, which a builder takes while they are young: `--cache-ttl` of kaniko. */
export class RepositoryStorage implements Storage {
  readonly rule: RuleName = 'kept';
  readonly #made = new Map<string, number>();
  #now = 0;

  /** @param maxAgeSeconds since it was made; being found does not make it younger. */
  constructor(private readonly maxAgeSeconds: number) {}

  begin({ time }: BuildMoment): void {
    this.#now = time;
  }

  has(key: string): boolean {
    const made = this.#made.get(key);
    return made !== undefined && this.#now - made <= this.maxAgeSeconds;
  }

  use(_step: AnalysedStep, key: string, _below: string | undefined, found: boolean): void {
    if (!found) this.#made.set(key, this.#now);
  }

  end(): void {}
}
