import pLimit from 'p-limit';
import { MbuildError, isMbuildError, type Diagnostic } from '../diagnostics/error';
import type { CacheStore } from '../cache/record';
import type { RemoteResults } from '../cache/remote/caches';
import { sourceResult, type CacheKey } from '../cache/key';
import type { RemoteSources } from '../context/remote';
import type { SourceTree } from '../context/source-tree';
import type { Graph, StagePlan, Step, TreeSource } from '../graph/graph';
import type { Aside } from '../content/aside';
import type { ContentStore } from '../content/store';
import type { BuildJournal, MissNote } from '../history/journal';
import type { LayerIndex } from '../images/store/layer-index';
import type { Lease } from '../images/store/lease';
import type { OverlayXattrs } from '../layer/layer';
import type { Threads } from '../linux/threads';
import { chainIds } from '../oci/digest';
import type { BuildScope, VertexId } from '../progress/events';
import type { CgroupLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ResolverOptions } from '../sandbox/resolver';
import type { Sandbox } from '../sandbox/sandbox';
import type { ActiveSnapshot, Snapshotter } from '../snapshot/snapshotter';
import { Committer, reportedElsewhere, type FoundResult } from './commit';
import type { DeviceOptions } from './devices';
import type { DoneAhead } from './copy-into';
import type { EarlierCopy } from './earlier-copy';
import { leakWatch } from './leaks';
import { planStep, type PlannedStep } from './step';
import type { Tree, TreeLayer } from './tree';
import { singleFlight } from './single-flight';

/** What the solver works with. */
export interface SolverServices {
  /** The store's folder. */
  readonly root: string;
  readonly cache: CacheStore;
  /** Caches elsewhere, which are asked for what the store lacks. */
  readonly remote?: RemoteResults | undefined;
  readonly content: ContentStore;
  readonly layers: LayerIndex;
  /** Where what is found damaged goes. */
  readonly aside: Aside;
  readonly snapshots: Snapshotter;
  readonly sandbox: Sandbox;
  readonly threads: Threads;
  readonly xattrs: OverlayXattrs;
  /** Keeps what the build uses from being collected by other processes. */
  readonly lease: Lease;
}

