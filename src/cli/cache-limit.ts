import type { CacheRecord } from '../cache/record';
import { MbuildError } from '../diagnostics/error';
import type { Engine } from '../engine';
import { chainIds } from '../oci/digest';
import { humanSize } from '../progress/units';
import { parseTime } from './format/time';
import { note, type Host } from './host';
import { collectGarbage } from './services';

/** Bytes with docker's units, decimal ones here: `10gb`, `512mb`, a bare number. @throws MbuildError USAGE. */
export function readSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?$/i.exec(text.trim());
  if (match === null) throw new MbuildError('USAGE', `invalid size ${JSON.stringify(text)}`, { hint: 'a size is a number with kb, mb, gb or tb behind it' });
  return Number(match[1]) * (match[3] === '' ? 1000 : 1024) ** (' kmgt'.indexOf((match[2] ?? '').toLowerCase() || ' '));
}

/** Records whose layers no image has. */
export function recordsOfNoImage({ cache, images }: Pick<Engine, 'cache' | 'images'>): CacheRecord[] {
  const used = new Set(images.list().flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
  return cache.list().filter(({ layer }) => layer === undefined || !used.has(layer.chainId));
}

/** All but the latest records, as far as those fit into a size. */
export function beyond(records: readonly CacheRecord[], size: number): CacheRecord[] {
  let left = size;
  const latest = [...records].sort((a, b) => (parseTime(b.created) ?? 0) - (parseTime(a.created) ?? 0));
  return latest.filter(({ layer }) => (left -= layer?.contentSize ?? 0) < 0);
}

/** Forgets the oldest results of the cache beyond a size, but none that an image, a container or another build stands on; says so. */
export async function limitCache(services: Engine, size: number, host: Host): Promise<void> {
  const records = beyond(recordsOfNoImage(services), size).filter(({ layer }) => layer !== undefined);
  if (records.length === 0) return;
  for (const { key } of records) services.cache.delete(key);
  const { bytes } = await collectGarbage(services);
  note(host, `the cache is kept to ${humanSize(size)}: ${records.length} result${records.length === 1 ? '' : 's'} of earlier steps went, ${humanSize(bytes)}`);
}
