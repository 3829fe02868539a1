import { visible } from '../../diagnostics/visible';
import { humanSize } from '../../progress/units';
import { ellipsis } from '../../progress/width';
import {
  wastedBy,
  type Duplicates,
  type LostFile,
  type Waste,
  type WastefulLayer,
} from '../../report/waste';
import type { FieldDifference, FileDifference } from '../../verify/difference';
import { layOutTable } from './table';

/** Lost files of each layer, and groups of duplicates, that are listed. */
const MOST_FILES = 5;
const MOST_GROUPS = 10;
const TITLE_WIDTH = 70;

/**
 * What an image wastes: a table of its layers with their largest lost files, then copies, then the
 * sum.
 */
export function showWaste({ bytes, lost, duplicated, layers, duplicates }: Waste): string {
  const table =
    layers.length === 0
      ? ''
      : layOutTable([
          ['LAYER', 'LINE', 'SIZE', 'WASTED', 'INSTRUCTION'],
          ...layers.flatMap(layerRows),
        ]);
  const copies = duplicates.slice(0, MOST_GROUPS).map(duplicateLine).join('');
  const more =
    duplicates.length > MOST_GROUPS
      ? `and ${duplicates.length - MOST_GROUPS} more such groups (--format json has them all)\n`
      : '';
  const share = bytes === 0 ? 0 : ((lost + duplicated) / bytes) * 100;
  return (
    `${table}${copies === '' ? '' : `${table === '' ? '' : '\n'}The same content several times:\n${copies}${more}`}${table === '' && copies === '' ? '' : '\n'}` +
    `${humanSize(lost + duplicated, 3)} of ${humanSize(bytes, 3)} wasted (${share.toFixed(1)} %): ${humanSize(lost, 3)} overwritten or deleted later, ${humanSize(duplicated, 3)} in copies\n`
  );
}

function layerRows({ layer, line, bytes, lost, title, files }: WastefulLayer): string[][] {
  const more = files.length - MOST_FILES;
  return [
    [
      String(layer),
      line === undefined ? '' : String(line),
      humanSize(bytes, 3),
      humanSize(lost, 3),
      ellipsis(title, TITLE_WIDTH),
    ],
    ...files
      .slice(0, MOST_FILES)
      .map((file) => ['', '', '', humanSize(file.bytes, 3), `  ${file.path} ${fate(file)}`]),
    ...(more > 0 ? [['', '', '', '', `  and ${more} more file${more === 1 ? '' : 's'}`]] : []),
  ];
}

function fate({ how, by }: LostFile): string {
  return `${how} by ${by.line === undefined ? `layer ${by.layer}` : `line ${by.line}`}`;
}

function duplicateLine(duplicates: Duplicates): string {
  const { bytes, files } = duplicates;
  const shown = files
    .slice(0, MOST_FILES)
    .map(({ path, layer }) => `${visible(path)} (layer ${layer})`)
    .join(', ');
  return `  ${humanSize(wastedBy(duplicates), 3)} in ${files.length} × ${humanSize(bytes, 3)}: ${shown}${files.length > MOST_FILES ? ', …' : ''}\n`;
}

const KINDS = { changed: 'C', 'only in the first': 'D', 'only in the second': 'A' } as const;

/** How the file systems of two images differ, a line for each path in docker's letters. */
export function showChanges(differences: readonly FileDifference[]): string {
  return differences
    .map(
      ({ kind, path, fields }) =>
        `${visible(`${KINDS[kind]} ${path}${fields.length === 0 ? '' : `  ${fields.filter(isShort).map(fieldText).join(', ')}`}`)}\n`,
    )
    .join('');
}

/** Another content shows in its size, if that differs. */
function isShort({ field }: FieldDifference, _: number, all: readonly FieldDifference[]): boolean {
  return field !== 'content' || !all.some((other) => other.field === 'size');
}

function fieldText({ field, first, second }: FieldDifference): string {
  if (field === 'content') return first === undefined || second === undefined ? '' : 'content';
  if (field === 'size') return `${humanSize(Number(first ?? 0))}→${humanSize(Number(second ?? 0))}`;
  return `${field} ${first ?? 'none'}→${second ?? 'none'}`;
}
