import type { Image } from '../../images/store/image-store';
import type { LayerIndex } from '../../images/store/layer-index';
import { chainIds } from '../../oci/digest';
import { humanSize } from '../../progress/units';
import { ellipsis } from '../../progress/width';
import { shownId } from './images';
import type { ListRow, ListShape } from './list';
import { humanSince, wholeSeconds } from './time';

/** How `history` shows its rows. */
export interface HistoryOptions {
  readonly noTrunc: boolean;
  /** Print sizes and times in human-readable form, not for programs. */
  readonly human: boolean;
  readonly now: number;
}

/** Columns of CREATED BY before it is cut: cli/command/formatter/history.go. */
const CREATED_BY_WIDTH = 45;

export function historyShape(human: boolean): ListShape {
  return {
    fields: {
      ID: 'IMAGE',
      CreatedSince: human ? 'CREATED' : 'CREATED AT',
      CreatedAt: 'CREATED AT',
      CreatedBy: 'CREATED BY',
      Size: 'SIZE',
      Comment: 'COMMENT',
    },
    columns: ['ID', human ? 'CreatedSince' : 'CreatedAt', 'CreatedBy', 'Size', 'Comment'],
  };
}

/**
 * The history of an image, the latest entry first. The first row has the image's id, the others
 * `<missing>`, for what is below has no image of its own. An image without history entries shows
 * its layers.
 */
export function historyRows(image: Image, layers: LayerIndex, options: HistoryOptions): ListRow[] {
  const sizes = chainIds(image.config.rootfs.diff_ids).map(
    (chain) => layers.get(chain)?.contentSize ?? 0,
  );
  const history = image.config.history ?? [];
  const withLayer = history.filter((entry) => entry.empty_layer !== true).length;
  const entries = [
    ...history,
    ...sizes.slice(withLayer).map(() => ({}) as (typeof history)[number]),
  ];
  let layer = 0;
  const rows = entries.map((entry): Omit<ListRow, 'ID'> => {
    const bytes = entry.empty_layer === true ? 0 : (sizes[layer++] ?? 0);
    const createdBy = (entry.created_by ?? '').replace(/\t/g, ' ');
    const at = wholeSeconds(entry.created);
    return {
      CreatedAt: at,
      CreatedSince: options.human ? humanSince(entry.created, options.now) : at,
      CreatedBy: options.noTrunc ? createdBy : ellipsis(createdBy, CREATED_BY_WIDTH),
      Size: options.human ? humanSize(bytes, 3) : String(bytes),
      Comment: entry.comment ?? '',
    };
  });
  return rows.reverse().map((row, i): ListRow => ({
    ...row,
    ID: i === 0 ? shownId(image.id, options.noTrunc) : '<missing>',
  }));
}
