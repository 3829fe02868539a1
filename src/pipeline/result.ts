import type { MadeBuild } from './make';
import type { BuildResult, BuiltImage } from './options';
import { wantsImage } from './outputs';
import { MbuildError, type Diagnostic } from '../diagnostics/error';
import type { BuildRecord } from '../history/build-record';
import { causeText } from '../history/cause';

const SLSA = 'https://slsa.dev/provenance/';

/** Ends the build's record well, and tells what came of it. */
export async function buildResult(
  build: MadeBuild,
  warnings: readonly Diagnostic[],
): Promise<BuildResult> {
  const { options, journal } = build;
  const images = build.images.map(({ image, ...rest }, i): BuiltImage => ({
    target: rest.target,
    platform: rest.platform,
    imageId: image.id,
    descriptor: build.descriptors[i] ?? image.descriptor,
    names: rest.names,
    provenance: rest.attestations?.find(({ predicateType }) => predicateType.startsWith(SLSA))
      ?.predicate,
  }));
  const [first] = images;
  if (first === undefined) throw new MbuildError('INTERNAL', 'a build without a target');
  const { descriptor } = first;
  const names = [...new Set(build.wanted.flatMap((wanted) => wanted.names))];
  const imageId = wantsImage(options) ? first.imageId : undefined;
  const record = await journal.finish({ result: { imageId, digest: descriptor.digest, names } });
  return {
    buildId: record.id,
    imageId,
    descriptor,
    names,
    images,
    steps: await stepResults(build, record),
    cache: record.cache,
    warnings,
  };
}

async function stepResults(
  { graph, solution }: MadeBuild,
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
