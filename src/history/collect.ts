import { collectManifests, selectionsOf } from '../cache/manifest';
import type { CacheStore } from '../cache/record';
import { LOOKED_AT } from './build-record';
import { BuildHistory } from './file-history';

/**
 * Deletes descriptions of selections that neither a record of the cache nor a build that steps are
 * still compared with refers to.
 */
export function collectExplanations(root: string, cache: Pick<CacheStore, 'list'>): void {
  const used = new Set(cache.list().flatMap(({ input }) => selectionsOf(input)));
  const looked = new Map<string, number>();
  for (const build of new BuildHistory(root).all()) {
    const seen = looked.get(build.project) ?? 0;
    looked.set(build.project, seen + 1);
    if (seen >= LOOKED_AT) continue;
    for (const step of build.steps)
      for (const digest of step.input === undefined ? [] : selectionsOf(step.input))
        used.add(digest);
  }
  collectManifests(root, (digest) => used.has(digest));
}
