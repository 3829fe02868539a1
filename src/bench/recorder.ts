import type { AnalysedCommit, AnalysedStep } from './analysis';
import type { Basis } from './costs/cost';
import {
  RULES,
  type BuildMoment,
  type Outcome,
  type Policy,
  type RuleName,
  type Simulation,
} from './policies/policy';
import type { CommitProblem, KeyedStep } from './keys/commit-keys';
import type {
  CacheTotals,
  InstructionTotals,
  ReplayRun,
  ReplayTotals,
  ReplayedCommit,
  ReplayedStep,
  RuleTotals,
} from './report';

const TOP = 3;

/** Sums up one Dockerfile under one policy, commit by commit. */
export class Recorder {
  readonly #simulation: Simulation;
  readonly #commits: ReplayedCommit[] = [];
  readonly #instructions = new Map<string, InstructionSums>();
  readonly #rules = new Map<RuleName, { misses: number; hits: number; seconds: number }>();
  readonly #rebuiltBy = new Map<Basis, number>();
  /** Steps that are found are told once: of a long history they are nearly all. */
  readonly #found = new WeakMap<AnalysedStep, ReplayedStep>();

  constructor(
    private readonly variant: string,
    private readonly policy: Policy,
  ) {
    this.#simulation = policy.simulate();
  }

  /** Builds the next commit. */
  add(commit: AnalysedCommit, moment: BuildMoment): void {
    const problem = commit.keys.problem ?? this.#refusal(commit);
    const outcomes = this.#simulation.build(commit, moment);
    const steps = commit.steps.map((step, at) => this.#step(step, outcomes[at]));
    const { id, subject } = commit.keys.commit;
    const counted = problem === undefined ? steps : [];
    this.#commits.push({ id, subject, problem, steps, ...sumsOf(counted) });
    if (problem === undefined)
      commit.steps.forEach((step, at) => this.#sumUp(step, steps[at], outcomes[at]));
  }

  run(): Omit<ReplayRun, 'advice'> {
    return {
      variant: this.variant,
      policy: this.policy.name,
      checked: this.policy.checked,
      totals: this.#totals(),
      commits: this.#commits,
      instructions: [...this.#instructions.values()].map((sums) =>
        sums.totals(this.#commits.length),
      ),
      rules: [...this.#rules].map(([rule, { misses, hits, seconds }]): RuleTotals => ({
        rule,
        text: RULES[rule],
        misses,
        hits,
        seconds: rounded(seconds),
      })),
    };
  }

  /** Another builder may not take what mbuild takes. */
  #refusal({ steps }: AnalysedCommit): CommitProblem | undefined {
    for (const { keyed } of steps) {
      const message = this.policy.refuses?.(keyed.row);
      if (message !== undefined) return { kind: 'refused', message };
    }
    return undefined;
  }

  #step(step: AnalysedStep, outcome: Outcome | undefined): ReplayedStep {
    const known = outcome?.kind === 'hit' ? this.#found.get(step) : undefined;
    if (known !== undefined) return known;
    const told = toldStep(step, outcome ?? { kind: 'miss', certain: true });
    if (told.outcome === 'hit') this.#found.set(step, told);
    return told;
  }

  #sumUp(step: AnalysedStep, told: ReplayedStep | undefined, outcome: Outcome | undefined): void {
    if (told === undefined || outcome === undefined) return;
    const { text, stage } = step.keyed.row;
    const name = `${stage}\0${text}`;
    const sums = this.#instructions.get(name) ?? new InstructionSums(text);
    this.#instructions.set(name, sums);
    sums.add(step, told, this.#commits.length - 1);
    const isHit = outcome.kind === 'hit';
    if (!isHit)
      this.#rebuiltBy.set(
        step.cost.timed,
        (this.#rebuiltBy.get(step.cost.timed) ?? 0) + told.seconds,
      );
    if (outcome.rule === undefined) return;
    const rule = this.#rules.get(outcome.rule) ?? { misses: 0, hits: 0, seconds: 0 };
    this.#rules.set(outcome.rule, rule);
    rule[isHit ? 'hits' : 'misses']++;
    rule.seconds += isHit ? -told.seconds : told.seconds;
  }

  #totals(): ReplayTotals {
    const replayed = this.#commits.filter(({ problem }) => problem === undefined);
    const problems = (kind: CommitProblem['kind']): number =>
      this.#commits.filter(({ problem }) => problem?.kind === kind).length;
    return {
      ...added(replayed),
      replayed: replayed.length,
      refused: problems('refused'),
      unreadable: problems('unreadable'),
      rebuiltBy: Object.fromEntries(
        [...this.#rebuiltBy].map(([basis, seconds]) => [basis, rounded(seconds)]),
      ),
    };
  }
}