/** What a build may say about how its steps are done. None of it changes what comes out. */
export interface SolveOptions {
  readonly noCache: boolean;
  /** Stages whose steps are not taken from the cache. */
  readonly noCacheStages: readonly string[];
  /** Line of the Dockerfile from which on steps are not taken from the cache. */
  readonly noCacheFrom?: number | undefined;
  /** The store in which cache mounts are: the build's own, or one that goes with the build. */
  readonly cacheMounts: string;
  /** Layers of the targets stay in the cache elsewhere that has them, where nothing else needs them. */
  readonly leaveTargets?: boolean | undefined;
  /** Layers of the targets will leave as gzip: large ones are compressed while they are hashed. */
  readonly compressTargets?: boolean | undefined;
  /** Most steps that run at once. */
  readonly jobs: number;
  /** Seconds since the epoch; later times in layers are set to it, and it stands for the present. */
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

/** How a step came about. */
export interface StepOutcome {
  readonly step: Step;
  readonly key: CacheKey;
  /** Digests of selections that its key is made of, by the names under which they are remembered. */
  readonly digests: ReadonlyMap<string, string>;
  readonly cached: boolean;
  /** It was run, and left what an earlier step had left. */
  readonly kept: boolean;
  readonly durationMs: number;
  /** RFC 3339: when the layer was first made. */
  readonly created: Promise<string>;
  /** The layer that the step added; `undefined` when it changed nothing. */
  readonly layer: Promise<
    | { readonly diffId: TreeLayer['diffId']; readonly size: number; readonly contentSize: number }
    | undefined
  >;
}

/** Milliseconds for which the results of steps that ended well are hashed after the build was told to end. */
const PATIENCE = 500;

/** What a graph came to. */
export interface Solution {
  /** By index of the stage. */
  readonly trees: ReadonlyMap<number, Tree>;
  /** By step id. */
  readonly outcomes: ReadonlyMap<number, StepOutcome>;
}

/**
 * Walks the graph: stages at the same time, the steps of a stage in order, each taken from the cache or run. A failing
 * step ends the others. Resolves when every step is done, every layer is hashed and recorded, and those of the targets are in the store, unless
 * they are to be left where they are.
 * @throws MbuildError CACHE_INVALID when a cache elsewhere has not what it says: it will not be taken another time, so begin anew.
 */
export async function solve(
  graph: Graph,
  services: SolverServices,
  options: SolveOptions,
  newVertex: () => VertexId,
  scope: BuildScope,
): Promise<Solution> {
  const failure = new AbortController();
  const signal = AbortSignal.any([scope.signal, failure.signal]);
  const patience = abortedLater(scope.signal, PATIENCE);
  const solver = new Solver(graph, services, options, newVertex, { ...scope, signal }, patience);
  solver.announce(graph);
  const stages = graph.stages.map((stage) =>
    solver.stage(stage).catch((error: unknown) => {
      failure.abort(error);
      throw error;
    }),
  );
  try {
    const trees = await Promise.all(stages);
    const byStage = new Map(
      graph.stages.flatMap(({ index }, i) =>
        trees[i] === undefined ? [] : [[index, trees[i]] as const],
      ),
    );
    if (options.leaveTargets !== true)
      await Promise.all(graph.targets.map(({ index }) => byStage.get(index)?.stack()));
    await solver.settled();
    return { trees: byStage, outcomes: solver.outcomes };
  } catch (error) {
    // The others were told to stop; what they had begun is taken away before anybody goes on.
    await Promise.allSettled(stages);
    // What is being hashed belongs to steps that ended well: it is recorded, so that the next build goes on from there, unless that takes long.
    await solver.settled().catch(() => undefined);
    throw isMbuildError(error, 'CANCELED') && !scope.signal.aborted ? failure.signal.reason : error;
  }
}

/** A signal that is aborted so many milliseconds after another, if the program still runs then. */
function abortedLater(signal: AbortSignal, delay: number): AbortSignal {
  const later = new AbortController();
  const start = (): void => void setTimeout(() => later.abort(signal.reason), delay).unref();
  if (signal.aborted) start();
  else signal.addEventListener('abort', start, { once: true });
  return later.signal;
}

/** The flag that keeps a step from being taken from the cache. Triggers of the base image stand on the line of their FROM. */
export function refusedBy(
  step: Step,
  stage: StagePlan,
  { noCache, noCacheStages, noCacheFrom }: SolveOptions,
): string | undefined {
  if (noCache) return '--no-cache';
  if (noCacheFrom !== undefined && step.range.start.line >= noCacheFrom) return '--no-cache-from';
  return noCacheStages.includes(stage.name) ? '--no-cache-filter' : undefined;
}

/** The indexes of a stage and of those that it is built on. */
function indexesDown({ index, base }: StagePlan): number[] {
  return [index, ...(base.kind === 'stage' ? indexesDown(base.stage) : [])];
}

/** What a step's own file may ask of the solver. */
export interface StepServices extends SolverServices {
  readonly options: SolveOptions;
  /** The tree of what `--from` names; a stage is solved first. */
  readonly tree: (source: TreeSource) => Promise<Tree>;
  /** @param once true for what is told of the first step alone that it is true of. */
  readonly warn: (diagnostic: Diagnostic, once?: boolean) => void;
}

class Solver {
  readonly outcomes = new Map<number, StepOutcome>();
  readonly #stages = new Map<number, Promise<Tree>>();
  /** Steps that were begun, by key. */
  readonly #underway = new Map<string, Promise<{ readonly tree: Tree; readonly stepId: number }>>();
  /** Steps whose results others cannot find yet. */
  readonly #landing = new Set<Promise<unknown>>();
  readonly #vertices = new Map<string, VertexId>();
  /** What was warned of already. */
  readonly #warned = new Set<string>();
  readonly #committer: Committer;
  /** Stages whose layers are in an image that leaves as gzip. */
  readonly #leavesAsGzip: readonly number[];
  readonly #limit: ReturnType<typeof pLimit>;
  readonly #services: StepServices;

