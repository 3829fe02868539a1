import { MbuildError } from '../diagnostics/error';
import type { Dockerfile } from '../dockerfile/instruction';
import { formatPlatform } from '../oci/platform';
import type { Graph, StagePlan } from './graph';
import type { PlanOptions, PlanTarget } from './plan-options';
import { Planner, type Numbers } from './planner';

export type { PlanOptions, PlanTarget } from './plan-options';

/**
 * Stages become a graph of steps. Only what the target needs is planned, and only its images are
 * looked up.
 * @throws MbuildError UNKNOWN_STAGE, CIRCULAR_STAGES, DOCKERFILE_SEMANTIC, LIMIT_EXCEEDED, and what
 * `findImage` throws, placed at their line.
 */
export async function planGraph(dockerfile: Dockerfile, options: PlanOptions): Promise<Graph> {
  return planTargets(dockerfile, options, [options]);
}

/**
 * Plans several targets and platforms in one graph. Stages that are the same for several targets
 * are in it once; those of several platforms are planned for each, and their vertices say which.
 * @throws MbuildError as {@link planGraph}.
 */
export async function planTargets(
  dockerfile: Dockerfile,
  options: Omit<PlanOptions, keyof PlanTarget>,
  wanted: readonly PlanTarget[],
): Promise<Graph> {
  const planners = new Map<string, Planner>();
  const numbers: Numbers = { nextStage: 0, nextStep: 0 };
  const isForSeveral = new Set(wanted.map(({ platform }) => formatPlatform(platform))).size > 1;
  const knowsTarget = dockerfile.file.text.includes('TARGETSTAGE');
  const plannerOf = ({ target, platform }: PlanTarget): Planner => {
    const title = formatPlatform(platform);
    const key = `${title} ${knowsTarget ? (target ?? '') : ''}`;
    const planner =
      planners.get(key) ??
      new Planner(dockerfile, { ...options, target, platform }, numbers, isForSeveral);
    planners.set(key, planner);
    return planner;
  };
  const targets: StagePlan[] = [];
  for (const want of wanted) targets.push(await plannerOf(want).plan(want.target));
  const [first] = targets;
  if (first === undefined) throw new MbuildError('INTERNAL', 'a plan without a target');
  return {
    stages: [...planners.values()].flatMap((planner) => planner.stages),
    target: first,
    targets,
  };
}
