import type { Advice } from './advice/advice';
import type { Basis } from './costs/cost';
import type { ModelError } from './costs/book';
import type { CommitProblem } from './keys/commit-keys';
import type { RuleName } from './policies/policy';

/** What came of a replay. */
export interface ReplayReport {
  readonly version: 2;
  readonly kind: 'replay';
  readonly range: string;
  /** In the order in which they are built. */
  readonly commits: readonly ReportedCommit[];
  /** What the history cannot tell, and what was taken for it. */
  readonly notes: readonly string[];
  /** How far the model of durations is from builds that were really run. */
  readonly model: ModelError;
  /** Set where it was stopped: so many of the commits are in the report. */
  readonly stoppedAfter?: number | undefined;
  readonly runs: readonly ReplayRun[];
  /** All advice as a patch against the last commit, which `git apply` takes at the repository's top. */
  readonly patch?: string | undefined;
}

export interface ReportedCommit {
  readonly id: string;
  /** Seconds since the epoch. */
  readonly time: number;
  readonly subject: string;
  readonly parents: number;
  /** With `--branches`: where it is built; absent on the default branch. */
  readonly branch?: string | undefined;
}

/** One Dockerfile under one policy. */
export interface ReplayRun {
  readonly variant: string;
  readonly policy: string;
  /** How it is known that the policy does so. */
  readonly checked: string;
  readonly totals: ReplayTotals;
  readonly commits: readonly ReplayedCommit[];
  readonly instructions: readonly InstructionTotals[];
  /** Where the policy finds something else than mbuild's own cache, by the rule that decides. */
  readonly rules: readonly RuleTotals[];
  readonly advice: readonly Advice[];
}

/** Sums of one commit or of all. */
export interface CacheTotals {
  readonly hits: number;
  readonly misses: number;
  /** Of the misses: those that may be hits, as they depend on what a RUN leaves. */
  readonly uncertain: number;
  /** Of all steps; absent where there is none. */
  readonly hitRatio?: number | undefined;
  readonly secondsRebuilt: number;
  readonly secondsSaved: number;
  readonly bytesRebuilt: number;
}

export interface ReplayTotals extends CacheTotals {
  /** Commits that the sums are about. */
  readonly replayed: number;
  /** Commits that a build would refuse, and those that this repository lacks a part of: they count in no sum. */
  readonly refused: number;
  readonly unreadable: number;
  /** The seconds rebuilt, by what they rest on. */
  readonly rebuiltBy: Readonly<Partial<Record<Basis, number>>>;
}

export interface ReplayedCommit extends CacheTotals {
  readonly id: string;
  readonly subject: string;
  /** Why it was not replayed to its end: then it counts in no sum, and its steps are those above what is refused. */
  readonly problem?: CommitProblem | undefined;
  readonly steps: readonly ReplayedStep[];
}

export interface ReplayedStep {
  readonly name: string;
  readonly line: number;
  readonly text: string;
  readonly outcome: 'hit' | 'miss' | 'evicted';
  /** False where a real build may find that a step leaves what was there before. */
  readonly certain: boolean;
  readonly why?: string | undefined;
  readonly rule?: RuleName | undefined;
  readonly seconds: number;
  readonly bytes: number;
}

/** One instruction over all commits. */
export interface InstructionTotals {
  readonly text: string;
  /** In the last commit that has it. */
  readonly line: number;
  readonly stage: string;
  readonly builds: number;
  readonly hits: number;
  readonly misses: number;
  /** Misses that began here: its own inputs changed. */
  readonly ownMisses: number;
  readonly secondsRebuilt: number;
  readonly bytesRebuilt: number;
  /** What it costs in the last commit that has it, and what these figures rest on. */
  readonly seconds: number;
  readonly timed: Basis;
  readonly bytes: number;
  readonly sized: Basis;
  /** What its key stands on that is not known. */
  readonly unknown: readonly string[];
  /** A character a commit: `.` hit, `x` miss, `o` a miss that began here, `?` may be a hit, `e` not kept, a space where it is not built. */
  readonly strip: string;
  /** What most often made it miss: up to three. */
  readonly topCauses: readonly { readonly cause: string; readonly count: number }[];
}

/** What a rule makes of steps that mbuild's own cache would have found, or would not. */
export interface RuleTotals {
  readonly rule: RuleName;
  readonly text: string;
  /** Steps that are built for the rule's sake, and those that are found for it. */
  readonly misses: number;
  readonly hits: number;
  /** Built less the seconds of those that are found. */
  readonly seconds: number;
}
