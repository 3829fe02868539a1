import type { BuildRun, PlannedBuild } from './build-run';
import { openCaches } from './caches';
import { withDeclaredEpoch } from './epoch';
import { findBase } from './inputs';
import { planWanted, wantedImages } from './wanted';
import type { Diagnostic } from '../diagnostics/error';
import { parseDockerfile } from '../dockerfile/parse';
import type { Engine } from '../engine';
import type { Graph } from '../graph/graph';

/**
 * Parses the Dockerfile and plans the images: what is odd is warned of, and what cannot be run here
 * is refused before the first step.
 * @throws MbuildError as `parseDockerfile` and `planTargets` do; SANDBOX_UNAVAILABLE.
 */
export async function planBuild(opened: BuildRun): Promise<PlannedBuild> {
  const warn = (diagnostic: Diagnostic): void =>
    opened.scope.events({ kind: 'warning', diagnostic });
  const dockerfile = parseDockerfile(opened.context.dockerfile);
  const options = await withDeclaredEpoch(opened.options, dockerfile);
  const run: BuildRun = { ...opened, options };
  const wanted = wantedImages(options);
  const remote = await openCaches(run);
  const findImage = findBase(run, remote);
  const graph = await planWanted(run, dockerfile, wanted, { findImage, warn }).catch(
    async (error: unknown) => {
      // What is given in vain is perhaps what was misspelled.
      const { vainWarnings } = await import('./warnings');
      vainWarnings(dockerfile, options).forEach(warn);
      throw error;
    },
  );
  const { buildWarnings } = await import('./warnings');
  buildWarnings(dockerfile, graph, options, run.context).forEach(warn);
  const caches = remote?.caches;
  // What other builders ran may be in their caches.
  if (caches === undefined) await refuseImpossible(graph, run.engine);
  run.journal.begin(graph, dockerfile, caches);
  return { ...run, dockerfile, wanted, graph, caches };
}

/**
 * @throws MbuildError SANDBOX_UNAVAILABLE before the first step, where a later one could not be
 * run.
 */
async function refuseImpossible({ stages }: Graph, { refusesRun }: Engine): Promise<void> {
  if (!stages.some(({ steps }) => steps.some(({ operation }) => operation.kind === 'run'))) return;
  const refusal = await refusesRun();
  if (refusal !== undefined) throw refusal;
}
