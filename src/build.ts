import type { RemoteCaches } from './cache/remote/caches';
import { parseDockerfile } from './dockerfile/parse';
import { tempName } from './content/files';
import { openContext, type OpenedContext } from './context/open';
import { MbuildError, isMbuildError, type Diagnostic } from './diagnostics/error';
import type { Engine } from './engine';
import type { Graph } from './graph/graph';
import type { BuildRecord } from './history/build-record';
import { causeText } from './history/cause';
import { BuildJournal } from './history/journal';
import { Lease } from './images/store/lease';
import type { SolvedBuild } from './pipeline/cache-export';
import { cacheTargets, openCaches } from './pipeline/caches';
import type { BuildOptions, BuildResult, BuiltImage } from './pipeline/options';
import { findBase, solveOptions } from './pipeline/inputs';
import { NamedContexts } from './pipeline/named-contexts';
import { buildRemote, contextFetcher } from './pipeline/remote';
import { BuildSecrets } from './pipeline/secrets';
import { recordImages } from './pipeline/record';
import { planWanted, wantedImages } from './pipeline/wanted';
import { exportImages, wantsImage } from './pipeline/outputs';
import { toText } from './linux/paths';
import { formatPlatform } from './oci/platform';
import { formatReference, parseReference } from './oci/reference';
import { vertexIds, type BuildScope } from './progress/events';
import { solve, type Solution, type SolverServices } from './solver/solver';

export type {
  BuildOptions,
  BuildResult,
  BuiltImage,
  OutputSpec,
  SecretSource,
  StepResult,
} from './pipeline/options';
export type { CacheSource, CacheTarget } from './cache/remote/place';
export type { ContextSource } from './context/open';
export type { CompressionSpec } from './output/exporter';

/**
 * Builds an image: read, parse, plan, solve, export.
 * @throws MbuildError for everything that can be foreseen; the store then holds what it held before, and finished layers.
 */
export async function build(
  options: BuildOptions,
  engine: Engine,
  scope: BuildScope,
): Promise<BuildResult> {
  const names = fullNames(options.tags ?? []);
  const wanted = wantedImages(options, names);
  const newVertex = vertexIds();
  const warnings: Diagnostic[] = [];
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
  ).catch((error: unknown) => {
    lease.release();
    throw error;
  });
  const mounts = options.noCacheMounts === true ? tempName(engine.root, 'cache-mounts') : undefined;
  const journal = openJournal(options, context, engine);
  const watched: BuildScope = {
    ...scope,
    events: (event) => {
      if (event.kind === 'warning') warnings.push(event.diagnostic);
      journal.events(event);
      scope.events(event);
    },
  };
  try {
    const dockerfile = parseDockerfile(context.dockerfile);
    const graph = await planWanted(
      dockerfile,
      options,
      wanted,
      contexts,
      findBase(options, engine, newVertex, watched),
      (diagnostic) => watched.events({ kind: 'warning', diagnostic }),
    );
    const { buildWarnings } = await import('./pipeline/warnings');
    for (const diagnostic of buildWarnings(dockerfile, graph, options, context))
      watched.events({ kind: 'warning', diagnostic });
    const caches = await openCaches(options, engine, lease, newVertex, watched);
    // What other builders ran may be in their caches.
    if (caches === undefined) await refuseImpossible(graph, engine);
    journal.begin(graph, dockerfile, caches);
    const { solved, made, descriptors } = await withoutRefused(async () => {
      const solution = await solve(
        graph,
        servicesOf(engine, lease, caches),
        solveOptions(
          options,
          { context, contexts, remote, secrets },
          mounts ?? engine.root,
          journal,
        ),
        newVertex,
        watched,
      );
      const solved: SolvedBuild = { graph, solution, journal, engine, remote: caches };
      const made = await recordImages(solved, options, wanted, lease, newVertex, watched);
      return {
        solved,
        made,
        descriptors: await exportImages(made, options, engine, newVertex, watched),
      };
    });
    if (cacheTargets(options).length > 0)
      await (
        await import('./pipeline/cache-export')
      ).exportCaches(solved, options, newVertex, watched);
    const images = made.map(({ image, ...rest }, i): BuiltImage => ({
      target: rest.target,
      platform: rest.platform,
      imageId: image.id,
      descriptor: descriptors[i] ?? image.descriptor,
      names: rest.names,
    }));
    const [first] = images;
    if (first === undefined) throw new MbuildError('INTERNAL', 'a build without a target');
    const imageId = wantsImage(options) ? first.imageId : undefined;
    const record = await journal.finish({
      result: { imageId, digest: first.descriptor.digest, names },
    });
    return {
      buildId: record.id,
      imageId,
      descriptor: first.descriptor,
      names,
      images,
      steps: await stepResults(graph, solved.solution, record),
      cache: record.cache,
      warnings,
    };
  } catch (error) {
    await journal.finish({ error });
    throw error;
  } finally {
    await contexts.close();
    context.close();
    if (mounts !== undefined) (await import('./linux/remove-tree')).removeTree(mounts);
    lease.release();
  }
}

