import { cacheTargets, openPlace } from './cache-places';
import type { RemoteCaches } from '../cache/remote/caches';
import type { BuildRun, SolvedBuild } from './build-run';

/**
 * Makes the caches of `--cache-from` ready to be asked; `undefined` when there are none.
 * @throws MbuildError REFERENCE_INVALID.
 */
export async function openCaches(run: BuildRun): Promise<RemoteCaches | undefined> {
  const { options, engine, lease, newVertex, scope } = run;
  const sources = options.cacheFrom ?? [];
  if (sources.length === 0 || options.noCache === true) return undefined;
  const { RemoteCaches: Caches } = await import('../cache/remote/caches');
  return new Caches(await Promise.all(sources.map((source) => openPlace(source, engine))), {
    services: engine,
    lease,
    newVertex,
    scope,
  });
}

/** Writes the caches of `--cache-to`. @throws MbuildError as `writeCaches` does. */
export async function exportCaches(build: SolvedBuild): Promise<void> {
  if (cacheTargets(build.options).length > 0)
    await (await import('./cache-export')).writeCaches(build);
}
