import type { BuildOptions } from './options';
import type { CachePlace, CacheSource, CacheTarget } from '../cache/remote/place';
import type { Engine } from '../engine';

/** Where a cache is read or written. @throws MbuildError REFERENCE_INVALID, NOT_ALLOWED. */
export async function openPlace(source: CacheSource, engine: Engine): Promise<CachePlace> {
  switch (source.type) {
    case 'registry':
      return new (await import('../cache/remote/registry-place')).RegistryPlace(
        source.ref,
        engine.registry,
        engine.admit,
      );
    case 'http': {
      const url = new URL(source.url);
      return new (await import('../cache/remote/http-place')).HttpPlace(
        url,
        source.tag,
        await engine.files.folder(url, source.authorization),
      );
    }
    case 'gha':
      return new (await import('../cache/remote/gha-place')).ActionsPlace(
        source,
        (request, signal) => engine.files.call(request, signal),
      );
    case 's3':
      await refuseOffline(source.endpoint ?? `s3://${source.bucket}`, engine);
      return (await import('../cache/remote/s3-place')).s3Place(source);
    case 'azblob':
      await refuseOffline(new URL(source.accountUrl).host, engine);
      return (await import('../cache/remote/azblob-place')).azurePlace(source);
    case 'local':
      return new (await import('../cache/remote/local-place')).LocalPlace(
        source.folder,
        source.tag,
        source.digest,
      );
  }
}

/** Clients of their own do not know of `--offline`. @throws MbuildError NOT_ALLOWED. */
async function refuseOffline(what: string, { offline }: Engine): Promise<void> {
  if (offline) throw (await import('../registry/offline')).offlineError(what);
}

/** `--cache-to`, and what BuildKit's older build argument for an inline cache asks for. */
export function cacheTargets({ cacheTo = [], buildArgs }: BuildOptions): readonly CacheTarget[] {
  const isInline =
    ['1', 'true'].includes(buildArgs?.['BUILDKIT_INLINE_CACHE'] ?? '') &&
    !cacheTo.some(({ type }) => type === 'inline');
  return isInline ? [...cacheTo, { type: 'inline' }] : cacheTo;
}
