import { cacheTargets, openPlace } from './cache-places';
import type { RemoteCaches } from '../cache/remote/caches';
import type { BuildRun, SolvedBuild } from './build-run';
import type { LaterImages } from '../images/transfer/later-images';

/**
 * The caches of `--cache-from`, and the images that are fetched only if what the caches have is not
 * enough.
 */
export interface OpenCaches {
  readonly caches: RemoteCaches;
  readonly bases: LaterImages;
}

/**
 * Makes the caches of `--cache-from` ready to be asked; `undefined` when there are none.
 * @throws MbuildError REFERENCE_INVALID.
 */
export async function openCaches(run: BuildRun): Promise<OpenCaches | undefined> {
  const { options, engine, lease, newVertex, scope } = run;
  const sources = options.cacheFrom ?? [];
  if (sources.length === 0 || options.noCache === true) return undefined;
  const [{ RemoteCaches: Caches }, { LaterImages: Images }] = await Promise.all([
    import('../cache/remote/caches'),
    import('../images/transfer/later-images'),
  ]);
  const setting = { services: engine, lease, newVertex, scope };
  const bases = new Images({ ...setting, registry: engine.registry });
  const places = await Promise.all(sources.map((source) => openPlace(source, engine)));
  return { caches: new Caches(places, { ...setting, bases }), bases };
}

/** Writes the caches of `--cache-to`. @throws MbuildError as `writeCaches` does. */
export async function exportCaches(build: SolvedBuild): Promise<void> {
  if (cacheTargets(build.options).length > 0)
    await (await import('./cache-export')).writeCaches(build);
}
