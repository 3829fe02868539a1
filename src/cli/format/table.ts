import { visible } from '../../diagnostics/visible';
import { displayWidth } from '../../progress/width';

/**
 * Columns are at least so wide, and so far apart: docker's tabwriter
 * (cli/command/formatter/formatter.go).
 */
const MIN_WIDTH = 10;
const PADDING = 3;

/**
 * Lays rows out in columns; a row's last cell is not padded. Tabs in
 * cells become spaces, other control characters (line feeds of a `created_by`) their pictures.
 */
export function layOutTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((cell) => visible(cell.replace(/\t/g, ' '))));
  const widths: number[] = [];
  for (const row of cells) {
    row.slice(0, -1).forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? MIN_WIDTH, displayWidth(cell) + PADDING);
    });
  }
  return cells
    .map(
      (row) =>
        `${row.map((cell, i) => (i === row.length - 1 ? cell : cell + ' '.repeat((widths[i] ?? 0) - displayWidth(cell)))).join('')}\n`,
    )
    .join('');
}
