import type { BuildOptions } from './options';
import type { NamedContexts } from './named-contexts';
import type { BuildSecrets } from './secrets';
import type { SourceGuard } from './source-guard';
import type { SshAgents } from './ssh-agents';
import type { RemoteCaches } from '../cache/remote/caches';
import type { OpenedContext } from '../context/open';
import type { FetchedSources } from '../context/fetched';
import type { RemoteSources } from '../context/remote';
import type { Dockerfile } from '../dockerfile/instruction';
import type { Engine } from '../engine';
import type { Graph } from '../graph/graph';
import type { PlanTarget } from '../graph/plan';
import type { BuildJournal } from '../history/journal';
import type { Lease } from '../images/store/lease';
import type { BuildScope, VertexId } from '../progress/events';
import type { Solution } from '../solver/solution';

/** What a build is asked for, of which store, and who hears of it. */
export interface BuildRequest {
  readonly options: BuildOptions;
  readonly engine: Engine;
  readonly scope: BuildScope;
}

/** A build that is open: what it reads, and what goes when it ends. */
export interface BuildRun extends BuildRequest {
  readonly newVertex: () => VertexId;
  /** Keeps from collection what the build uses. */
  readonly lease: Lease;
  readonly secrets: BuildSecrets;
  readonly ssh: SshAgents;
  /** What ADD and contexts fetch. */
  readonly remote: RemoteSources;
  /** Holds sources to a policy, where there is one. */
  readonly guard: SourceGuard | undefined;
  /** What was fetched until now. */
  readonly fetched: FetchedSources;
  readonly context: OpenedContext;
  readonly contexts: NamedContexts;
  /** The store in which cache mounts are: the engine's, or one that goes with the build. */
  readonly cacheMounts: string;
  /** Keeps account of what was taken from the cache, and of why the rest was not. */
  readonly journal: BuildJournal;
}

/** One image that a build is to make. */
export interface WantedImage extends PlanTarget {
  readonly names: readonly string[];
  /** Images of one target for several platforms have the same number. */
  readonly group: number | undefined;
}

/** A build whose graph is known. `options` have what the Dockerfile says of the whole build. */
export interface PlannedBuild extends BuildRun {
  readonly dockerfile: Dockerfile;
  readonly wanted: readonly WantedImage[];
  readonly graph: Graph;
  /** Those of `--cache-from`, made ready to be asked. */
  readonly caches: RemoteCaches | undefined;
}

/** A build whose steps are done. */
export interface SolvedBuild extends PlannedBuild {
  readonly solution: Solution;
}
