import type { AnalysedCommit, AnalysedStep } from '../analysis';
import type { PlannedRow } from '../keys/plan';

/** When and where a build takes place. */
export interface BuildMoment {
  /** Seconds since the epoch. */
  readonly time: number;
  /** Absent: the default branch. */
  readonly branch?: string | undefined;
}

/** What a step finds in a cache. */
export interface Outcome {
  /** `evicted`: it was built before, and is not kept or not to be seen. */
  readonly kind: 'hit' | 'miss' | 'evicted';
  /** False for a miss that may be a hit, as it depends on what a RUN leaves. */
  readonly certain: boolean;
  /** What of the builder's rules decided, where mbuild's own would not have. */
  readonly rule?: RuleName | undefined;
}

/** Rules by which builders differ. */
export const RULES = {
  settings:
    'ENV, LABEL, CMD and the like are links of its chain: what stands below a changed one is built anew',
  link: 'COPY --link is found whatever is below it',
  cutoff: 'it does not notice that a step which ran again left what was there before',
  kept: 'it was not kept: size or age',
  exported:
    'it was not exported: the mode keeps the layers of the image alone, and the last build alone',
  scope: 'the cache of another branch is not seen',
  copies: 'COPY is not kept',
} as const;

export type RuleName = keyof typeof RULES;

/** A cache and the builder that uses it. */
export interface Policy {
  /** As it was asked for. */
  readonly name: string;
  /** How it is known that it does so: `tests`, what it was compared with, or `unchecked`, and from where. */
  readonly checked: string;
  /** It keeps all that was built: advice on the order of instructions is tried on it. */
  readonly advises?: boolean | undefined;
  /** Why a builder does not take a step; `undefined` where it does. */
  readonly refuses?: ((row: PlannedRow) => string | undefined) | undefined;
  /** A cache with nothing in it. */
  readonly simulate: () => Simulation;
}

/** A cache over the builds of a history, one after the other. */
export interface Simulation {
  /** What each step of the next build finds. */
  build(commit: AnalysedCommit, moment: BuildMoment): readonly Outcome[];
}

/** What steps are found by. */
export interface KeyRules {
  /** @param above keys of the steps above, by index. */
  keyOf(step: AnalysedStep, above: readonly string[]): string;
  /** Why a step has another key than mbuild gives it. */
  readonly rule?: RuleName | undefined;
  /** A step that is executed in every build. */
  readonly isNeverKept?: ((step: AnalysedStep) => boolean) | undefined;
  /**
   * What may turn out to be what was there before: `results`, what any step leaves is compared; `copies`, files of another stage are found by
   * their content; `nothing`.
   */
  readonly notices: 'results' | 'copies' | 'nothing';
}

/** What of a cache outlives a build. */
export interface Storage {
  begin(moment: BuildMoment): void;
  has(key: string): boolean;
  /** A step was found or built. @param below key of the step that it stands on. */
  use(step: AnalysedStep, key: string, below: string | undefined, found: boolean): void;
  end(): void;
  /** Why something is not there that was. */
  readonly rule: RuleName;
}

const HIT: Outcome = { kind: 'hit', certain: true };

/** A builder's keys and a place where results are kept. */
export class Simulator implements Simulation {
  readonly #seen = new Set<string>();
  /** What mbuild would have found. */
  readonly #known = new Set<string>();
  /** What was done, on whatever tree. */
  readonly #done = new Set<string>();
  /** Keys of results that may be what an earlier one was. */
  readonly #doubtful = new Set<string>();

  constructor(
    private readonly rules: KeyRules,
    private readonly storage: Storage,
  ) {}

  build({ steps }: AnalysedCommit, moment: BuildMoment): readonly Outcome[] {
    const outcomes: Outcome[] = [];
    const keys: string[] = [];
    /** Steps that stand on what a tree holds, not on how it was made: another key may stand for the same. */
    const onCopies: boolean[] = [];
    this.storage.begin(moment);
    for (const step of steps) {
      const { row, key: plain, own } = step.keyed;
      const key = this.rules.keyOf(step, keys);
      const below = row.below === undefined ? undefined : outcomes[row.below];
      const isOnCopies =
        row.from.length > 0 ||
        this.#doubtful.has(key) ||
        (row.below !== undefined && onCopies[row.below] === true);
      const isBelowNew = below?.kind === 'miss' && below.certain;
      const mayBeSame = isOnCopies && !isBelowNew && this.#done.has(own);
      const outcome = this.#outcome(step, key, below, mayBeSame);
      const belowKey = row.below === undefined ? undefined : keys[row.below];
      keys.push(key);
      outcomes.push(outcome);
      onCopies.push(isOnCopies || !outcome.certain);
      if (!outcome.certain) this.#doubtful.add(key);
      this.storage.use(step, key, belowKey, outcome.kind === 'hit');
      this.#seen.add(key);
      this.#known.add(plain);
      this.#done.add(own);
    }
    this.storage.end();
    return outcomes;
  }

  /** @param mayBeSame what it stands on may hold what an earlier tree held. */
  #outcome(
    step: AnalysedStep,
    key: string,
    below: Outcome | undefined,
    mayBeSame: boolean,
  ): Outcome {
    const { rules, storage } = this;
    const wouldHit = this.#known.has(step.keyed.key);
    if (rules.isNeverKept?.(step) === true)
      return { kind: 'miss', certain: true, rule: wouldHit ? 'copies' : undefined };
    if (!storage.has(key)) {
      if (this.#seen.has(key)) return { kind: 'evicted', certain: true, rule: storage.rule };
      if (rules.notices === 'results') {
        const certain = step.certain && !mayBeSame;
        return { kind: 'miss', certain };
      }
      const certain = rules.notices === 'nothing' || !mayBeSame;
      const unnoticed: RuleName | undefined = step.certain || !certain ? undefined : 'cutoff';
      return { kind: 'miss', certain, rule: wouldHit ? rules.rule : unnoticed };
    }
    // A result is found on the tree that it was made on.
    if (below?.kind === 'evicted') return { kind: 'evicted', certain: true, rule: storage.rule };
    return wouldHit ? HIT : { kind: 'hit', certain: true, rule: rules.rule };
  }
}
