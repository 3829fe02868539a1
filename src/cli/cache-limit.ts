import type { EvictionPolicy } from '../cache/eviction';
import { cacheKey } from '../cache/key';
import type { CacheRecord } from '../cache/record';
import { MbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { Image } from '../images/store/image-store';
import { chainIds } from '../oci/digest';
import { humanSize } from '../progress/units';
import { note, type Host } from './host';
import { collectGarbage, previewGarbage } from './services';

/**
 * Bytes with docker's units, decimal ones here: `10gb`, `512mb`, a bare number.
 * @throws MbuildError USAGE.
 */
export function readSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?$/i.exec(text.trim());
  if (match === null)
    throw new MbuildError('USAGE', `invalid size ${JSON.stringify(text)}`, {
      hint: 'write a number with kb, mb, gb or tb, such as 20gb',
    });
  return (
    Number(match[1]) *
    (match[3] === '' ? 1000 : 1024) ** ' kmgt'.indexOf((match[2] ?? '').toLowerCase() || ' ')
  );
}

/**
 * Records whose layers no image but those that go has, and those that no build finds any more: they
 * were made by another version of mbuild.
 */
export function uselessRecords(
  { cache, images }: Pick<Engine, 'cache' | 'images'>,
  going: readonly Image[] = [],
): CacheRecord[] {
  const gone = new Set(going.map(({ id }) => id));
  const used = new Set(
    images
      .list()
      .filter(({ id }) => !gone.has(id))
      .flatMap(({ config }) => chainIds(config.rootfs.diff_ids)),
  );
  return cache
    .list()
    .filter(
      ({ key, input, layer }) =>
        layer === undefined || !used.has(layer.chainId) || cacheKey(input) !== key,
    );
}

/**
 * Forgets results beyond a size that nothing but the cache needs: no image, container or running
 * build. Says so.
 */
export async function limitCache(
  services: Engine,
  size: number,
  policy: EvictionPolicy,
  host: Host,
): Promise<void> {
  const { recordsBeyond } = await import('../pipeline/cache-limit');
  const records = recordsBeyond(await recordsOfCacheAlone(services), size, policy, services);
  if (records.length === 0) return;
  for (const { key } of records) services.cache.delete(key);
  const { bytes } = await collectGarbage(services);
  note(
    host,
    `the cache was reduced to ${humanSize(size)}: ${records.length} result${records.length === 1 ? '' : 's'} of earlier steps deleted, ${humanSize(bytes)}`,
  );
}

/** Records whose layers would go if the cache did not keep them. */
export async function recordsOfCacheAlone(services: Engine): Promise<CacheRecord[]> {
  const records = services.cache.list();
  const { layers } = await previewGarbage(services, {
    cache: new Set(records.map(({ key }) => key)),
  });
  const alone = new Set(layers.map(({ chainId }) => chainId));
  return records.filter(({ layer }) => layer !== undefined && alone.has(layer.chainId));
}
