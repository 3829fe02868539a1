import { readFileSync } from 'node:fs';
import type { LocalContext } from '../context/local';
import { BuildHistory } from '../history/file-history';
import type { LintOptions } from '../lint/options';
import { fsPath, toRaw } from '../linux/paths';

/** Manifests and lock files have less. */
const MAX_FILE = 8 << 20;

/** What rules about the order of instructions look up; nothing is read before one of them asks. */
export function cacheOrderOptions(
  tree: LocalContext,
  root: string,
): Required<Pick<LintOptions, 'readFile' | 'recordedSeconds'>> {
  let recorded: ReadonlyMap<string, number> | undefined;
  return {
    readFile: (path) => {
      const entry = tree.stat(toRaw(`/${path}`));
      return entry === undefined || !entry.stats.isFile() || entry.stats.size > MAX_FILE
        ? undefined
        : readFileSync(fsPath(entry.hostPath), 'utf8');
    },
    recordedSeconds: (instruction) => (recorded ??= recordedRuns(root)).get(instruction),
  };
}

/** How long instructions took when they last ran. */
function recordedRuns(root: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const build of new BuildHistory(root).all()) {
    for (const { text, durationMs, failed } of build.steps)
      if (failed !== true && !found.has(text)) found.set(text, durationMs / 1000);
  }
  return found;
}
