import { listFlag, stringFlag } from '../dockerfile/flags';
import type { Dockerfile, Stage } from '../dockerfile/instruction';

/**
 * The stage of a name above `before`; of several with one name the last. Names compare without
 * regard to case.
 */
export function namedStage(
  dockerfile: Dockerfile,
  name: string,
  before: number,
): Stage | undefined {
  const wanted = name.toLowerCase();
  return dockerfile.stages.findLast((stage) => stage.index < before && stage.name === wanted);
}

/** What messages call a stage. */
export function stageTitle(stage: Stage): string {
  return stage.name ?? `stage-${stage.index}`;
}

/** The name behind FROM; `docker-image://` says what is the default anyway. */
export function stageBaseName(name: string): string {
  return name.replace(/^docker-image:\/\//, '');
}

/**
 * The stages that a target needs, the target last, as far as the text tells: triggers of images may
 * add more. `expand` replaces the global ARGs in FROM. A stage that `isReplaced` needs none of its
 * own.
 */
export function reachableStages(
  dockerfile: Dockerfile,
  target: Stage,
  expand: (word: string) => string,
  isReplaced: (stage: Stage) => boolean = () => false,
): Stage[] {
  const found = new Set<Stage>();
  const visit = (stage: Stage): void => {
    if (found.has(stage) || isReplaced(stage)) return;
    for (const name of [expand(stage.from.image), ...treeNames(stage)]) {
      const below =
        namedStage(dockerfile, name, stage.index) ??
        (/^\d+$/.test(name) ? dockerfile.stages[Number(name)] : undefined);
      if (below !== undefined && below.index < stage.index) visit(below);
    }
    found.add(stage);
  };
  visit(target);
  return [...found];
}

/** What `--from=` and `from=` of a stage's instructions name. */
export function treeNames(stage: Stage): string[] {
  return stage.instructions.flatMap((instruction) => {
    const from = stringFlag(instruction.flags, 'from');
    const mounts = listFlag(instruction.flags, 'mount').flatMap(
      (mount) => /(?:^|,)from=([^,]+)/.exec(mount)?.[1] ?? [],
    );
    return from === undefined ? mounts : [from, ...mounts];
  });
}
