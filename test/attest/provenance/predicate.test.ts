import type { BuildFacts } from '../../../src/attest/provenance/facts';
import { masked } from '../../../src/attest/provenance/masked';
import { provenanceOf } from '../../../src/attest/provenance/predicate';

const FACTS: BuildFacts = {
  builderId: 'https://ci.example/1',
  version: '1.2.3',
  invocationId: 'b1',
  startedOn: '2026-01-01T00:00:00.000Z',
  finishedOn: '2026-01-01T00:00:01.000Z',
  builderPlatform: 'linux/amd64',
  isReproducible: true,
  isComplete: true,
  materials: [{ uri: 'https://x/f', digest: { sha256: 'aa' } }],
  source: { uri: 'https://x/r.git', digest: { sha1: 'bb' }, path: 'Dockerfile' },
  request: { frontend: 'dockerfile.v0' },
  details: {
    steps: [
      { id: 'step0', name: 'RUN x', stage: 's', line: 2, key: 'k', cached: false, durationMs: 3 },
    ],
    dockerfile: { filename: 'Dockerfile', text: 'FROM scratch\n' },
  },
};
const metadata = {
  source: {
    infos: [{ filename: 'Dockerfile', language: 'Dockerfile', data: 'RlJPTSBzY3JhdGNoCg==' }],
  },
};

describe('provenance', () => {
  it('is SLSA v1', () => {
    expect(provenanceOf(FACTS, { mode: 'max', version: 'v1' })).toMatchObject({
      predicateType: 'https://slsa.dev/provenance/v1',
      fileName: 'provenance.json',
      inlineOnly: false,
      predicate: {
        buildDefinition: {
          externalParameters: { configSource: FACTS.source, request: FACTS.request },
          internalParameters: { buildConfig: { steps: FACTS.details?.steps } },
          resolvedDependencies: FACTS.materials,
        },
        runDetails: {
          builder: { id: FACTS.builderId, version: { mbuild: '1.2.3' } },
          metadata: {
            invocationId: 'b1',
            startedOn: FACTS.startedOn,
            finishedOn: FACTS.finishedOn,
            buildkit_metadata: metadata,
            buildkit_completeness: { request: true, resolvedDependencies: true },
            buildkit_reproducible: true,
          },
        },
      },
    });
  });

  it('is SLSA v0.2', () => {
    expect(provenanceOf(FACTS, { mode: 'max', version: 'v0.2', fileName: 'p' })).toMatchObject({
      predicateType: 'https://slsa.dev/provenance/v0.2',
      fileName: 'p',
      predicate: {
        builder: { id: FACTS.builderId },
        materials: FACTS.materials,
        invocation: {
          configSource: {
            uri: 'https://x/r.git',
            digest: { sha1: 'bb' },
            entryPoint: 'Dockerfile',
          },
          parameters: FACTS.request,
          environment: { platform: 'linux/amd64' },
        },
        buildConfig: { steps: FACTS.details?.steps },
        metadata: {
          buildInvocationID: 'b1',
          buildStartedOn: FACTS.startedOn,
          buildFinishedOn: FACTS.finishedOn,
          completeness: { parameters: true, environment: true, materials: true },
          reproducible: true,
          'https://mobyproject.org/buildkit@v1#metadata': metadata,
        },
      },
    });
  });

  it('shows no secret in texts, names or lists', () => {
    const value = { a: ['x-hush-x', 1, null], 'hush-y': { b: 'two hush hush' } };
    expect(masked(value, [Buffer.from('hush\n')])).toEqual({
      a: ['x-***-x', 1, null],
      '***-y': { b: 'two *** ***' },
    });
    expect(masked(value, [])).toBe(value);
  });
});
