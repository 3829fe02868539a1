import type { BuildOptions } from './options';
import type { RemoteCaches } from '../cache/remote/caches';
import type { CachePlace, CacheSource, CacheTarget } from '../cache/remote/place';
import type { Engine } from '../engine';
import type { Lease } from '../images/store/lease';
import type { BuildScope, VertexId } from '../progress/events';

/** Makes the caches of `--cache-from` ready to be asked; `undefined` when there are none. @throws MbuildError REFERENCE_INVALID. */
export async function openCaches(
  options: BuildOptions,
  engine: Engine,
  lease: Lease,
  newVertex: () => VertexId,
  scope: BuildScope,
): Promise<RemoteCaches | undefined> {
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

/** Where a cache is read or written. @throws MbuildError REFERENCE_INVALID, NOT_ALLOWED. */
export async function openPlace(source: CacheSource, engine: Engine): Promise<CachePlace> {
  switch (source.type) {
    case 'registry':
      return new (await import('../cache/remote/registry-place')).RegistryPlace(
        source.ref,
        engine.registry,
      );
    case 'http': {
      const url = new URL(source.url);
      return new (await import('../cache/remote/http-place')).HttpPlace(
        url,
        source.tag,
        await engine.files.folder(url, source.authorization),
      );
    }
    case 'local':
      return new (await import('../cache/remote/local-place')).LocalPlace(
        source.folder,
        source.tag,
        source.digest,
      );
  }
}

/** `--cache-to`, and what BuildKit's older build argument for an inline cache asks for. */
export function cacheTargets({ cacheTo = [], buildArgs }: BuildOptions): readonly CacheTarget[] {
  const isInline =
    ['1', 'true'].includes(buildArgs?.['BUILDKIT_INLINE_CACHE'] ?? '') &&
    !cacheTo.some(({ type }) => type === 'inline');
  return isInline ? [...cacheTo, { type: 'inline' }] : cacheTo;
}
