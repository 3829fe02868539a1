import type { BuildRun } from './build-run';
import { openCaches } from './caches';
import { withDeclaredEpoch } from './epoch';
import { solveOptions, solverServices } from './inputs';
import { isLayout, layoutImage } from './layout-image';
import { withBuild } from './open';
import type { BuildOptions } from './options';
import { planWanted, wantedImages } from './wanted';
import type { CacheKey, ResultId } from '../cache/key';
import { isMbuildError } from '../diagnostics/error';
import { parseDockerfile } from '../dockerfile/parse';
import type { Engine } from '../engine';
import type { BaseImage, Operation, StagePlan, Step, TreeSource } from '../graph/graph';
import { peekImage } from '../images/transfer/remote-config';
import { resolveImage } from '../images/transfer/resolve';
import { formatPlatform, type Platform } from '../oci/platform';
import type { BuildScope } from '../progress/events';
import { imageTree, SCRATCH } from '../solver/image-tree';
import { LayerHasher } from '../solver/layer-hasher';
import { refusedBy, type SolveOptions } from '../solver/options';
import type { PlannedStep } from '../solver/planned';
import { ResultFinder, type FoundResult } from '../solver/results';
import type { SolverServices, StepServices } from '../solver/services';
import { planStep } from '../solver/step';
import { treeWith, type Tree } from '../solver/tree';

/** What a build would do, found out without doing it. */
export interface Forecast {
  readonly dockerfile: string;
  readonly steps: readonly ForecastStep[];
  readonly pulls: readonly ForecastPull[];
  /** Layers that would be fetched from caches elsewhere. */
  readonly fetches: readonly ForecastFetch[];
  readonly hits: number;
  readonly misses: number;
  /**
   * Seconds that the missed steps ran last time, one after the other; and from start to end, stages
   * side by side.
   */
  readonly workSeconds: number;
  readonly expectedSeconds: number;
  /** Steps that are not known to have run before: their time is not in the sums. */
  readonly untimed: number;
}

/** What would become of one step. */
export interface ForecastStep {
  readonly name: string;
  readonly stage: string;
  readonly line: number;
  /**
   * `may-hit`: it depends on what a step leaves that would run before it. `same`: another step
   * here, told in `why`, is this very one; it is counted once.
   */
  readonly outcome: 'hit' | 'miss' | 'may-hit' | 'same';
  readonly why?: string | undefined;
  /**
   * Of a hit, the time that is saved; of others, the time that it would take. Absent when it never
   * ran.
   */
  readonly seconds?: number | undefined;
  readonly key?: string | undefined;
}

type ToldStep = Pick<ForecastStep, 'name' | 'stage' | 'line'>;

/** An image that would be pulled. */
export interface ForecastPull {
  readonly name: string;
  /** Bytes of the layers, compressed. */
  readonly bytes: number;
}

/** What would be fetched from one cache elsewhere. */
export interface ForecastFetch {
  readonly from: string;
  /**
   * Bytes of the layers, compressed. At most: layers of stages that only give files need not be
   * fetched.
   */
  readonly bytes: number;
}

/** A step whose key is known. */
interface KeyedStep {
  readonly step: Step;
  readonly parent: ForecastTree;
  readonly planned: PlannedStep;
  /** The flag that keeps it from being taken from the cache. */
  readonly refused: string | undefined;
  readonly told: ToldStep;
  /** Milliseconds from the start of the build. */
  readonly startsAt: number;
  readonly mayBeKept: boolean;
}

/** The tree of a step, or that it has to be made first. */
interface ForecastTree extends Tree {
  /** Known only once steps have run: it is the nearest tree that is known. */
  readonly isGuess: boolean;
  /** A step that would run may leave what it left before, and then all may be as it was. */
  readonly mayBeKept: boolean;
  /** Milliseconds from the start of the build. */
  readonly readyAt: number;
}

/**
 * Tells what a build would take from the cache, run and pull, and how long it would take by the
 * durations that are on record. Nothing is run and no layer is pulled; of base images that are not
 * in the store the manifest is asked for.
 * @throws MbuildError as a build does until its first step.
 */
export async function forecast(
  options: BuildOptions,
  engine: Engine,
  scope: BuildScope,
): Promise<Forecast> {
  return withBuild({ options, engine, scope }, async (opened) => {
    const dockerfile = parseDockerfile(opened.context.dockerfile);
    const run = { ...opened, options: await withDeclaredEpoch(options, dockerfile) };
    const pulls = new Map<string, ForecastPull>();
    const graph = await planWanted(run, dockerfile, wantedImages(run.options), {
      findImage: (name, platform) => findBase(name, platform, run, pulls),
      warn: () => undefined,
    });
    const caches = (await openCaches(run))?.caches;
    run.journal.begin(graph, dockerfile, caches);
    const forecaster = new Forecaster(run, solverServices(run, caches));
    for (const stage of graph.stages) await forecaster.stage(stage);
    return forecaster.result(dockerfile.file.name, [...pulls.values()], graph.targets);
  });
}

