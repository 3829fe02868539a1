import type { Attestation } from '../../output/attestation';
import type { ProvenanceOptions } from '../options';
import type { BuildFacts } from './facts';

/** What `buildType` names: the page that says what the members mean. */
const BUILD_TYPE = 'https://github.com/mbuild/mbuild/blob/main/docs/supply-chain.md#provenance';

/** The predicate's type and body, by version. */
const VERSIONS: Readonly<
  Record<
    ProvenanceOptions['version'],
    Pick<Attestation, 'predicateType'> & {
      readonly write: (facts: BuildFacts) => Attestation['predicate'];
    }
  >
> = {
  v1: { predicateType: 'https://slsa.dev/provenance/v1', write: version1 },
  'v0.2': { predicateType: 'https://slsa.dev/provenance/v0.2', write: version02 },
};

/**
 * The facts as SLSA has them: slsa.dev/spec/v1.0/provenance, slsa.dev/provenance/v0.2; members of
 * BuildKit's have its names.
 */
export function provenanceOf(
  facts: BuildFacts,
  { version, fileName, inlineOnly = false }: ProvenanceOptions,
): Attestation {
  const { predicateType, write } = VERSIONS[version];
  return {
    predicateType,
    predicate: write(facts),
    fileName: fileName ?? 'provenance.json',
    inlineOnly,
  };
}

function version1(facts: BuildFacts): Attestation['predicate'] {
  const { builderId, version, builderPlatform, details, isReproducible } = facts;
  return {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: { configSource: facts.source, request: facts.request },
      internalParameters: {
        builderPlatform,
        ...(details === undefined ? {} : { buildConfig: { steps: details.steps } }),
      },
      resolvedDependencies: facts.materials,
    },
    runDetails: {
      builder: { id: builderId, version: { mbuild: version } },
      metadata: {
        invocationId: facts.invocationId,
        startedOn: facts.startedOn,
        finishedOn: facts.finishedOn,
        buildkit_metadata: metadataOf(facts),
        buildkit_completeness: { request: true, resolvedDependencies: facts.isComplete },
        ...(isReproducible ? { buildkit_reproducible: true } : {}),
      },
    },
  };
}

function version02(facts: BuildFacts): Attestation['predicate'] {
  const { uri, digest, path: entryPoint } = facts.source;
  const { details } = facts;
  return {
    builder: { id: facts.builderId },
    buildType: BUILD_TYPE,
    materials: facts.materials,
    invocation: {
      configSource: { uri, digest, entryPoint },
      parameters: facts.request,
      environment: { platform: facts.builderPlatform },
    },
    ...(details === undefined ? {} : { buildConfig: { steps: details.steps } }),
    metadata: {
      buildInvocationID: facts.invocationId,
      buildStartedOn: facts.startedOn,
      buildFinishedOn: facts.finishedOn,
      completeness: { parameters: true, environment: true, materials: facts.isComplete },
      reproducible: facts.isReproducible,
      'https://mobyproject.org/buildkit@v1#metadata': metadataOf(facts),
    },
  };
}

/** The Dockerfile, where BuildKit has it. */
function metadataOf({ details }: BuildFacts): Record<string, unknown> {
  if (details === undefined) return {};
  const { filename, text } = details.dockerfile;
  const data = Buffer.from(text).toString('base64');
  return { source: { infos: [{ filename, language: 'Dockerfile', data }] } };
}
