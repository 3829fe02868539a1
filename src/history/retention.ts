import { LOOKED_AT, type BuildRecord } from './build-record';
import type { BuildHistory } from './file-history';

/** Records of one project that a build leaves at most. */
const MOST_OF_PROJECT = 100;

/**
 * Builds that no miss is compared with any more: of each project all but the latest ten.
 * @param before milliseconds since the epoch.
 */
export function surplusBuilds(history: BuildHistory, before = Infinity): BuildRecord[] {
  const seen = new Map<string, number>();
  return [...history.all()].filter((build) => {
    const count = (seen.get(build.project) ?? 0) + 1;
    seen.set(build.project, count);
    return count > LOOKED_AT && Date.parse(build.started) < before;
  });
}

/** Deletes the oldest records of a project beyond the number that is kept without being asked. */
export function limitProject(history: BuildHistory, project: string): void {
  for (const id of history.idsOf(project).slice(MOST_OF_PROJECT)) history.delete({ project, id });
}
