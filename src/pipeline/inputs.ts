import { availableParallelism } from 'node:os';
import type { BuildRun } from './build-run';
import type { OpenCaches } from './caches';
import { failedRunHandler } from './failed-run';
import { isLayout, layoutImage } from './layout-image';
import type { BuildOptions } from './options';
import { takesOnlyBlobs, leavesAsGzip } from './outputs';
import type { BaseImage, RunSettings } from '../graph/graph';
import type { PlanOptions } from '../graph/plan';
import type { Image } from '../images/store/image-store';
import { resolveLater, type ImageRequest, type LaterImage } from '../images/transfer/resolve';
import { withRow, type VertexId } from '../progress/events';
import { CDI_FOLDERS } from '../sandbox/devices/cdi';
import { PROXY_VARIABLES } from '../solver/run-environment';
import type { DeviceOptions, SolveOptions } from '../solver/options';
import type { SolverServices } from '../solver/services';

/**
 * Finds the images of FROM and `--from`, each with a row of progress.
 * @param remote takes those that the store lacks, to be fetched when they are needed; without it
 * they are fetched at once.
 */
export function findBase(run: BuildRun, remote?: OpenCaches): PlanOptions['findImage'] {
  const { options, newVertex, scope } = run;
  return (name, platform): Promise<BaseImage> =>
    withRow(`[internal] load metadata for ${name}`, newVertex(), scope, async (id) => {
      const found = isLayout(name, options.contexts)
        ? { stored: await layoutImage(name, platform, run, id) }
        : await findImage({ name, platform }, run, id, remote);
      if ('stored' in found) {
        const { config, descriptor, stack } = found.stored;
        run.lease.hold({ layers: stack });
        return { name, config, descriptor, stack: () => Promise.resolve(stack) };
      }
      const { config, descriptor } = found.described;
      return { name, config, descriptor, stack: found.stack };
    });
}

/**
 * An image that is in the store, or that is described and will be there when its layers are asked
 * for.
 */
async function findImage(
  wanted: Pick<ImageRequest, 'name' | 'platform'>,
  { options, engine, scope }: BuildRun,
  vertex: VertexId,
  remote: OpenCaches | undefined,
): Promise<
  { readonly stored: Image } | (Pick<LaterImage, 'described'> & Pick<BaseImage, 'stack'>)
> {
  const request: ImageRequest = {
    ...wanted,
    pull: options.pull ?? 'missing',
    anyPlatform: true,
    // Where a base is missing, results most likely are: the caches answer meanwhile.
    asking: () => remote?.caches.begin(),
  };
  const own = await engine.findBase?.(request, vertex, scope);
  if (own !== undefined) return { stored: own };
  const setting = { services: engine, vertex, scope };
  const found = await resolveLater(request, engine.registry, setting);
  if ('stored' in found) return found;
  if (remote === undefined) return { stored: await found.pull(setting) };
  return { described: found.described, stack: remote.bases.add(wanted.name, found) };
}

/** How the steps are done, out of what the build was asked. */
export function solveOptions(run: BuildRun): SolveOptions {
  const { options, guard, secrets, ssh, remote, context, contexts, cacheMounts, journal } = run;
  const given = Object.entries(options.buildArgs ?? {}).filter(([name]) =>
    PROXY_VARIABLES.includes(name),
  );
  return {
    journal,
    leaveTargets: takesOnlyBlobs(options),
    compressTargets: leavesAsGzip(options),
    noCache: options.noCache ?? false,
    noCacheStages: options.noCacheFilter ?? [],
    noCacheFrom: options.noCacheFrom,
    cacheMounts,
    jobs: options.jobs ?? Math.max(4, availableParallelism()),
    sourceDateEpoch: options.sourceDateEpoch,
    proxies: { ...options.proxies, ...Object.fromEntries(given) },
    extraHosts: options.extraHosts ?? [],
    resolver: options.resolver ?? {},
    ulimits: options.ulimits ?? [],
    shmSize: options.shmSize,
    limits: options.limits ?? {},
    stepTimeout: options.stepTimeout,
    stepRetries: options.stepRetries,
    failedRun: failedRunHandler(run),
    secrets: secrets.readers,
    knownSecrets: () => secrets.known(),
    ssh: ssh.sockets,
    devices: deviceOptions(options),
    remote,
    context: async (name) => {
      guard?.context(name, options);
      return name === undefined ? context.tree : contexts.tree(name);
    },
  };
}

/** What every RUN of the build is given. BuildKit's argument names the host, if no flag does. */
export function runSettings({
  capabilities,
  noNewPrivileges,
  hostname,
  volumes,
  buildArgs,
}: BuildOptions): RunSettings {
  return {
    capabilities,
    noNewPrivileges,
    volumes,
    hostname: hostname ?? (buildArgs?.['BUILDKIT_SANDBOX_HOSTNAME'] || undefined),
  };
}

/** What `--allow device` and `--cdi-spec-dir` say. */
function deviceOptions({ allow = [], cdiSpecDirs = [] }: BuildOptions): DeviceOptions {
  const allowed = allow.flatMap((entry) => {
    if (entry === 'device') return ['*'];
    return entry.startsWith('device=') ? [entry.slice('device='.length)] : [];
  });
  return { allowed, folders: cdiSpecDirs.length === 0 ? CDI_FOLDERS : cdiSpecDirs };
}

/** The parts of the engine that steps are done with. */
export function solverServices(
  { engine, lease }: Pick<BuildRun, 'engine' | 'lease'>,
  remote: SolverServices['remote'],
): SolverServices {
  const { root, cache, content, layers, aside, snapshots, sandbox, threads, xattrs } = engine;
  const stored = { root, cache, content, layers, aside, snapshots, xattrs };
  return { ...stored, sandbox, threads, lease, remote };
}
