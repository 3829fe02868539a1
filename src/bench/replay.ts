import { causesLine, type Cause } from '../history/cause';
import { compareSteps } from '../history/compare';
import { BuildHistory } from '../history/file-history';
import type { Engine } from '../engine';
import { advise, type Advice } from './advice';
import {
  KeyReader,
  type CommitKeys,
  type KeyedStep,
  type ReplayBuild,
  type Variant,
} from './commit-keys';
import { GitObjects, type GitCommit } from './git-objects';
import { replayPolicy, type Policy, type PolicyOutcome } from './policy';

/** What is to be replayed. */
export interface ReplayRequest {
  /** Any folder of the repository; the build context is this folder. */
  readonly directory: string;
  /** As git takes it. */
  readonly range: string;
  /** Also what merges brought in, not only the line of first parents. */
  readonly allParents: boolean;
  readonly variants: readonly Variant[];
  readonly policies: readonly Policy[];
  readonly build: Omit<ReplayBuild, 'folder'>;
  /** Seconds by instruction as written; they win over recorded ones. */
  readonly durations: Readonly<Record<string, number>>;
  /** Seconds of a RUN that no record tells of. */
  readonly assumedSeconds: number;
}

/** What came of a replay. */
export interface ReplayReport {
  readonly version: 1;
  readonly kind: 'replay';
  readonly range: string;
  readonly commits: readonly Pick<GitCommit, 'id' | 'time' | 'subject' | 'parents'>[];
  /** What the history cannot tell. */
  readonly notes: readonly string[];
  readonly runs: readonly ReplayRun[];
}

/** One Dockerfile under one policy. */
export interface ReplayRun {
  readonly variant: string;
  readonly policy: string;
  readonly totals: ReplayTotals;
  readonly commits: readonly ReplayedCommit[];
  readonly instructions: readonly InstructionTotals[];
  readonly advice: readonly Advice[];
}

export interface ReplayTotals {
  readonly hits: number;
  readonly misses: number;
  /** Of the misses: those that may be hits, as they depend on what a RUN leaves. */
  readonly uncertain: number;
  readonly hitRatio: number;
  readonly secondsRebuilt: number;
  readonly secondsSaved: number;
  readonly bytesRebuilt: number;
}

export interface ReplayedCommit extends ReplayTotals {
  readonly id: string;
  readonly subject: string;
  /** Why it cannot be built, or not be told. */
  readonly problem?: string | undefined;
  readonly steps: readonly ReplayedStep[];
}

export interface ReplayedStep {
  readonly name: string;
  readonly line: number;
  readonly text: string;
  readonly outcome: PolicyOutcome;
  /** False where a real build may find that it leaves what was there before. */
  readonly certain: boolean;
  readonly why?: string | undefined;
  readonly seconds: number;
  readonly bytes: number;
}

/** One instruction over all commits. */
export interface InstructionTotals {
  readonly text: string;
  readonly builds: number;
  readonly hits: number;
  readonly misses: number;
  /** Misses that began here: its own inputs changed. */
  readonly ownMisses: number;
  readonly secondsRebuilt: number;
  readonly bytesRebuilt: number;
  /** Its seconds, and where they are from. */
  readonly seconds: number;
  readonly timed: 'given' | 'recorded' | 'assumed' | 'computed';
  /** What most often made it miss: up to three. */
  readonly topCauses: readonly { readonly cause: string; readonly count: number }[];
}

/** A step with all that is known of it across policies. */
export interface AnalysedStep extends KeyedStep {
  readonly seconds: number;
  readonly timed: InstructionTotals['timed'];
  readonly layerBytes: number;
  /** What it does itself differs from the commit before, or it is new. */
  readonly changed: boolean;
  readonly causes: readonly Cause[];
  /** Indexes of the steps whose change makes its key another than in the commit before. */
  readonly roots: ReadonlySet<number>;
  readonly certain: boolean;
}

/** A commit's steps, compared with those of the commit before. */
export interface AnalysedCommit extends Omit<CommitKeys, 'steps'> {
  readonly steps: readonly AnalysedStep[];
}

/** Bytes of files that are copied in a second, where nothing is on record. */
const COPY_SPEED = 200e6;
const TOP = 3;

/**
 * Computes what every commit of a range would have found in the cache, for each Dockerfile and policy: keys come out of git's
 * objects, nothing is checked out and nothing is run. @throws MbuildError GIT_FAILED.
 */
