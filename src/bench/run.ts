import { appendFileSync, cpSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { build, type BuildOptions } from '../build';
import { temporaryDirectory } from '../content/temporary';
import { MbuildError, isMbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import { removeTree } from '../linux/remove-tree';
import { runCommand } from '../sandbox/command';
import { GitRepository, type CommitChoice } from './git/repository';
import { argsOf } from './keys/arguments';

/** What is built, and how often. */
export type BenchPlan =
  /** Every commit of a range, one after the other. */
  | {
      readonly kind: 'git';
      readonly commits: CommitChoice;
      /** As {@link argsOf} reads them. */
      readonly buildArgs: Readonly<Record<string, string>>;
    }
  /** The same context again and again: without the cache, with it, or after a line was added to a file. */
  | {
      readonly kind: 'repeat';
      readonly mode: 'cold' | 'warm' | 'edited';
      readonly times: number;
      readonly file?: string | undefined;
    };

/** What one build took. */
export interface BenchSample {
  /** The commit's id, or `cold 1`. */
  readonly name: string;
  readonly build?: string | undefined;
  readonly problem?: string | undefined;
  readonly wallSeconds: number;
  /** Of mbuild and of what it ran. */
  readonly cpuSeconds: number;
  /** Largest memory of mbuild itself up to then. */
  readonly peakBytes: number;
  readonly hits: number;
  readonly misses: number;
  readonly hitRatio: number;
  readonly steps: readonly {
    readonly name: string;
    readonly text: string;
    readonly cached: boolean;
    readonly kept: boolean;
    readonly seconds: number;
    readonly why?: string | undefined;
  }[];
}

export interface BenchReport {
  readonly version: 1;
  readonly kind: 'run';
  readonly title: string;
  readonly samples: readonly BenchSample[];
}

/** What builds are made with. */
export interface BenchServices {
  readonly engine: Engine;
  readonly signal: AbortSignal;
  readonly options: Omit<BuildOptions, 'context'>;
}

/** Really builds, and measures. @throws MbuildError GIT_FAILED; a build that fails is a sample with a `problem`. */
export async function benchRun(
  directory: string,
  plan: BenchPlan,
  services: BenchServices,
): Promise<BenchReport> {
  const work = temporaryDirectory('bench', services.engine.root);
  try {
    const samples =
      plan.kind === 'git'
        ? await buildRange(directory, work, plan, services)
        : await buildAgain(directory, work, plan, services);
    const title = plan.kind === 'git' ? plan.commits.range : `${plan.times} × ${plan.mode}`;
    return { version: 1, kind: 'run', title, samples };
  } finally {
    removeTree(work);
  }
}

async function buildRange(
  directory: string,
  work: string,
  { commits: choice, buildArgs }: Extract<BenchPlan, { kind: 'git' }>,
  services: BenchServices,
): Promise<BenchSample[]> {
  const git = new GitRepository(directory);
  const prefix = await git.prefix();
  const tree = path.join(work, 'tree');
  mkdirSync(tree);
  const samples: BenchSample[] = [];
  for (const commit of await git.commits(choice)) {
    await checkOut(directory, commit.id, { tree, index: path.join(work, 'index') });
    const context = { kind: 'directory', path: path.join(tree, prefix) } as const;
    const options = { ...services.options, buildArgs: argsOf(commit, buildArgs), context };
    samples.push(await measure(commit.id, options, services));
  }
  return samples;
}

/** Makes a directory what a checkout of the commit is; the repository's own files and index are not touched. */
async function checkOut(
  directory: string,
  commit: string,
  { tree, index }: { readonly tree: string; readonly index: string },
): Promise<void> {
  const git = ['git', '-C', directory, '--work-tree', tree, 'read-tree', '--reset', '-u', commit];
  // The umask is that of a program of its own: other builds may run in this process.
  const { exitCode, stderr } = await runCommand(
    'sh',
    ['-c', 'umask 022 && exec "$@"', 'sh', ...git],
    { env: { GIT_INDEX_FILE: index } },
  );
  if (exitCode !== 0)
    throw new MbuildError('GIT_FAILED', `git read-tree ${commit}: ${stderr.trim()}`);
}

async function buildAgain(
  directory: string,
  work: string,
  { mode, times, file }: Extract<BenchPlan, { kind: 'repeat' }>,
  services: BenchServices,
): Promise<BenchSample[]> {
  if (mode === 'edited' && file === undefined)
    throw new MbuildError('USAGE', 'nothing says which file is to be edited', {
      hint: 'name it with --edit FILE',
    });
  const context = mode === 'edited' ? path.join(work, 'context') : directory;
  if (mode === 'edited') cpSync(directory, context, { recursive: true, verbatimSymlinks: true });
  const samples: BenchSample[] = [];
  for (let i = 1; i <= times; i++) {
    if (mode === 'edited' && file !== undefined) appendFileSync(path.join(context, file), `${i}\n`);
    const options: BuildOptions = {
      ...services.options,
      noCache: mode === 'cold',
      context: { kind: 'directory', path: context },
    };
    samples.push(await measure(`${mode} ${i}`, options, services));
  }
  return samples;
}

async function measure(
  name: string,
  options: BuildOptions,
  { engine, signal }: BenchServices,
): Promise<BenchSample> {
  const [wall, cpu] = [performance.now(), cpuSeconds()];
  const cost = (): Pick<BenchSample, 'wallSeconds' | 'cpuSeconds' | 'peakBytes'> => ({
    wallSeconds: rounded((performance.now() - wall) / 1000),
    cpuSeconds: rounded(cpuSeconds() - cpu),
    peakBytes: process.resourceUsage().maxRSS * 1024,
  });
  try {
    const { buildId, cache, steps } = await build(options, engine, {
      signal,
      events: () => undefined,
    });
    const { hits, misses, hitRatio } = cache;
    return {
      name,
      build: buildId,
      ...cost(),
      hits,
      misses,
      hitRatio,
      steps: steps.map((step) => ({
        name: step.name,
        text: step.name.replace(/^\[.*?\] /, ''),
        cached: step.cached,
        kept: step.kept ?? false,
        seconds: step.durationMs / 1000,
        why: step.missed?.join(', '),
      })),
    };
  } catch (error) {
    if (!isMbuildError(error) || signal.aborted) throw error;
    return { name, problem: error.message, ...cost(), hits: 0, misses: 0, hitRatio: 0, steps: [] };
  }
}

/** CPU time of this process and of the children that it has waited for. proc_pid_stat(5), fields 14 to 17, in hundredths of a second. */
function cpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
