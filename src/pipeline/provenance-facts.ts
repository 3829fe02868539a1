import packageJson from '../../package.json';
import type { StagePlan, Step } from '../graph/graph';
import { formatPlatform, hostPlatform } from '../oci/platform';
import type { SolvedBuild } from './build-run';
import { isSecretName } from '../lint/rules/secrets';
import { PROXY_VARIABLES } from '../solver/run-environment';
import type { ProvenanceOptions } from '../attest/options';
import type { BuildFacts, BuildRequestFacts, StepFacts } from '../attest/provenance/facts';
import { masked } from '../attest/provenance/masked';
import {
  fetchedMaterial,
  materialsOf,
  reachedFrom,
  type Reached,
} from '../attest/provenance/materials';

/** What stands for the value of an argument whose name says that it is a secret. */
const HIDDEN = '***';

/** The facts of how an image was made. No value of a secret is in them. */
export async function buildFacts(
  build: SolvedBuild,
  target: StagePlan,
  provenance: ProvenanceOptions,
): Promise<BuildFacts> {
  const { journal, dockerfile, fetched, options, secrets } = build;
  const reached = reachedFrom(target);
  const { context, contexts = {} } = options;
  const address = 'url' in context ? context.url : undefined;
  const named = [...reached.contexts].flatMap((name) =>
    name === undefined ? [] : [contexts[name] ?? ''],
  );
  const addresses = [...(address === undefined ? [] : [address]), ...named];
  const isMax = provenance.mode === 'max';
  const request = requestOf(build, reached, isMax);
  const facts: BuildFacts = {
    builderId: provenance.builderId ?? '',
    version: packageJson.version,
    invocationId: journal.id,
    startedOn: journal.started,
    finishedOn: new Date().toISOString(),
    builderPlatform: formatPlatform(hostPlatform()),
    isReproducible: provenance.reproducible === true,
    isComplete: request.locals === undefined && !reached.steps.some(usesNetwork),
    materials: materialsOf(reached, addresses, fetched),
    source: {
      ...(address === undefined ? {} : fetchedMaterial(address, fetched)),
      path: dockerfile.file.name,
    },
    request,
    details: isMax
      ? {
          steps: await stepsOf(build, reached),
          dockerfile: { filename: dockerfile.file.name, text: dockerfile.file.text },
        }
      : undefined,
  };
  return masked(facts, [...secrets.known(), ...secretArgs(options)]);
}

/** Values of arguments whose names say that they are secrets: instructions have them in full. */
function secretArgs({ buildArgs = {} }: SolvedBuild['options']): Buffer[] {
  return Object.entries(buildArgs).flatMap(([name, value]) =>
    isSecretName(name) ? [Buffer.from(value)] : [],
  );
}

/** What the network gave to a RUN is not among the materials. */
function usesNetwork({ operation }: Step): boolean {
  return operation.kind === 'run' && operation.network !== 'none';
}

function requestOf(
  { options, wanted }: SolvedBuild,
  { contexts, steps }: Reached,
  isMax: boolean,
): BuildRequestFacts {
  const mounts = steps.flatMap(({ operation }) =>
    operation.kind === 'run' ? operation.mounts : [],
  );
  const idsOf = (kind: 'secret' | 'ssh'): BuildRequestFacts['secrets'] => {
    const needs = new Map<string, boolean>();
    for (const mount of mounts)
      if (mount.kind === kind) needs.set(mount.id, needs.get(mount.id) === true || mount.required);
    const ids = [...needs].map(([id, required]) => ({ id, optional: !required }));
    return ids.length === 0 ? undefined : ids;
  };
  const isLocal = (name: string | undefined): boolean =>
    name === undefined
      ? !('url' in options.context)
      : !/^[a-z+-]+:\/\/|^git@/.test(options.contexts?.[name] ?? '');
  const locals = [...contexts].filter(isLocal).map((name) => ({ name: name ?? 'context' }));
  return {
    frontend: 'dockerfile.v0',
    args: isMax ? argsOf(options, wanted) : undefined,
    secrets: idsOf('secret'),
    ssh: idsOf('ssh'),
    locals: locals.length === 0 ? undefined : locals,
  };
}

function argsOf(
  { buildArgs = {}, labels = {}, target, contexts = {}, noCache, network }: SolvedBuild['options'],
  wanted: SolvedBuild['wanted'],
): Record<string, string> {
  const given = Object.entries(buildArgs).filter(([name]) => !PROXY_VARIABLES.includes(name));
  return {
    ...Object.fromEntries(
      given.map(([name, value]) => [`build-arg:${name}`, isSecretName(name) ? HIDDEN : value]),
    ),
    ...Object.fromEntries(Object.entries(labels).map(([name, value]) => [`label:${name}`, value])),
    ...Object.fromEntries(
      Object.entries(contexts).map(([name, value]) => [
        `context:${name}`,
        value.replace(/\/\/[^/@]*@/, '//'),
      ]),
    ),
    ...(target === undefined ? {} : { target }),
    ...(noCache === true ? { 'no-cache': '' } : {}),
    ...(network === undefined || network === 'default' ? {} : { 'force-network-mode': network }),
    ...(wanted.length < 2
      ? {}
      : { platform: wanted.map(({ platform }) => formatPlatform(platform)).join(',') }),
  };
}

async function stepsOf({ solution }: SolvedBuild, { steps }: Reached): Promise<StepFacts[]> {
  const found = steps.flatMap((step, i) => {
    const outcome = solution.outcomes.get(step.id);
    return outcome === undefined ? [] : [{ step, outcome, id: `step${i}` }];
  });
  return Promise.all(
    found.map(async ({ step, outcome, id }) => {
      const { key, cached, durationMs } = outcome;
      const layer = await outcome.layer;
      return {
        ...{ id, name: step.name, stage: step.stage, line: step.range.start.line },
        ...{ key, cached, durationMs },
        layer: layer === undefined ? undefined : { diffId: layer.diffId, size: layer.contentSize },
      };
    }),
  );
}
