import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { BuildOptions, SecretSource } from './options';
import type { OpenedContext } from '../context/open';
import { LocalContext } from '../context/local';
import { MbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { BaseImage } from '../graph/graph';
import type { PlanOptions } from '../graph/plan';
import { resolveImage } from '../images/resolve';
import { withRow, type BuildScope, type VertexId } from '../progress/events';
import { PROXY_VARIABLES } from '../solver/run-environment';
import type { SolveOptions } from '../solver/solver';

/** Finds the images of FROM and `--from`, each with a row of progress. */
export function findBase(options: BuildOptions, engine: Engine, newVertex: () => VertexId, scope: BuildScope): PlanOptions['findImage'] {
  return (name, platform): Promise<BaseImage> => withRow(`[internal] load metadata for ${name}`, newVertex(), scope, async (id) => {
    const image = await resolveImage({ name, platform, pull: options.pull ?? 'missing' }, engine, engine.registry, id, scope);
    return { name, config: image.config, descriptor: image.descriptor, stack: () => Promise.resolve(image.stack) };
  });
}

/** How the steps are done, out of what the build was asked. */
export function solveOptions(options: BuildOptions, context: OpenedContext): SolveOptions {
  const given = Object.entries(options.buildArgs ?? {}).filter(([name]) => PROXY_VARIABLES.includes(name));
  return {
    noCache: options.noCache ?? false, noCacheStages: options.noCacheFilter ?? [], jobs: options.jobs ?? Math.max(4, availableParallelism()),
    sourceDateEpoch: options.sourceDateEpoch, proxies: { ...options.proxies, ...Object.fromEntries(given) },
    extraHosts: options.extraHosts ?? [], ulimits: options.ulimits ?? [], shmSize: options.shmSize,
    secrets: new Map((options.secrets ?? []).map((secret) => [secret.id, () => readSecret(secret)])),
    ssh: new Map((options.ssh ?? []).map(({ id, socket }) => [id, socket])),
    context: (name) => Promise.resolve(name === undefined ? context.tree : namedContext(name, options)),
  };
}

function namedContext(name: string, options: BuildOptions): LocalContext {
  const place = options.contexts?.[name];
  if (place === undefined) throw new MbuildError('CONTEXT_NOT_FOUND', `there is no build context ${name}`, { hint: `name it with --build-context ${name}=DIRECTORY` });
  return new LocalContext(place);
}

function readSecret(secret: SecretSource): Buffer {
  if (secret.env !== undefined) {
    const value = process.env[secret.env];
    if (value === undefined) throw new MbuildError('SECRET_MISSING', `the secret ${secret.id} is to come from ${secret.env}, which is not set`);
    return Buffer.from(value);
  }
  const file = secret.path ?? secret.id;
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new MbuildError('SECRET_MISSING', `the secret ${secret.id} could not be read from ${file}`, { cause });
  }
}