export async function replay(
  request: ReplayRequest,
  engine: Engine,
  signal: AbortSignal,
): Promise<ReplayReport> {
  const git = new GitObjects(request.directory);
  try {
    const { prefix } = await git.place();
    const commits = await git.commits(request.range, request.allParents);
    const recorded = recordedSteps(engine.root);
    const reader = new KeyReader(git, { ...request.build, folder: prefix }, engine, signal);
    const runs: ReplayRun[] = [];
    for (const variant of request.variants) {
      const analysed: AnalysedCommit[] = [];
      for (const commit of commits)
        analysed.push(
          await analyse(await reader.read(commit, variant), analysed.at(-1), request, recorded),
        );
      const advice = advise(analysed);
      for (const policy of request.policies) runs.push(runOf(variant, policy, analysed, advice));
    }
    const merges = commits.filter((commit) => commit.parents > 1).length;
    const notes = [
      ...reader.notes,
      ...(merges === 0 || request.allParents
        ? []
        : [
            `${merges} merge${merges === 1 ? '' : 's'}: the commits that they brought in are not replayed one by one`,
          ]),
    ];
    return {
      version: 1,
      kind: 'replay',
      range: request.range,
      notes,
      commits: commits.map(({ id, time, subject, parents }) => ({ id, time, subject, parents })),
      runs,
    };
  } finally {
    git.close();
  }
}

interface Recorded {
  readonly seconds: number;
  readonly bytes: number;
}

/** How long instructions took when they last ran, and what they left, by their text. */
function recordedSteps(root: string): ReadonlyMap<string, Recorded> {
  const found = new Map<string, Recorded>();
  for (const build of new BuildHistory(root).all()) {
    for (const step of build.steps) {
      if (step.failed !== true && !found.has(step.text))
        found.set(step.text, { seconds: step.durationMs / 1000, bytes: step.layer?.size ?? 0 });
    }
  }
  return found;
}

async function analyse(
  keys: CommitKeys,
  before: AnalysedCommit | undefined,
  request: ReplayRequest,
  recorded: ReadonlyMap<string, Recorded>,
): Promise<AnalysedCommit> {
  const steps: AnalysedStep[] = [];
  for (const [index, step] of keys.steps.entries()) {
    const earlier = nearest(step, before?.steps ?? []);
    const changed = earlier?.own !== step.own;
    const needed = step.needs.flatMap((need) => steps[need] ?? []);
    const roots = new Set([
      ...needed.flatMap((other) => [...other.roots]),
      ...(changed ? [index] : []),
    ]);
    const isNew = earlier?.key !== step.key;
    const causes = isNew ? await causesOf(step, earlier, keys) : [];
    // What a RUN leaves may be what was there before; then all that follows may be, too.
    const certain =
      !isNew ||
      earlier === undefined ||
      (needed.every((other) => other.certain) &&
        !step.fromStage &&
        !(changed && step.kind === 'run' && earlier.input.parent === step.input.parent));
    steps.push({ ...step, ...costOf(step, request, recorded), changed, causes, roots, certain });
  }
  return { ...keys, steps };
}

/** The step of the commit before that stands for the same instruction: by its text, else by its place. */
function nearest<T extends KeyedStep>(step: KeyedStep, before: readonly T[]): T | undefined {
  const ofStage = before.filter((other) => other.stage === step.stage);
  const byText = ofStage
    .filter((other) => other.text === step.text)
    .sort((a, b) => Math.abs(a.index - step.index) - Math.abs(b.index - step.index));
  return (
    byText[0] ?? ofStage.find((other) => other.index === step.index && other.kind === step.kind)
  );
}

