import type { GitCommit } from './repository';

/** A build that CI would have made: a commit, on the branch that it was pushed to. */
export interface ScheduledBuild {
  readonly commit: GitCommit;
  /** Absent on the line of first parents: the default branch. */
  readonly branch?: string | undefined;
}

/** Commits one after the other, all on the default branch. */
export function oneAfterTheOther(commits: readonly GitCommit[]): ScheduledBuild[] {
  return commits.map((commit) => ({ commit }));
}

/**
 * Branches built in turn, as their merges tell of them: what a merge brought in was pushed to a branch of its own. Builds
 * are in order of time, but no commit comes before its parents.
 * @param commits all of a range, parents first. @param tip the last of the line of first parents.
 */
export function branchesInTurn(commits: readonly GitCommit[], tip: string): ScheduledBuild[] {
  const byId = new Map(commits.map((commit) => [commit.id, commit]));
  const mainLine = new Set<string>();
  for (let at = byId.get(tip); at !== undefined; at = byId.get(at.parents[0] ?? ''))
    mainLine.add(at.id);
  const branches = new Map<string, string>();
  for (const merge of commits) {
    if (!mainLine.has(merge.id)) continue;
    const todo = merge.parents.slice(1);
    for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
      const commit = byId.get(id);
      if (commit === undefined || mainLine.has(id) || branches.has(id)) continue;
      branches.set(id, branchOf(merge));
      todo.push(...commit.parents);
    }
  }
  return inTime(commits).map((commit) => ({ commit, branch: branches.get(commit.id) }));
}

/** The name that git and forges write into the subject of a merge; else the merge itself stands for it. */
function branchOf({ id, subject }: GitCommit): string {
  const [, quoted, pull] =
    /^Merge (?:remote-tracking )?branch '([^']+)'|^Merge pull request #\d+ from (\S+)/.exec(
      subject,
    ) ?? [];
  return quoted ?? pull ?? `merged by ${id.slice(0, 10)}`;
}

function inTime(commits: readonly GitCommit[]): GitCommit[] {
  // Clocks of several people differ: a commit is not built before its parents.
  const built = new Map<string, number>();
  for (const { id, time, parents } of commits)
    built.set(id, Math.max(time, ...parents.map((parent) => built.get(parent) ?? 0)));
  return commits.toSorted((a, b) => (built.get(a.id) ?? 0) - (built.get(b.id) ?? 0));
}
