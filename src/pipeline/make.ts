import type { PlannedBuild, SolvedBuild } from './build-run';
import { solveOptions, solverServices } from './inputs';
import { exportImages, keepsAttestations, type MadeImage } from './outputs';
import { recordImages } from './record';
import { isMbuildError } from '../diagnostics/error';
import type { Descriptor } from '../oci/image';
import { withRow } from '../progress/events';
import { solve } from '../solver/solver';

/** A build whose images are where they were asked for. */
export interface MadeBuild extends SolvedBuild {
  readonly images: readonly MadeImage[];
  /** As they left, or as the store has them: the index where there is one. */
  readonly descriptors: readonly Descriptor[];
}

/**
 * Does the steps, makes the images and takes them to their places.
 * @throws MbuildError as {@link solve} and the exporters do.
 */
export async function makeImages(plan: PlannedBuild): Promise<MadeBuild> {
  return withoutRefused(async () => {
    const solution = await solve(plan.graph, {
      services: solverServices(plan, plan.caches),
      options: solveOptions(plan),
      newVertex: plan.newVertex,
      scope: plan.scope,
    });
    const solved: SolvedBuild = { ...plan, solution };
    const images = await attested(await recordImages(solved), solved);
    return { ...solved, images, descriptors: await exportImages(images, plan) };
  });
}

/** Images with what is to be said of them, where an output keeps it. */
async function attested(
  images: readonly MadeImage[],
  build: SolvedBuild,
): Promise<readonly MadeImage[]> {
  const { options, newVertex, scope } = build;
  if (options.attestations === undefined) return images;
  if (keepsAttestations(options)) return (await import('./attest')).attestImages(images, build);
  const text =
    'the store keeps no attestations: they go with --push and --output type=oci, local and tar';
  await withRow('no attestations are made', newVertex(), scope, (id) =>
    Promise.resolve(scope.events({ kind: 'note', id, text })),
  );
  return images;
}

/**
 * If a cache elsewhere has not what it says, the build goes on without that: what was made until
 * then is in the store's own cache.
 */
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