async function causesOf(
  step: KeyedStep,
  earlier: AnalysedStep | undefined,
  { dockerfile, steps }: CommitKeys,
): Promise<readonly Cause[]> {
  if (earlier === undefined) return [{ kind: 'first' }];
  const manifests = new Map([...earlier.manifests, ...step.manifests]);
  const declarations =
    dockerfile === undefined ? undefined : { dockerfile, stage: step.stage, line: step.line };
  const own =
    earlier.own === step.own
      ? []
      : await compareSteps(
          earlier,
          step,
          async (digest) => manifests.get(digest)?.(),
          declarations,
        );
  const [parent] = step.needs.flatMap((need) => steps[need] ?? []);
  const isMoved = earlier.input.parent !== step.input.parent;
  return [
    ...own,
    ...(isMoved && parent !== undefined
      ? [
          {
            kind: 'parent',
            step: parent.name.replace(/^\[(?:(\S+) )?\s*(\d+)\/.*$/, '$2'),
            rebuilt: true,
          } as const,
        ]
      : []),
    ...(own.length === 0 && !isMoved && step.fromStage
      ? [{ kind: 'files', source: 'another stage' } as const]
      : []),
  ];
}

function costOf(
  step: KeyedStep,
  { durations, assumedSeconds }: ReplayRequest,
  recorded: ReadonlyMap<string, Recorded>,
): Pick<AnalysedStep, 'seconds' | 'timed' | 'layerBytes'> {
  const given = durations[step.text];
  const known = recorded.get(step.text);
  const layerBytes =
    step.bytes !== undefined && step.kind === 'copy' ? step.bytes : (known?.bytes ?? 0);
  if (given !== undefined) return { seconds: given, timed: 'given', layerBytes };
  if (known !== undefined) return { seconds: known.seconds, timed: 'recorded', layerBytes };
  return step.kind === 'run'
    ? { seconds: assumedSeconds, timed: 'assumed', layerBytes }
    : { seconds: layerBytes / COPY_SPEED, timed: 'computed', layerBytes };
}

function runOf(
  variant: Variant,
  policy: Policy,
  commits: readonly AnalysedCommit[],
  advice: readonly Advice[],
): ReplayRun {
  const outcomes = replayPolicy(policy, commits);
  const replayed = commits.map((commit, i): ReplayedCommit => {
    const steps = commit.steps.map((step, j): ReplayedStep => {
      const outcome = outcomes[i]?.[j] ?? 'miss';
      const why =
        outcome === 'hit'
          ? undefined
          : outcome === 'evicted'
            ? 'not kept by the policy'
            : causesLine(step.causes.length > 0 ? step.causes : [{ kind: 'first' }]);
      return {
        name: step.name,
        line: step.line,
        text: step.text,
        outcome,
        certain: outcome === 'hit' || step.certain,
        why,
        seconds: step.seconds,
        bytes: step.layerBytes,
      };
    });
    return {
      id: commit.commit.id,
      subject: commit.commit.subject,
      problem: commit.problem,
      steps,
      ...totalsOf(steps),
    };
  });
  return {
    variant: variant.name,
    policy: policy.name,
    totals: totalsOf(replayed.flatMap((commit) => commit.steps)),
    commits: replayed,
    instructions: instructionTotals(commits, replayed),
    // What order would save is the same under every policy that keeps what was built.
    advice:
      policy.kind === 'local' && policy.maxBytes === undefined && policy.maxAgeSeconds === undefined
        ? advice
        : [],
  };
}

function totalsOf(steps: readonly ReplayedStep[]): ReplayTotals {
  const hits = steps.filter((step) => step.outcome === 'hit');
  const missed = steps.filter((step) => step.outcome !== 'hit');
  const sum = (list: readonly ReplayedStep[], value: (step: ReplayedStep) => number): number =>
    list.reduce((total, step) => total + value(step), 0);
  const rounded = (seconds: number): number => Math.round(seconds * 1000) / 1000;
  return {
    hits: hits.length,
    misses: missed.length,
    uncertain: missed.filter((step) => !step.certain).length,
    hitRatio: steps.length === 0 ? 1 : hits.length / steps.length,
    secondsRebuilt: rounded(sum(missed, (step) => step.seconds)),
    secondsSaved: rounded(sum(hits, (step) => step.seconds)),
    bytesRebuilt: sum(missed, (step) => step.bytes),
  };
}

function instructionTotals(
  commits: readonly AnalysedCommit[],
  replayed: readonly ReplayedCommit[],
): InstructionTotals[] {
  const byText = new Map<
    string,
    { readonly analysed: AnalysedStep; readonly step: ReplayedStep }[]
  >();
  commits.forEach((commit, i) =>
    commit.steps.forEach((analysed, j) => {
      const step = replayed[i]?.steps[j];
      if (step === undefined) return;
      const list = byText.get(analysed.text) ?? [];
      byText.set(analysed.text, list);
      list.push({ analysed, step });
    }),
  );
  return [...byText].map(([text, list]): InstructionTotals => {
    const missed = list.filter(({ step }) => step.outcome !== 'hit');
    const counts = new Map<string, number>();
    for (const { step } of missed)
      if (step.why !== undefined) counts.set(step.why, (counts.get(step.why) ?? 0) + 1);
    const last = list.at(-1)?.analysed;
    return {
      text,
      builds: list.length,
      hits: list.length - missed.length,
      misses: missed.length,
      ownMisses: missed.filter(({ analysed }) => analysed.changed).length,
      secondsRebuilt:
        Math.round(missed.reduce((sum, { step }) => sum + step.seconds, 0) * 1000) / 1000,
      bytesRebuilt: missed.reduce((sum, { step }) => sum + step.bytes, 0),
      seconds: last?.seconds ?? 0,
      timed: last?.timed ?? 'assumed',
      topCauses: [...counts]
        .sort((a, b) => b[1] - a[1])
        .slice(0, TOP)
        .map(([cause, count]) => ({ cause, count })),
    };
  });
}
