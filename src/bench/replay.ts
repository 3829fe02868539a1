import { setImmediate } from 'node:timers/promises';
import type { Engine } from '../engine';
import { advise, TRIED_ON, type AdviceOnTarget, type AdviceServices } from './advice/advise';
import { Analyser, type AnalysedCommit, type CostOf } from './analysis';
import { CostBook, recordedSteps, type CostSources, type ModelError } from './costs/book';
import { projectFacts } from './costs/project';
import { GitObjects } from './git/objects';
import { GitRepository, type CommitChoice, type GitCommit } from './git/repository';
import { branchesInTurn, oneAfterTheOther, type ScheduledBuild } from './git/schedule';
import { Bases } from './keys/bases';
import { CommitReader, type ReplayTarget } from './keys/commit-keys';
import { Planner, type BuildSettings } from './keys/plan';
import type { Policy } from './policies/policy';
import { Recorder } from './recorder';
import type { ReplayReport, ReplayRun } from './report';
import { resolveTargets, type WantedTarget } from './targets';

/** What is to be replayed. */
export interface ReplayRequest {
  /** Any directory of the repository: paths of targets count from it. */
  readonly directory: string;
  readonly commits: CommitChoice;
  /** Branches are built in turn, as their merges tell of them. */
  readonly branches: boolean;
  readonly targets: readonly WantedTarget[];
  readonly policies: readonly Policy[];
  readonly build: BuildSettings;
  /** Registries are asked for the configs of bases that the store lacks. */
  readonly pull: boolean;
  /** Seconds by instruction as written; they win over recorded ones. */
  readonly durations: ReadonlyMap<string, number>;
  /** Seconds of a RUN that no record tells of; the model where it is absent. */
  readonly assumedSeconds?: number | undefined;
}

/** How many commits are read together: while git answers for some, keys of others are made. */
const TOGETHER = 64;

/**
 * Computes what every commit of a range would have found in the cache, for each target and policy: keys come out of git's
 * objects, nothing is checked out and nothing is run. Stops where `signal` is aborted, with what is known by then.
 * @throws MbuildError GIT_FAILED, USAGE.
 */
export async function replay(
  request: ReplayRequest,
  engine: Engine,
  signal: AbortSignal,
): Promise<ReplayReport> {
  const repository = new GitRepository(request.directory);
  const objects = new GitObjects(request.directory);
  const closing: { close(): void }[] = [objects];
  try {
    const commits = await repository.commits(request.commits);
    const builds = scheduled(commits, request);
    const targets = await resolveTargets(request.targets, repository, request.commits.range);
    const bases = new Bases(engine, request.pull, signal);
    closing.push(bases);
    const reader = new CommitReader(objects, new Planner(bases, request.build), request.build);
    const services: TargetServices = {
      reader,
      objects,
      repository,
      store: engine.root,
      builds,
      signal,
      sources: {
        given: request.durations,
        recorded: recordedSteps(engine.root),
        assumedSeconds: request.assumedSeconds,
      },
    };
    const replayed: ReplayedTarget[] = [];
    for (const target of targets)
      replayed.push(await replayTarget(target, request.policies, services));
    const patches = replayed.flatMap(({ patch }) => patch ?? []).join('');
    const done = Math.min(...replayed.map((target) => target.commits));
    return {
      version: 2,
      kind: 'replay',
      range: request.commits.range,
      commits: builds.slice(0, done).map(reportedCommit),
      notes: [...notesOf(request, commits, bases, reader), ...unsizedNote(objects)],
      model: errorOf(replayed),
      stoppedAfter: done < builds.length ? done : undefined,
      runs: replayed.flatMap((target) => target.runs),
      patch: patches === '' ? undefined : patches,
    };
  } finally {
    for (const open of closing) open.close();
  }
}

interface TargetServices {
  readonly reader: CommitReader;
  readonly objects: GitObjects;
  readonly repository: GitRepository;
  readonly store: string;
  readonly builds: readonly ScheduledBuild[];
  readonly signal: AbortSignal;
  readonly sources: CostSources;
}

interface ReplayedTarget {
  readonly runs: readonly ReplayRun[];
  /** How many were replayed: all, unless it was stopped. */
  readonly commits: number;
  readonly error: ModelError;
  readonly patch: string | undefined;
}

async function replayTarget(
  target: ReplayTarget,
  policies: readonly Policy[],
  services: TargetServices,
): Promise<ReplayedTarget> {
  const { reader, objects, builds, signal, sources } = services;
  const tip = builds.at(-1)?.commit;
  const newest = tip === undefined ? undefined : await reader.read(tip, target);
  const book = new CostBook(sources, await projectFacts(newest ?? { steps: [] }, objects));
  const costOf: CostOf = (step) => book.of(step);
  const recorders = policies.map((policy) => new Recorder(target.name, policy));
  const commits = await replayBuilds(target, recorders, { ...services, costOf });
  const done = recorders.map((recorder) => recorder.run());
  // What order would save is the same under every policy that keeps what was built.
  const adviser = policies.find(({ advises }) => advises === true);
  const { advice, patch } =
    adviser === undefined || signal.aborted
      ? NO_ADVICE
      : await advise(target, {
          ...services,
          ...knownCosts(done[policies.indexOf(adviser)], builds),
          costOf,
          policy: adviser,
        });
  const runs = done.map((run, at): ReplayRun => ({
    ...run,
    advice: policies[at] === adviser ? advice : [],
  }));
  return { runs, commits, error: book.error, patch };
}