function toldStep(step: AnalysedStep, { kind, certain, rule }: Outcome): ReplayedStep {
  const { row } = step.keyed;
  const { seconds, bytes } = step.cost;
  return {
    name: row.name,
    line: row.line,
    text: row.text,
    outcome: kind,
    certain,
    why: whyOf(step, kind, rule),
    rule,
    seconds,
    bytes,
  };
}

function whyOf(
  { why }: AnalysedStep,
  kind: Outcome['kind'],
  rule: RuleName | undefined,
): string | undefined {
  if (kind === 'hit') return undefined;
  if (kind === 'evicted') return 'not kept by the policy';
  return why ?? (rule === undefined ? 'no earlier build of this step' : RULES[rule]);
}

function sumsOf(steps: readonly ReplayedStep[]): CacheTotals {
  const totals = {
    hits: 0,
    misses: 0,
    uncertain: 0,
    secondsRebuilt: 0,
    secondsSaved: 0,
    bytesRebuilt: 0,
  };
  for (const { outcome, certain, seconds, bytes } of steps) {
    if (outcome === 'hit') {
      totals.hits++;
      totals.secondsSaved += seconds;
      continue;
    }
    totals.misses++;
    totals.uncertain += certain ? 0 : 1;
    totals.secondsRebuilt += seconds;
    totals.bytesRebuilt += bytes;
  }
  return withRatio(totals);
}

function added(commits: readonly ReplayedCommit[]): CacheTotals {
  const sum = (value: (commit: ReplayedCommit) => number): number =>
    commits.reduce((total, commit) => total + value(commit), 0);
  return withRatio({
    hits: sum((commit) => commit.hits),
    misses: sum((commit) => commit.misses),
    uncertain: sum((commit) => commit.uncertain),
    secondsRebuilt: sum((commit) => commit.secondsRebuilt),
    secondsSaved: sum((commit) => commit.secondsSaved),
    bytesRebuilt: sum((commit) => commit.bytesRebuilt),
  });
}

function withRatio(totals: Omit<CacheTotals, 'hitRatio'>): CacheTotals {
  const steps = totals.hits + totals.misses;
  return {
    ...totals,
    hitRatio: steps === 0 ? undefined : totals.hits / steps,
    secondsRebuilt: rounded(totals.secondsRebuilt),
    secondsSaved: rounded(totals.secondsSaved),
  };
}

/** To milliseconds. */
function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

class InstructionSums {
  #hits = 0;
  #misses = 0;
  #ownMisses = 0;
  #seconds = 0;
  #bytes = 0;
  readonly #causes = new Map<string, number>();
  readonly #strip: string[] = [];
  #last: { readonly step: AnalysedStep; readonly keyed: KeyedStep } | undefined;

  constructor(private readonly text: string) {}

  /** @param at index of the commit. */
  add(step: AnalysedStep, told: ReplayedStep, at: number): void {
    this.#last = { step, keyed: step.keyed };
    while (this.#strip.length < at) this.#strip.push(' ');
    this.#strip[at] = markOf(step, told);
    if (told.outcome === 'hit') {
      this.#hits++;
      return;
    }
    this.#misses++;
    this.#ownMisses += step.changed ? 1 : 0;
    this.#seconds += told.seconds;
    this.#bytes += told.bytes;
    if (told.why !== undefined) this.#causes.set(told.why, (this.#causes.get(told.why) ?? 0) + 1);
  }

  totals(commits: number): InstructionTotals {
    const row = this.#last?.keyed.row;
    const cost = this.#last?.step.cost;
    return {
      text: this.text,
      line: row?.line ?? 0,
      stage: row?.stage ?? '',
      builds: this.#hits + this.#misses,
      hits: this.#hits,
      misses: this.#misses,
      ownMisses: this.#ownMisses,
      secondsRebuilt: rounded(this.#seconds),
      bytesRebuilt: this.#bytes,
      seconds: cost?.seconds ?? 0,
      timed: cost?.timed ?? 'assumed',
      bytes: cost?.bytes ?? 0,
      sized: cost?.sized ?? 'assumed',
      unknown: row?.unknown ?? [],
      strip: this.#strip.join('').padEnd(commits),
      topCauses: [...this.#causes]
        .sort((a, b) => b[1] - a[1])
        .slice(0, TOP)
        .map(([cause, count]) => ({ cause, count })),
    };
  }
}

function markOf({ changed }: AnalysedStep, { outcome, certain }: ReplayedStep): string {
  if (outcome === 'hit') return '.';
  if (outcome === 'evicted') return 'e';
  if (!certain) return '?';
  return changed ? 'o' : 'x';
}
