import { isMbuildError } from '../diagnostics/error';
import type { Graph, StagePlan, TreeSource } from '../graph/graph';
import type { BuildScope, VertexId } from '../progress/events';
import { Committer } from './commit';
import { imageTree, SCRATCH } from './image-tree';
import { LayerHasher } from './layer-hasher';
import type { SolveOptions } from './options';
import { ResultFinder } from './results';
import type { SolverServices, StepServices } from './services';
import type { Solution } from './solution';
import { StepRunner } from './step-runner';
import type { Tree } from './tree';
import { Vertices } from './vertices';

/** What a graph is solved with. */
export interface Solving {
  readonly services: SolverServices;
  readonly options: SolveOptions;
  readonly newVertex: () => VertexId;
  readonly scope: BuildScope;
}

/**
 * Milliseconds for which the results of steps that ended well are hashed after the build was told
 * to end.
 */
const PATIENCE = 500;

/**
 * Walks the graph: stages at the same time, the steps of a stage in order, each taken from the
 * cache or run. A failing step ends the others. Resolves when every step is done, every layer is
 * hashed and recorded, and those of the targets are in the store, unless they are to be left where
 * they are.
 * @throws MbuildError CACHE_INVALID when a cache elsewhere has not what it says: it will not be
 * taken another time, so begin anew.
 */
export async function solve(graph: Graph, solving: Solving): Promise<Solution> {
  const { scope, options } = solving;
  const failure = new AbortController();
  const signal = AbortSignal.any([scope.signal, failure.signal]);
  const patience = abortedLater(scope.signal, PATIENCE);
  const solver = new Solver(graph, { ...solving, scope: { ...scope, signal } }, patience);
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
    // What is being hashed belongs to steps that ended well: it is recorded, so that the next build
    // goes on from there, unless that takes long.
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

class Solver {
  readonly #stages = new Map<number, Promise<Tree>>();
  readonly #vertices: Vertices;
  readonly #committer: Committer;
  readonly #runner: StepRunner;

  constructor(
    graph: Graph,
    private readonly solving: Solving,
    patience: AbortSignal,
  ) {
    const { services, options, newVertex, scope } = solving;
    this.#vertices = new Vertices(graph, newVertex, scope.events);
    const { sourceDateEpoch } = options;
    const { signal } = scope;
    const hasher = new LayerHasher(services, { sourceDateEpoch, signal, patience });
    const results = new ResultFinder(services, hasher, sourceDateEpoch);
    this.#committer = new Committer(services, results, hasher, sourceDateEpoch);
    this.#runner = new StepRunner({
      services: this.#stepServices(),
      scope,
      vertices: this.#vertices,
      results,
      committer: this.#committer,
      leavesAsGzip: options.compressTargets === true ? graph.targets.flatMap(indexesDown) : [],
    });
  }

  get outcomes(): Solution['outcomes'] {
    return this.#runner.outcomes;
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
    await this.#runner.landed();
    await this.#committer.settled();
  }

  async #solveStage(stage: StagePlan): Promise<Tree> {
    let tree = await this.#base(stage);
    for (const step of stage.steps) {
      tree = await this.#runner.run(step, stage, tree).catch((error: unknown) => {
        throw isMbuildError(error) ? error.at(step.file, step.range) : error;
      });
    }
    return tree;
  }

  async #base(stage: StagePlan): Promise<Tree> {
    const { base } = stage;
    if (base.kind === 'scratch') return SCRATCH;
    if (base.kind === 'stage') return this.stage(base.stage);
    const { events } = this.solving.scope;
    const id = this.#vertices.ofBase(stage);
    events({ kind: 'started', id, time: Date.now() });
    const tree = await this.#treeOf({ kind: 'image', image: base.image });
    events({ kind: 'done', id, time: Date.now(), cached: true });
    return tree;
  }

  async #treeOf(source: TreeSource): Promise<Tree> {
    switch (source.kind) {
      case 'stage':
        return this.stage(source.stage);
      case 'image':
        return imageTree(source.image);
      case 'context':
        throw new Error('a context is not a tree of the store');
    }
  }

  #stepServices(): StepServices {
    const { services, options, scope } = this.solving;
    const warned = new Set<string>();
    return {
      ...services,
      options,
      tree: (source) => this.#treeOf(source),
      warn: (diagnostic, once) => {
        const key =
          once === true
            ? diagnostic.code
            : `${diagnostic.code} ${diagnostic.range?.start.line ?? ''} ${diagnostic.message}`;
        if (!warned.has(key)) scope.events({ kind: 'warning', diagnostic });
        warned.add(key);
      },
    };
  }
}

/** The indexes of a stage and of those that it is built on. */
function indexesDown({ index, base }: StagePlan): number[] {
  return [index, ...(base.kind === 'stage' ? indexesDown(base.stage) : [])];
}
