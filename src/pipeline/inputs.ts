import { availableParallelism } from 'node:os';
import type { BuildRun } from './build-run';
import { isLayout, layoutImage } from './layout-image';
import type { BuildOptions } from './options';
import { isOnlyPushed, leavesAsGzip } from './outputs';
import type { Engine } from '../engine';
import type { BaseImage, RunSettings } from '../graph/graph';
import type { PlanOptions } from '../graph/plan';
import { resolveImage } from '../images/transfer/resolve';
import { withRow } from '../progress/events';
import { CDI_FOLDERS } from '../sandbox/devices/cdi';
import { PROXY_VARIABLES } from '../solver/run-environment';
import type { DeviceOptions, SolveOptions } from '../solver/options';
import type { SolverServices } from '../solver/services';

/** Finds the images of FROM and `--from`, each with a row of progress. */
export function findBase(run: BuildRun): PlanOptions['findImage'] {
  const { options, engine, newVertex, scope } = run;
  const find: NonNullable<Engine['findBase']> =
    engine.findBase ??
    ((request, id, inner) =>
      resolveImage(request, engine.registry, { services: engine, vertex: id, scope: inner }));
  return (name, platform): Promise<BaseImage> =>
    withRow(`[internal] load metadata for ${name}`, newVertex(), scope, async (id) => {
      const image = isLayout(name, options.contexts)
        ? await layoutImage(name, platform, run, id)
        : await find(
            { name, platform, pull: options.pull ?? 'missing', anyPlatform: true },
            id,
            scope,
          );
      return {
        name,
        config: image.config,
        descriptor: image.descriptor,
        stack: () => Promise.resolve(image.stack),
      };
    });
}

/** How the steps are done, out of what the build was asked. */
export function solveOptions(run: BuildRun): SolveOptions {
  const { options, secrets, ssh, remote, context, contexts, cacheMounts, journal } = run;
  const given = Object.entries(options.buildArgs ?? {}).filter(([name]) =>
    PROXY_VARIABLES.includes(name),
  );
  return {
    journal,
    leaveTargets: isOnlyPushed(options),
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
    secrets: secrets.readers,
    knownSecrets: () => secrets.known(),
    ssh: ssh.sockets,
    devices: deviceOptions(options),
    remote,
    context: (name) => (name === undefined ? Promise.resolve(context.tree) : contexts.tree(name)),
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
