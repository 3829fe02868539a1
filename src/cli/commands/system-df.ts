import { chainIds } from '../../oci/digest';
import { humanSize } from '../../progress/units';
import type { Engine } from '../../engine';
import { defineCommand } from '../command';
import { renderList, type ListRow, type ListShape } from '../format/list';
import { withServices } from '../services';

const SHAPE: ListShape = {
  fields: { Type: 'TYPE', TotalCount: 'TOTAL', Active: 'ACTIVE', Size: 'SIZE', Reclaimable: 'RECLAIMABLE' },
  columns: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'],
};

export const command = defineCommand({
  name: 'system df',
  summary: 'Show what takes up space',
  usage: ['[OPTIONS]'],
  positionals: { min: 0, max: 0 },
  flags: {
    format: { kind: 'string', value: 'FORMAT', help: "'table', 'table TEMPLATE', 'json', or a Go template" },
  },
  run: ({ flags }, host) => withServices(host, flags, (services) => {
    host.out.write(renderList(SHAPE, usageRows(services), flags.format));
    return 0;
  }),
});

/** Images with their layers (a shared one counts once), then layers that only the cache has, then stored blobs. */
function usageRows({ images, layers, content }: Engine): ListRow[] {
  const all = images.list();
  const records = layers.list();
  const named = new Set(all.filter(({ names }) => names.length > 0).flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
  const used = new Set(all.flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
  const sizeOf = (wanted: (chainId: (typeof records)[number]['chainId']) => boolean): number =>
    records.filter(({ chainId }) => wanted(chainId)).reduce((sum, { contentSize }) => sum + contentSize, 0);
  const blobs = content.list();
  const blobBytes = blobs.reduce((sum, digest) => sum + (content.size(digest) ?? 0), 0);
  const cacheOnly = records.filter(({ chainId }) => !used.has(chainId)).length;
  const imageBytes = sizeOf((chainId) => used.has(chainId));
  return [
    row('Images', all.length, all.filter(({ names }) => names.length > 0).length, imageBytes, imageBytes - sizeOf((chainId) => named.has(chainId))),
    row('Build Cache', cacheOnly, 0, sizeOf((chainId) => !used.has(chainId)), sizeOf((chainId) => !used.has(chainId))),
    row('Blobs', blobs.length, blobs.length, blobBytes, 0),
  ];
}

function row(type: string, total: number, active: number, bytes: number, reclaimable: number): ListRow {
  const share = bytes === 0 || type !== 'Images' ? '' : ` (${Math.round((reclaimable / bytes) * 100)}%)`;
  return { Type: type, TotalCount: String(total), Active: String(active), Size: humanSize(bytes), Reclaimable: `${humanSize(reclaimable)}${share}` };
}
