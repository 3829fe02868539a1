import type { CacheKey, ResultId } from '../cache/key';
import { sourceResult } from '../cache/key';
import { openContext } from '../context/open';
import { parseDockerfile } from '../dockerfile/parse';
import { isMbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { BaseImage, StagePlan, Step, TreeSource } from '../graph/graph';
import { BuildJournal } from '../history/journal';
import { Lease } from '../images/store/lease';
import { peekImage } from '../images/transfer/remote-config';
import { resolveImage } from '../images/transfer/resolve';
import { toText } from '../linux/paths';
import { chainIds } from '../oci/digest';
import { formatPlatform, type Platform } from '../oci/platform';
import { vertexIds, type BuildScope } from '../progress/events';
import { Committer } from '../solver/commit';
import { planStep, type PlannedStep } from '../solver/step';
import { refusedBy, type SolverServices, type StepServices } from '../solver/solver';
import type { Tree } from '../solver/tree';
import { openCaches } from './caches';
import { solveOptions } from './inputs';
import { planWanted, wantedImages } from './wanted';
import { isLayout, layoutImage, NamedContexts } from './named-contexts';
import type { BuildOptions } from './options';
import { buildRemote, contextFetcher } from './remote';
import { BuildSecrets } from './secrets';

/** What a build would do, found out without doing it. */
export interface Forecast {
  readonly dockerfile: string;
  readonly steps: readonly ForecastStep[];
  readonly pulls: readonly ForecastPull[];
  /** Layers that would be fetched from caches elsewhere. */
  readonly fetches: readonly ForecastFetch[];
  readonly hits: number;
  readonly misses: number;
  /** Seconds that the missed steps ran last time, one after the other; and from start to end, stages side by side. */
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
  /** `may-hit`: it depends on what a step leaves that would run before it. `same`: another step here, told in `why`, is this very one; it is counted once. */
  readonly outcome: 'hit' | 'miss' | 'may-hit' | 'same';
  readonly why?: string | undefined;
  /** Of a hit, the time that is saved; of others, the time that it would take. Absent when it never ran. */
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
  /** Bytes of the layers, compressed. At most: layers of stages that only give files need not be fetched. */
  readonly bytes: number;
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
 * Tells what a build would take from the cache, run and pull, and how long it would take by the durations that are on record.
 * Nothing is run and no layer is pulled; of base images that are not in the store the manifest is asked for.
 * @throws MbuildError as a build does until its first step.
 */
export async function forecast(
  options: BuildOptions,
  engine: Engine,
  scope: BuildScope,
): Promise<Forecast> {
  const newVertex = vertexIds();
  const lease = new Lease(engine.root);
  const secrets = new BuildSecrets(options.secrets ?? []);
  const remote = buildRemote(options, secrets, engine, lease);
  const fetcher = contextFetcher(remote, options, newVertex, scope);
  const contexts = new NamedContexts(
    options.contexts ?? {},
    engine.root,
    fetcher,
    options.contextModes,
  );
  const context = await openContext(
    options.context,
    options.dockerfile,
    options.ignoreFile,
    engine.root,
    fetcher,
    options.contextModes,
  );
  try {
    const dockerfile = parseDockerfile(context.dockerfile);
    const pulls = new Map<string, ForecastPull>();
    const findImage = async (name: string, wanted: Platform): Promise<BaseImage> => {
      if (!isLayout(name, options.contexts)) return findBase(name, wanted, pulls, engine, scope);
      const { config, descriptor, stack } = await layoutImage(
        name,
        wanted,
        engine,
        newVertex(),
        scope,
      );
      return { name, config, descriptor, stack: () => Promise.resolve(stack) };
    };
    const graph = await planWanted(
      dockerfile,
      options,
      wantedImages(options, []),
      contexts,
      findImage,
      () => undefined,
    );
    const journal = new BuildJournal(engine.root, engine.cache, {
      context: options.context.kind === 'directory' ? toText(context.tree.path) : '-',
      dockerfile: context.dockerfile.name,
    });
    const caches = await openCaches(options, engine, lease, newVertex, scope);
    journal.begin(graph, dockerfile, caches);
    const { root, cache, content, layers, aside, snapshots, sandbox, threads, xattrs } = engine;
    const forecaster = new Forecaster(
      {
        root,
        cache,
        content,
        layers,
        aside,
        snapshots,
        sandbox,
        threads,
        xattrs,
        lease,
        remote: caches,
      },
      solveOptions(options, { context, contexts, remote, secrets }, engine.root, journal),
      journal,
      scope,
    );
    for (const stage of graph.stages) await forecaster.stage(stage);
    return forecaster.result(dockerfile.file.name, [...pulls.values()], graph.targets);
  } finally {
    await contexts.close();
    context.close();
    lease.release();
  }
}

/** An image of the store, else what its registry says of it. */
async function findBase(
  name: string,
  platform: Platform,
  pulls: Map<string, ForecastPull>,
  engine: Engine,
  scope: BuildScope,
): Promise<BaseImage> {
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
    const image = await peekImage(name, platform, engine.registry, scope.signal);
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
  readonly #committer: Committer;
  readonly #fetches = new Map<string, number>();
  #hits = 0;
  #workMs = 0;
  #untimed = 0;

  constructor(
    private readonly services: SolverServices,
    private readonly options: StepServices['options'],
    private readonly journal: BuildJournal,
    private readonly scope: BuildScope,
  ) {
    this.#committer = new Committer(services, options.sourceDateEpoch, scope.signal);
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
    return base.kind === 'scratch'
      ? {
          result: sourceResult(undefined),
          stack: () => Promise.resolve([]),
          layers: Promise.resolve([]),
          ...known,
        }
      : { ...(await imageTree(base.image)), ...known };
  }

  async #step(step: Step, stage: StagePlan, parent: ForecastTree): Promise<ForecastTree> {
    const needed = [parent, ...sourceStages(step).map((source) => this.#stageTree(source))];
    const startsAt = Math.max(...needed.map((tree) => tree.readyAt));
    const mayBeKept = needed.some((tree) => tree.mayBeKept);
    const told = { name: step.name, stage: stage.name, line: step.range.start.line };
    if (needed.slice(1).some((tree) => tree.isGuess))
      return this.#unknown(step, told, parent, startsAt);

    const planned = await planStep(step, parent, this.#stepServices(), this.scope, 0);
    const twin = this.#told.get(planned.key);
    if (twin !== undefined) {
      this.#steps.push({ ...told, outcome: 'same', why: `same as ${twin.name}`, key: planned.key });
      return { ...twin.tree, readyAt: Math.max(startsAt, twin.tree.readyAt) };
    }
    const tree = await this.#foretell(step, stage, parent, planned, {
      ...told,
      startsAt,
      mayBeKept,
    });
    this.#told.set(planned.key, { name: step.name, tree });
    return tree;
  }

  async #foretell(
    step: Step,
    stage: StagePlan,
    parent: ForecastTree,
    planned: PlannedStep,
    {
      startsAt,
      mayBeKept,
      ...told
    }: ToldStep & Pick<ForecastTree, 'mayBeKept'> & { readonly startsAt: number },
  ): Promise<ForecastTree> {
    const refused = refusedBy(step, stage, this.options);
    const hit =
      refused === undefined && !parent.isGuess
        ? await this.#committer.lookup(planned.key, parent)
        : undefined;
    if (hit !== undefined) {
      this.#hits++;
      if (hit.remote !== undefined)
        this.#fetches.set(
          hit.remote.from,
          (this.#fetches.get(hit.remote.from) ?? 0) + hit.remote.bytes,
        );
      this.journal.solved(step, {
        ...planned,
        cached: true,
        kept: false,
        durationMs: hit.record.durationMs,
        layer: Promise.resolve(undefined),
      });
      this.#steps.push({
        ...told,
        outcome: 'hit',
        seconds: hit.record.durationMs / 1000,
        key: planned.key,
      });
      return { ...hit.tree, isGuess: false, mayBeKept: false, readyAt: startsAt };
    }
    const miss = await this.journal.missed(step, planned, refused);
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

  /** A step that copies from what is not made yet. */
  #unknown(step: Step, told: ToldStep, parent: ForecastTree, startsAt: number): ForecastTree {
    const names = sourceStages(step)
      .filter((source) => this.#stageTree(source).isGuess)
      .map((source) => source.name);
    this.#untimed++;
    this.#steps.push({
      ...told,
      outcome: 'may-hit',
      why: `depends on what stage ${names.join(', ')} holds when it is built`,
    });
    return this.#guessed(parent, `unknown ${step.id}` as CacheKey, startsAt, true);
  }

  /** What a step that would run leaves: its key stands for the result, as it will when the step is run. */
  #guessed(parent: ForecastTree, key: CacheKey, readyAt: number, mayBeKept: boolean): ForecastTree {
    return { ...parent, result: key as string as ResultId, isGuess: true, mayBeKept, readyAt };
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
        : imageTree(source.image);
    };
    return { ...this.services, options: this.options, warn: () => undefined, tree };
  }
}

async function imageTree(image: BaseImage): Promise<Tree> {
  const { diff_ids: diffIds } = image.config.rootfs;
  const chains = chainIds(diffIds);
  const layers = diffIds.flatMap((diffId, i) =>
    chains[i] === undefined ? [] : [{ diffId, chainId: chains[i] }],
  );
  return {
    result: sourceResult(chains.at(-1)),
    stack: image.stack,
    layers: Promise.resolve(layers),
  };
}

/** The stages that a step takes files from. */
function sourceStages({ operation }: Step): StagePlan[] {
  const sources =
    operation.kind === 'copy'
      ? [operation.from]
      : operation.kind === 'run'
        ? operation.mounts.flatMap((mount) =>
            'from' in mount && mount.from !== undefined ? [mount.from] : [],
          )
        : [];
  return sources.flatMap((source) => (source.kind === 'stage' ? [source.stage] : []));
}