/** The journal goes by the context's real path, so that one project is one however it is named. */
function openJournal(options: BuildOptions, context: OpenedContext, engine: Engine): BuildJournal {
  const { context: source, target, platforms } = options;
  const place =
    source.kind === 'directory'
      ? toText(context.tree.path)
      : 'url' in source
        ? source.url.replace(/\/\/[^/@]*@/, '//')
        : '-';
  const platform = platforms?.[0];
  return new BuildJournal(engine.root, engine.cache, {
    context: place,
    dockerfile: context.dockerfile.name,
    target,
    platform: platform === undefined ? undefined : formatPlatform(platform),
  });
}

function fullNames(tags: readonly string[]): string[] {
  return tags.map((tag) => {
    const ref = parseReference(tag);
    if (ref === undefined || ref.digest !== undefined)
      throw new MbuildError('REFERENCE_INVALID', `${tag} is no name for an image`, {
        hint: 'a name is [REGISTRY/]REPOSITORY[:TAG], the repository in lower case',
      });
    return formatReference(ref);
  });
}

/** @throws MbuildError SANDBOX_UNAVAILABLE before the first step, where a later one could not be run. */
async function refuseImpossible({ stages }: Graph, { refusesRun }: Engine): Promise<void> {
  if (!stages.some(({ steps }) => steps.some(({ operation }) => operation.kind === 'run'))) return;
  const refusal = await refusesRun();
  if (refusal !== undefined) throw refusal;
}

/** A cache elsewhere that has not what it says is done without: what was made until then is in the store's own cache. */
async function withoutRefused<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      // What was refused is not found another time, so this comes to an end.
      if (!isMbuildError(error, 'CACHE_INVALID')) throw error;
    }
  }
}

async function stepResults(
  graph: Graph,
  solution: Solution,
  record: BuildRecord,
): Promise<BuildResult['steps']> {
  const records = new Map(record.steps.map((step) => [step.name, step]));
  const steps = graph.stages.flatMap((stage) => stage.steps);
  return Promise.all(
    steps.flatMap((step) => {
      const outcome = solution.outcomes.get(step.id);
      if (outcome === undefined) return [];
      const { key, cached, kept, durationMs } = outcome;
      return [
        outcome.layer.then((layer) => ({
          name: step.name,
          stage: step.stage,
          line: step.range.start.line,
          key,
          cached,
          kept,
          durationMs,
          missed: records.get(step.name)?.causes?.map(causeText),
          usage: records.get(step.name)?.usage,
          layer:
            layer === undefined ? undefined : { diffId: layer.diffId, size: layer.contentSize },
        })),
      ];
    }),
  );
}

function servicesOf(
  { root, cache, content, layers, aside, snapshots, sandbox, threads, xattrs }: Engine,
  lease: Lease,
  remote: RemoteCaches | undefined,
): SolverServices {
  return {
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
    remote,
  };
}
