import type { StagePlan } from '../graph/graph';
import type { HistoryEntry, ImageConfig } from '../oci/image';
import type { Solution } from '../solver/solution';

/** What BuildKit writes into every line of history that it makes; tools tell its images by it. */
const COMMENT = 'buildkit.dockerfile.v0';

/**
 * The config of a stage's image: OCI image-spec, config.md. The same steps give the same bytes,
 * whenever they are taken from the cache.
 */
export async function imageConfig(
  stage: StagePlan,
  solution: Solution,
  sourceDateEpoch: number | undefined,
): Promise<ImageConfig> {
  const epoch =
    sourceDateEpoch === undefined ? undefined : new Date(sourceDateEpoch * 1000).toISOString();
  const history = await historyOf(stage, solution, epoch);
  const layers = await solution.trees.get(stage.index)?.layers;
  if (layers === undefined) throw new Error(`the stage ${stage.name} was not solved`);
  return {
    architecture: stage.platform.architecture,
    os: stage.platform.os,
    variant: stage.platform.variant,
    author: stage.author,
    created: epoch ?? history.at(-1)?.created ?? NEVER,
    config: stage.config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history,
  };
}

/**
 * For an image that nothing was done for: it has no time, and the present would make each build of
 * it another image.
 */
const NEVER = '1970-01-01T00:00:00.000Z';

/**
 * The base's history, then a line for each instruction. Lines that made no layer have the time of
 * the step before them, or of the first one that follows.
 */
async function historyOf(
  stage: StagePlan,
  solution: Solution,
  epoch: string | undefined,
): Promise<HistoryEntry[]> {
  const { base } = stage;
  const before = await historyBelow(stage, solution, epoch);
  const outcomes = stage.history.map((item) =>
    item.step === undefined ? undefined : solution.outcomes.get(item.step.id),
  );
  const first = outcomes.find((outcome) => outcome !== undefined);
  const inherited = base.kind === 'image' ? base.image.config.created : before.at(-1)?.created;
  let created = epoch ?? (first === undefined ? inherited : await first.created) ?? NEVER;
  const entries: HistoryEntry[] = [];
  for (const [i, item] of stage.history.entries()) {
    const outcome = outcomes[i];
    if (outcome !== undefined) created = epoch ?? (await outcome.created);
    const isEmpty = outcome === undefined || (await outcome.layer) === undefined;
    entries.push({
      created,
      created_by: item.createdBy,
      comment: COMMENT,
      ...(isEmpty ? { empty_layer: true } : {}),
    });
  }
  return [...before, ...entries];
}

async function historyBelow(
  { base }: StagePlan,
  solution: Solution,
  epoch: string | undefined,
): Promise<readonly HistoryEntry[]> {
  if (base.kind === 'stage') return historyOf(base.stage, solution, epoch);
  return base.kind === 'image' ? (base.image.config.history ?? []) : [];
}