/** An image of the store, else what its registry says of it. */
async function findBase(
  name: string,
  platform: Platform,
  run: BuildRun,
  pulls: Map<string, ForecastPull>,
): Promise<BaseImage> {
  const { options, engine, scope, newVertex } = run;
  if (isLayout(name, options.contexts)) {
    const { config, descriptor, stack } = await layoutImage(name, platform, run, newVertex());
    return { name, config, descriptor, stack: () => Promise.resolve(stack) };
  }
  try {
    const image = await resolveImage({ name, platform, pull: 'never' }, engine.registry, {
      services: engine,
      vertex: 0,
      scope,
    });
    return {
      name,
      config: image.config,
      descriptor: image.descriptor,
      stack: () => Promise.resolve(image.stack),
    };
  } catch (error) {
    if (!isMbuildError(error, 'IMAGE_NOT_FOUND') && !isMbuildError(error, 'PLATFORM_NOT_FOUND'))
      throw error;
    const image = await peekImage(name, platform, {
      registry: () => engine.registry,
      admit: engine.admit,
      signal: scope.signal,
    });
    const bytes = image.manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
    pulls.set(`${name} ${formatPlatform(platform)}`, { name, bytes });
    return {
      name,
      config: image.config,
      descriptor: image.descriptor,
      stack: () => Promise.resolve([]),
    };
  }
}

class Forecaster {
  readonly #steps: ForecastStep[] = [];
  readonly #trees = new Map<number, ForecastTree>();
  /** What was told of already, by key: stages for several platforms may have steps in common. */
  readonly #told = new Map<CacheKey, { readonly name: string; readonly tree: ForecastTree }>();
  readonly #results: ResultFinder;
  readonly #options: SolveOptions;
  readonly #fetches = new Map<string, number>();
  #hits = 0;
  #workMs = 0;
  #untimed = 0;

  constructor(
    private readonly run: BuildRun,
    private readonly services: SolverServices,
  ) {
    this.#options = solveOptions(run);
    const { sourceDateEpoch } = this.#options;
    const { signal } = run.scope;
    const hasher = new LayerHasher(services, { sourceDateEpoch, signal, patience: signal });
    this.#results = new ResultFinder(services, hasher, sourceDateEpoch);
  }

  async stage(stage: StagePlan): Promise<void> {
    let tree = await this.#base(stage);
    for (const step of stage.steps) tree = await this.#step(step, stage, tree);
    this.#trees.set(stage.index, tree);
  }

  result(
    dockerfile: string,
    pulls: readonly ForecastPull[],
    targets: readonly StagePlan[],
  ): Forecast {
    const seconds = (ms: number): number => Math.round(ms) / 1000;
    return {
      dockerfile,
      steps: this.#steps,
      pulls,
      fetches: [...this.#fetches].map(([from, bytes]) => ({ from, bytes })),
      hits: this.#hits,
      misses: this.#steps.filter(({ outcome }) => outcome !== 'same').length - this.#hits,
      workSeconds: seconds(this.#workMs),
      expectedSeconds: seconds(
        Math.max(0, ...targets.map(({ index }) => this.#trees.get(index)?.readyAt ?? 0)),
      ),
      untimed: this.#untimed,
    };
  }

  async #base({ base }: StagePlan): Promise<ForecastTree> {
    if (base.kind === 'stage') return this.#stageTree(base.stage);
    const known = { isGuess: false, mayBeKept: false, readyAt: 0 };
    return { ...(base.kind === 'scratch' ? SCRATCH : imageTree(base.image)), ...known };
  }

  async #step(step: Step, stage: StagePlan, parent: ForecastTree): Promise<ForecastTree> {
    const needed = [parent, ...sourceStages(step).map((source) => this.#stageTree(source))];
    const startsAt = Math.max(...needed.map((tree) => tree.readyAt));
    const mayBeKept = needed.some((tree) => tree.mayBeKept);
    const told = { name: step.name, stage: stage.name, line: step.range.start.line };
    if (needed.slice(1).some((tree) => tree.isGuess))
      return this.#unknown(step, told, parent, startsAt);

    const planned = await planStep({
      step,
      parent,
      services: this.#stepServices(),
      scope: this.run.scope,
      vertex: 0,
      mustRun: false,
    });
    const twin = this.#told.get(planned.key);
    if (twin !== undefined) {
      this.#steps.push({ ...told, outcome: 'same', why: `same as ${twin.name}`, key: planned.key });
      const { isGuess, mayBeKept } = twin.tree;
      const readyAt = Math.max(startsAt, twin.tree.readyAt);
      return treeWith(twin.tree, { isGuess, mayBeKept, readyAt });
    }
    const refused = refusedBy(step, stage, this.#options);
    const tree = await this.#foretell({
      ...{ step, parent, planned, refused },
      ...{ told, startsAt, mayBeKept },
    });
    this.#told.set(planned.key, { name: step.name, tree });
    return tree;
  }

  async #foretell(asked: KeyedStep): Promise<ForecastTree> {
    const { step, parent, planned, refused, told, startsAt, mayBeKept } = asked;
    const hit =
      refused === undefined && !parent.isGuess
        ? await this.#results.lookup(planned.key, parent)
        : undefined;
    if (hit !== undefined) return this.#hit(asked, hit);
    const miss = await this.run.journal.missed(step, planned, refused);
    const ms = this.#time(miss.earlierMs);
    this.#steps.push({
      ...told,
      outcome: mayBeKept ? 'may-hit' : 'miss',
      why: miss.text,
      seconds: ms === undefined ? undefined : ms / 1000,
      key: planned.key,
    });
    return this.#guessed(parent, planned.key, startsAt + (ms ?? 0), mayBeKept || !parent.isGuess);
  }

