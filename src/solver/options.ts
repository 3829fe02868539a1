import type { RemoteSources } from '../context/remote';
import type { SourceTree } from '../context/source-tree';
import type { StagePlan, Step } from '../graph/graph';
import type { BuildJournal } from '../history/journal';
import type { CgroupLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ResolverOptions } from '../sandbox/resolver';
import type { FailedRunHandler } from './failed-run';

/** What a build may say about how its steps are done. None of it changes what comes out. */
export interface SolveOptions {
  readonly noCache: boolean;
  /** Stages whose steps are not taken from the cache. */
  readonly noCacheStages: readonly string[];
  /** Line of the Dockerfile from which on steps are not taken from the cache. */
  readonly noCacheFrom?: number | undefined;
  /** The store in which cache mounts are: the build's own, or one that goes with the build. */
  readonly cacheMounts: string;
  /**
   * Layers of the targets stay in the cache elsewhere that has them, where nothing else needs them.
   */
  readonly leaveTargets?: boolean | undefined;
  /** Layers of the targets will leave as gzip: large ones are compressed while they are hashed. */
  readonly compressTargets?: boolean | undefined;
  /** Run at most this many steps at once. */
  readonly jobs: number;
  /**
   * Seconds since the epoch: later times in layers are set to it. It is in no key, as trees are the
   * same for each; see {@link presentTime}.
   */
  readonly sourceDateEpoch?: number | undefined;
  readonly proxies: Readonly<Record<string, string>>;
  readonly extraHosts: readonly { readonly name: string; readonly ip: string }[];
  readonly resolver: ResolverOptions;
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly shmSize?: number | undefined;
  /** How much of the machine each RUN may use. */
  readonly limits: CgroupLimits;
  /** Milliseconds after which a RUN is killed. */
  readonly stepTimeout?: number | undefined;
  /** How often a RUN that fails is tried again. */
  readonly stepRetries?: number | undefined;
  /** Told of each RUN that failed for good. */
  readonly failedRun?: FailedRunHandler | undefined;
  readonly secrets: ReadonlyMap<string, () => Buffer>;
  /** The values that must not be shown: those of `secrets` that can be had now. */
  readonly knownSecrets: () => readonly Buffer[];
  /** Sockets of SSH agents, by id. */
  readonly ssh: ReadonlyMap<string, string>;
  readonly devices: DeviceOptions;
  /** Keeps account of what was taken from the cache, and of why the rest was not. */
  readonly journal?: Pick<BuildJournal, 'id' | 'missed' | 'solved'> | undefined;
  /** The build's files; `name` for a named context. */
  readonly context: (name?: string) => Promise<SourceTree>;
  /** Files and repositories that ADD fetches. */
  readonly remote: RemoteSources;
}

/** Which devices a build may give to its steps, and where they are described. */
export interface DeviceOptions {
  /** Of `--allow device=…`: names, `vendor/class`, or `*` for all. */
  readonly allowed: readonly string[];
  /** Folders of CDI specifications. */
  readonly folders: readonly string[];
}

/**
 * The flag that keeps a step from being taken from the cache. Triggers of the base image stand on
 * the line of their FROM.
 */
export function refusedBy(
  step: Step,
  stage: StagePlan,
  { noCache, noCacheStages, noCacheFrom }: SolveOptions,
): string | undefined {
  if (noCache) return '--no-cache';
  if (noCacheFrom !== undefined && step.range.start.line >= noCacheFrom) return '--no-cache-from';
  return noCacheStages.includes(stage.name) ? '--no-cache-filter' : undefined;
}

/**
 * The time of what a step makes, in seconds since the epoch, where the clock would not do: trees
 * have times as they are, which are SOURCE_DATE_EPOCH in tars unless that is still to come.
 * `undefined` for the clock's.
 */
export function presentTime({
  sourceDateEpoch,
}: Pick<SolveOptions, 'sourceDateEpoch'>): number | undefined {
  return sourceDateEpoch !== undefined && sourceDateEpoch * 1000 > Date.now()
    ? sourceDateEpoch
    : undefined;
}
