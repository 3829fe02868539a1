import type { CacheRecord } from '../../cache/record';
import type { ImageStore } from '../../images/store/image-store';
import { chainIds, type ChainID } from '../../oci/digest';
import { humanSize, seconds } from '../../progress/units';
import { ellipsis } from '../../progress/width';
import type { ListRow, ListShape } from './list';
import { humanSince } from './time';

/**
 * What `builder prune` shows of each record: buildx's columns, what it is, and how long it took to
 * make.
 */
export const pruneShape: ListShape = {
  fields: {
    ID: 'ID',
    Reclaimable: 'RECLAIMABLE',
    Size: 'SIZE',
    CreatedSince: 'CREATED',
    Took: 'TOOK',
    Description: 'STEP',
  },
  columns: ['ID', 'Reclaimable', 'Size', 'CreatedSince', 'Took', 'Description'],
};

/** `system df -v`: docker's columns of the build cache. */
export const cacheShape: ListShape = {
  fields: {
    ID: 'CACHE ID',
    CacheType: 'CACHE TYPE',
    Size: 'SIZE',
    CreatedSince: 'CREATED',
    Shared: 'SHARED',
    Description: 'STEP',
  },
  columns: ['ID', 'CacheType', 'Size', 'CreatedSince', 'Shared', 'Description'],
};

const DESCRIPTION_WIDTH = 60;

/** Records as rows, the oldest first. */
export function cacheRows(
  records: readonly CacheRecord[],
  { images }: { readonly images: ImageStore },
  now: number,
): ListRow[] {
  const shared = chainsOfImages(images);
  return [...records]
    .sort((a, b) => (a.created < b.created ? -1 : 1))
    .map((record): ListRow => ({
      ID: record.key.slice(0, 12),
      CacheType: 'regular',
      Reclaimable: 'true',
      Size: humanSize(record.layer?.contentSize ?? 0),
      CreatedSince: humanSince(record.created, now),
      Took: seconds(record.durationMs),
      Shared: String(isShared(record, shared)),
      Description: ellipsis(describeRecord(record), DESCRIPTION_WIDTH),
    }));
}

/** True when an image has the record's layer, so that forgetting the record frees nothing. */
export function isShared({ layer }: CacheRecord, chains: ReadonlySet<ChainID>): boolean {
  return layer !== undefined && chains.has(layer.chainId);
}

export function chainsOfImages(images: ImageStore): ReadonlySet<ChainID> {
  return new Set(images.list().flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
}

/** How long it took to make what would have to be made anew: a line, or nothing without records. */
export function recreation(records: readonly CacheRecord[]): string {
  if (records.length === 0) return '';
  const time = records.reduce((sum, { durationMs }) => sum + durationMs, 0);
  return `${records.length} step${records.length === 1 ? '' : 's'} must run again, which took ${seconds(time)}\n`;
}

/** The step in a few words, out of what its key was made of. */
function describeRecord({ input: { kind, inputs } }: CacheRecord): string {
  switch (kind) {
    case 'run': {
      const args = Array.isArray(inputs['args']) ? inputs['args'].map(String) : [];
      return `RUN ${args.slice(0, 2).join(' ') === '/bin/sh -c' ? args.slice(2).join(' ') : args.join(' ')}`.replace(
        /\s+/g,
        ' ',
      );
    }
    case 'copy':
      return `COPY … ${String(inputs['dest'] ?? '')}`;
    case 'mkdir':
      return `WORKDIR ${String(inputs['path'] ?? '')}`;
    default:
      return kind;
  }
}
