import type { StagePlan } from '../graph/graph';
import type { Attestation } from '../output/attestation';
import type { SolvedBuild } from './build-run';
import type { MadeImage } from './outputs';
import { withRow } from '../progress/events';
import { historyMakers, type LayerMaker } from '../history/layer-makers';
import type { SbomOptions } from '../attest/options';

/**
 * Says of each image what was asked for, each with a row of progress. @throws MbuildError
 * IMAGE_INVALID.
 */
export async function attestImages(
  images: readonly MadeImage[],
  build: SolvedBuild,
): Promise<MadeImage[]> {
  const { newVertex, scope, graph } = build;
  return withRow('attesting the image', newVertex(), scope, async (id) => {
    const note = (text: string): void => scope.events({ kind: 'note', id, text });
    return Promise.all(
      images.map(async (made, i) => {
        const target = graph.targets[i] ?? graph.target;
        return { ...made, attestations: await attestationsOf(made, target, build, note) };
      }),
    );
  });
}

async function attestationsOf(
  made: MadeImage,
  target: StagePlan,
  build: SolvedBuild,
  note: (text: string) => void,
): Promise<Attestation[]> {
  const { provenance, sbom } = build.options.attestations ?? {};
  const attestations: Attestation[] = [];
  if (sbom !== undefined) attestations.push(await sbomOfImage(made, sbom, build, note));
  if (provenance !== undefined) {
    const [{ buildFacts }, { provenanceOf }] = await Promise.all([
      import('./provenance-facts'),
      import('../attest/provenance/predicate'),
    ]);
    attestations.push(provenanceOf(await buildFacts(build, target, provenance), provenance));
  }
  return attestations;
}

async function sbomOfImage(
  { image, names }: MadeImage,
  { format, fileName, inlineOnly = false }: SbomOptions,
  build: SolvedBuild,
  note: (text: string) => void,
): Promise<Attestation> {
  const [{ sbomOf }, { SBOM_FORMATS }] = await Promise.all([
    import('../attest/sbom/sbom'),
    import('../attest/sbom/formats'),
  ]);
  const found = SBOM_FORMATS.find(({ name }) => name === format);
  if (found === undefined) throw new Error(`there is no format ${format}`);
  const sbom = sbomOf(image, names[0] ?? image.id, build.engine, await makersOf(image, build));
  note(`${sbom.packages.length} packages`);
  for (const { path, reason } of sbom.gaps) note(`incomplete: /${path} cannot be read: ${reason}`);
  return {
    predicateType: found.predicateType,
    // The manifest is another one wherever layers are compressed otherwise; the statement's subject
    // names it.
    predicate: await found.write(
      { ...sbom, digest: image.id },
      new Date(image.config.created ?? 0),
    ),
    fileName: fileName ?? found.fileName,
    inlineOnly,
  };
}

/**
 * The record of the build is not written yet, so its own steps tell what made each layer; those
 * below are the base's.
 */
async function makersOf(
  image: MadeImage['image'],
  { graph, solution }: SolvedBuild,
): Promise<(diffId: string, index: number) => LayerMaker> {
  const steps = graph.stages.flatMap((stage) => stage.steps);
  const made = new Map<string, LayerMaker>();
  for (const step of steps) {
    const layer = await solution.outcomes.get(step.id)?.layer;
    if (layer !== undefined)
      made.set(layer.diffId, { title: step.name, line: step.range.start.line });
  }
  const makerBelow = historyMakers(image.config);
  return (diffId, index) => made.get(diffId) ?? makerBelow(index);
}