  #hit({ step, planned, told, startsAt }: KeyedStep, hit: FoundResult): ForecastTree {
    this.#hits++;
    if (hit.remote !== undefined) {
      const { from, bytes } = hit.remote;
      this.#fetches.set(from, (this.#fetches.get(from) ?? 0) + bytes);
    }
    const { durationMs } = hit.record;
    this.run.journal.solved(step, {
      ...planned,
      cached: true,
      kept: false,
      durationMs,
      layer: Promise.resolve(undefined),
    });
    this.#steps.push({ ...told, outcome: 'hit', seconds: durationMs / 1000, key: planned.key });
    return treeWith(hit.tree, { isGuess: false, mayBeKept: false, readyAt: startsAt });
  }

  /** A step that copies from what is not made yet. */
  #unknown(step: Step, told: ToldStep, parent: ForecastTree, startsAt: number): ForecastTree {
    const names = sourceStages(step)
      .filter((source) => this.#stageTree(source).isGuess)
      .map((source) => source.name);
    this.#untimed++;
    this.#steps.push({
      ...told,
      outcome: 'may-hit',
      why: `depends on the files of stage ${names.join(', ')}, which is not built yet`,
    });
    return this.#guessed(parent, `unknown ${step.id}` as CacheKey, startsAt, true);
  }

  /**
   * What a step that would run leaves: its key stands for the result, as it will when the step is
   * run.
   */
  #guessed(parent: ForecastTree, key: CacheKey, readyAt: number, mayBeKept: boolean): ForecastTree {
    const result = key as string as ResultId;
    return treeWith(parent, { result, isGuess: true, mayBeKept, readyAt });
  }

  #time(ms: number | undefined): number | undefined {
    if (ms === undefined) this.#untimed++;
    else this.#workMs += ms;
    return ms;
  }

  #stageTree(stage: StagePlan): ForecastTree {
    const tree = this.#trees.get(stage.index);
    if (tree === undefined) throw new Error(`stage ${stage.name} comes later`);
    return tree;
  }

  #stepServices(): StepServices {
    const tree = (source: TreeSource): Promise<Tree> => {
      if (source.kind === 'context') throw new Error('a context is not a tree of the store');
      return source.kind === 'stage'
        ? Promise.resolve(this.#stageTree(source.stage))
        : Promise.resolve(imageTree(source.image));
    };
    return { ...this.services, options: this.#options, warn: () => undefined, tree };
  }
}

/** The stages that a step takes files from. */
function sourceStages({ operation }: Step): StagePlan[] {
  return sourcesOf(operation).flatMap((source) => (source.kind === 'stage' ? [source.stage] : []));
}

function sourcesOf(operation: Operation): readonly TreeSource[] {
  switch (operation.kind) {
    case 'copy':
      return [operation.from];
    case 'run':
      return operation.mounts.flatMap((mount) =>
        'from' in mount && mount.from !== undefined ? [mount.from] : [],
      );
    case 'mkdir':
      return [];
  }
}