  constructor(
    graph: Graph,
    private readonly services: SolverServices,
    private readonly options: SolveOptions,
    private readonly newVertex: () => VertexId,
    private readonly scope: BuildScope,
    patience: AbortSignal,
  ) {
    this.#committer = new Committer(services, options.sourceDateEpoch, scope.signal, patience);
    this.#leavesAsGzip = options.compressTargets === true ? graph.targets.flatMap(indexesDown) : [];
    this.#limit = pLimit(options.jobs);
    this.#services = {
      ...services,
      options,
      tree: (source) => this.#treeOf(source),
      warn: (diagnostic, once) => {
        const key =
          once === true
            ? diagnostic.code
            : `${diagnostic.code} ${diagnostic.range?.start.line ?? ''} ${diagnostic.message}`;
        if (!this.#warned.has(key)) scope.events({ kind: 'warning', diagnostic });
        this.#warned.add(key);
      },
    };
  }

  /** Tells all rows at once, so that a renderer knows how much is to come. */
  announce(graph: Graph): void {
    for (const stage of graph.stages) {
      if (stage.base.kind === 'image')
        this.#announce(
          `base ${stage.index}`,
          stage.base.stepName,
          stage.name,
          stage.base.range.start.line,
        );
      for (const step of stage.steps)
        this.#announce(`step ${step.id}`, step.name, stage.name, step.range.start.line);
    }
  }

  stage(stage: StagePlan): Promise<Tree> {
    const known = this.#stages.get(stage.index);
    if (known !== undefined) return known;
    const solving = this.#solveStage(stage);
    this.#stages.set(stage.index, solving);
    return solving;
  }