/** What advice need not find out again. */
function knownCosts(
  run: Omit<ReplayRun, 'advice'> | undefined,
  builds: readonly ScheduledBuild[],
): Pick<AdviceServices, 'known' | 'rebuilt'> {
  const { secondsRebuilt = 0, bytesRebuilt = 0 } = run?.totals ?? {};
  const isWhole = run !== undefined && builds.length <= TRIED_ON;
  return {
    known: isWhole ? { seconds: secondsRebuilt, bytes: bytesRebuilt } : undefined,
    rebuilt: (instruction) =>
      (run?.instructions ?? [])
        .filter(({ text }) => text === instruction)
        .reduce((sum, row) => sum + row.secondsRebuilt, 0),
  };
}

const NO_ADVICE: AdviceOnTarget = { advice: [], patch: undefined };

/** Builds a history under all policies at once. Returns how far it came. */
async function replayBuilds(
  target: ReplayTarget,
  recorders: readonly Recorder[],
  { reader, builds, signal, costOf }: TargetServices & { readonly costOf: CostOf },
): Promise<number> {
  const analyser = new Analyser(reader.contexts, costOf, true);
  /** The last commit of each branch; those of the default branch have none. */
  const last = new Map<string | undefined, AnalysedCommit>();
  let commits = 0;
  for (let from = 0; from < builds.length && !signal.aborted; from += TOGETHER) {
    await setImmediate(); // signals are seen between turns alone
    const some = builds.slice(from, from + TOGETHER);
    const keys = await Promise.all(some.map(({ commit }) => reader.read(commit, target)));
    for (const [at, { commit, branch }] of some.entries()) {
      const next = keys[at];
      if (next === undefined) continue;
      const analysed = await analyser.analyse(next, last.get(branch) ?? last.get(undefined));
      if (analysed.steps.length > 0) last.set(branch, analysed);
      for (const recorder of recorders) recorder.add(analysed, { time: commit.time, branch });
      commits++;
    }
  }
  return commits;
}

/** The model's error on all targets: the median of theirs, weighed by nothing. */
function errorOf(targets: readonly ReplayedTarget[]): ModelError {
  const errors = targets.map(({ error }) => error).filter(({ steps }) => steps > 0);
  const factors = errors.flatMap(({ medianFactor }) => medianFactor ?? []).sort((a, b) => a - b);
  return {
    steps: errors.reduce((sum, { steps }) => sum + steps, 0),
    medianFactor: factors[Math.floor(factors.length / 2)],
  };
}

function scheduled(
  commits: readonly GitCommit[],
  { branches }: ReplayRequest,
): readonly ScheduledBuild[] {
  const tip = commits.at(-1);
  return branches && tip !== undefined
    ? branchesInTurn(commits, tip.id)
    : oneAfterTheOther(commits);
}

function reportedCommit({ commit, branch }: ScheduledBuild): ReplayReport['commits'][number] {
  const { id, time, subject, parents } = commit;
  return { id, time, subject, parents: parents.length, branch };
}

function unsizedNote({ unsized }: GitObjects): string[] {
  return unsized === 0
    ? []
    : [`${unsized} files are not in this clone: they count with no bytes, their ids tell the rest`];
}

/** What the history cannot tell, and what was taken for it. */
function notesOf(
  { commits: { allParents }, branches }: ReplayRequest,
  commits: readonly GitCommit[],
  bases: Bases,
  reader: CommitReader,
): string[] {
  const merges = commits.filter(({ parents }) => parents.length > 1).length;
  const unknown = bases.unknown.map((name) => {
    const failed = bases.failed.get(name);
    return `the image ${name} is not in the store${failed === undefined ? '' : ` and its registry did not tell of it (${failed})`}: its variables, users and triggers stand for themselves`;
  });
  return [
    'base images are taken as they are now: whether they moved is not in the history',
    ...unknown,
    ...(merges === 0 || allParents || branches
      ? []
      : [
          `${merges} merge${merges === 1 ? '' : 's'}: the commits that they brought in are not replayed one by one (--all-parents, --branches)`,
        ]),
    ...[...reader.submodules].map(
      (path) =>
        `${path} is a submodule: its files are in another repository, and it is taken as an empty directory`,
    ),
    ...(reader.pointers.size === 0
      ? []
      : [
          `git LFS keeps ${[...reader.pointers].slice(0, 5).join(', ')} elsewhere: such files count by their pointers, with the sizes that these say`,
        ]),
  ];
}