  /** Waits for every hash and record under way, and until others may have what they are of. */
  async settled(): Promise<void> {
    await Promise.all(this.#landing);
    await this.#committer.settled();
  }

  async #solveStage(stage: StagePlan): Promise<Tree> {
    let tree = await this.#base(stage);
    for (const step of stage.steps) {
      const before = tree;
      tree = await this.#step(step, before, stage).catch((error: unknown) => {
        throw isMbuildError(error) ? error.at(step.file, step.range) : error;
      });
    }
    return tree;
  }

  async #base(stage: StagePlan): Promise<Tree> {
    const { base } = stage;
    if (base.kind === 'scratch')
      return {
        result: sourceResult(undefined),
        stack: () => Promise.resolve([]),
        layers: Promise.resolve([]),
      };
    if (base.kind === 'stage') return this.stage(base.stage);
    const id = this.#vertex(`base ${stage.index}`);
    this.scope.events({ kind: 'started', id, time: Date.now() });
    const tree = await this.#treeOf({ kind: 'image', image: base.image });
    this.scope.events({ kind: 'done', id, time: Date.now(), cached: true });
    return tree;
  }

  async #treeOf(source: TreeSource): Promise<Tree> {
    switch (source.kind) {
      case 'stage':
        return this.stage(source.stage);
      case 'image': {
        const stack = await source.image.stack();
        this.services.lease.hold({ layers: stack });
        const { diff_ids: diffIds } = source.image.config.rootfs;
        const chains = chainIds(diffIds);
        const layers = diffIds.flatMap((diffId, i) =>
          chains[i] === undefined ? [] : [{ diffId, chainId: chains[i] }],
        );
        return {
          result: sourceResult(chains.at(-1)),
          stack: () => Promise.resolve(stack),
          layers: Promise.resolve(layers),
        };
      }
      case 'context':
        throw new Error('a context is not a tree of the store');
    }
  }

  /** One step: its key, then the earlier result or the work. */
  async #step(step: Step, parent: Tree, stage: StagePlan): Promise<Tree> {
    this.scope.signal.throwIfAborted();
    const id = this.#vertex(`step ${step.id}`);
    const started = Date.now();
    let done: DoneAhead | undefined;
    try {
      const refused = refusedBy(step, stage, this.options);
      const planned = await planStep(
        step,
        parent,
        this.#services,
        this.scope,
        id,
        refused !== undefined || this.#isNew(step, parent),
      );
      done = planned.done;
      const mayUseCache = refused === undefined;
      const hit = mayUseCache ? await this.#committer.lookup(planned.key, parent) : undefined;
      this.scope.events({ kind: 'started', id, time: started });
      if (hit !== undefined) return this.#hit(step, planned, hit, id);
      // Another stage, perhaps of another platform, may be doing this very step.
      const twin = this.#underway.get(planned.key);
      if (twin !== undefined) return this.#likewise(step, planned, await twin, id);
      const flight = this.#limit(() =>
        singleFlight(`${this.services.root}/locks`, planned.key, this.scope.signal, async () => {
          // Another process may have done this very step while we waited for it.
          const late = mayUseCache ? await this.#committer.lookup(planned.key, parent) : undefined;
          if (late !== undefined)
            return { value: this.#hit(step, planned, late, id), landed: Promise.resolve() };
          // Why it was missed is found out while it runs; a copy can then begin with what it was edited from.
          const missed = this.options.journal?.missed(step, planned, refused).then((miss) => {
            this.scope.events({ kind: 'note', id, text: `not cached: ${miss.text}` });
            return miss;
          });
          missed?.catch(() => undefined); // awaited below, unless the step fails first
          const earlier =
            step.operation.kind === 'copy'
              ? await this.#earlierCopy(planned, await missed)
              : undefined;
          const active = await this.#execute(planned, parent, id, earlier);
          const durationMs = Date.now() - started;
          const earlierKey = (await missed)?.earlierKey;
          const made = await this.#committer.commit(
            active,
            parent,
            {
              key: planned.key,
              input: planned.input,
              earlierKey,
              build: this.options.journal?.id,
              leaks: leakWatch(step, this.options.secrets, this.#services.warn),
              leavesAsGzip: this.#leavesAsGzip.includes(stage.index),
              hashed: planned.done?.hashed,
            },
            durationMs,
          );
          this.#solved(
            {
              step,
              key: planned.key,
              digests: planned.digests,
              cached: false,
              kept: made.kept,
              durationMs,
              created: reportedElsewhere(made.record.then((record) => record.created)),
              layer: reportedElsewhere(made.record.then((record) => record.layer)),
            },
            planned,
          );
          if (made.kept)
            this.scope.events({ kind: 'note', id, text: 'same result as before, kept' });
          this.scope.events({ kind: 'done', id, time: Date.now(), cached: false });
          return { value: made.tree, landed: made.record };
        }),
      );
      const underway = flight.then(({ value: tree, landed }) => {
        this.#landing.add(reportedElsewhere(landed));
        return { tree, stepId: step.id };
      });
      underway.catch(() => undefined); // thrown below
      this.#underway.set(planned.key, underway);
      return (await underway).tree;
    } catch (error) {
      const canceled = this.scope.signal.aborted || isMbuildError(error, 'CACHE_INVALID');
      this.scope.events({
        kind: 'failed',
        id,
        time: Date.now(),
        error: error instanceof Error ? error.message : String(error),
        canceled,
      });
      throw canceled && !isMbuildError(error)
        ? new MbuildError('CANCELED', 'the build was canceled', { cause: error })
        : error;
    } finally {
      // What was committed is gone from there; what was done in vain goes now.
      if (done !== undefined) this.services.snapshots.discard(done.active);
    }
  }

  /** True for a copy of which no cache can have a result, for none was ever made onto that tree. */
  #isNew(step: Step, parent: Tree): boolean {
    return (
      step.operation.kind === 'copy' &&
      this.services.remote === undefined &&
      !this.services.cache.knowsCopyOnto(parent.result)
    );
  }

  async #earlierCopy(
    planned: PlannedStep,
    missed: MissNote | undefined,
  ): Promise<EarlierCopy | undefined> {
    if (planned.done !== undefined || missed?.earlierKey === undefined) return undefined;
    const { findEarlierCopy } = await import('./earlier-copy');
    return findEarlierCopy(missed.earlierKey, planned, this.services);
  }

  /** Does what is planned on a tree of its own; a command that fails is tried again on a fresh one, as often as the build allows. */
  async #execute(
    planned: PlannedStep,
    parent: Tree,
    id: VertexId,
    earlier: EarlierCopy | undefined,
  ): Promise<ActiveSnapshot> {
    if (planned.done !== undefined) return planned.done.active;
    for (let left = this.options.stepRetries ?? 0; ; left--) {
      const active = this.services.snapshots.prepare(await parent.stack());
      try {
        await planned.execute(active, earlier);
        return active;
      } catch (error) {
        this.services.snapshots.discard(active);
        if (
          left === 0 ||
          (!isMbuildError(error, 'EXEC_FAILED') && !isMbuildError(error, 'STEP_TIMEOUT'))
        )
          throw error;
        this.scope.events({
          kind: 'note',
          id,
          text: `${error.message}; tried again, ${left === 1 ? 'for the last time' : `at most ${left} times`}`,
        });
      }
    }
  }

  #hit(step: Step, planned: PlannedStep, hit: FoundResult, id: VertexId): Tree {
    const { record, remote } = hit;
    if (remote !== undefined)
      this.scope.events({ kind: 'note', id, text: `from the cache of ${remote.from}` });
    this.#solved(
      {
        step,
        key: record.key,
        digests: planned.digests,
        cached: true,
        kept: false,
        durationMs: record.durationMs,
        created: Promise.resolve(record.created),
        layer: Promise.resolve(record.layer),
      },
      planned,
      record.build,
      remote?.from,
    );
    this.scope.events({ kind: 'done', id, time: Date.now(), cached: true });
    return hit.tree;
  }

  /** A step that was done for another stage of this build. */
  #likewise(
    step: Step,
    planned: PlannedStep,
    twin: { readonly tree: Tree; readonly stepId: number },
    id: VertexId,
  ): Tree {
    const outcome = this.outcomes.get(twin.stepId);
    if (outcome === undefined) throw new Error('a step without an outcome');
    this.#solved(
      { ...outcome, step, cached: true, kept: false },
      planned,
      this.options.journal?.id,
    );
    this.scope.events({ kind: 'note', id, text: `same as ${outcome.step.name}` });
    this.scope.events({ kind: 'done', id, time: Date.now(), cached: true });
    return twin.tree;
  }

  #solved(outcome: StepOutcome, planned: PlannedStep, madeBy?: string, from?: string): void {
    this.outcomes.set(outcome.step.id, outcome);
    this.options.journal?.solved(outcome.step, {
      ...planned,
      cached: outcome.cached,
      kept: outcome.kept,
      durationMs: outcome.durationMs,
      layer: outcome.layer,
      madeBy,
      from,
    });
  }

  #announce(what: string, name: string, stage: string, line: number): void {
    const id = this.newVertex();
    this.#vertices.set(what, id);
    this.scope.events({ kind: 'vertex', id, name, stage, line });
  }

  #vertex(what: string): VertexId {
    const id = this.#vertices.get(what);
    if (id === undefined) throw new Error(`${what} was not announced`);
    return id;
  }
}
