import { html, Html, type Part } from './page';

/** A column; numbers stand to the right. */
export interface Column {
  readonly title: string;
  readonly isNumber?: boolean | undefined;
}

/** A cell that is sorted by something else than it shows. */
export interface Cell {
  readonly shown: Part;
  readonly value: number;
}

/** A table whose rows can be sorted by a click on a column's head, where scripts run; else it is as it is. */
export function sortableTable(
  columns: readonly Column[],
  rows: readonly (readonly (Cell | string | Html)[])[],
): Html {
  return html`<div class="wide">
    <table class="sort">
      <thead>
        <tr>
          ${columns.map(({ title, isNumber }) => html`<th${classOf(isNumber)} scope="col"><button type="button">${title}</button></th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, at) => cellOf(cell, columns[at]))}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function cellOf(cell: Cell | string | Html, column: Column | undefined): Html {
  const name = classOf(column?.isNumber);
  return typeof cell === 'object' && 'value' in cell
    ? html`<td${name} data-value="${cell.value}">${cell.shown}</td>`
    : html`<td${name}>${cell}</td>`;
}

function classOf(isNumber: boolean | undefined): Html {
  return new Html(isNumber === true ? ' class="number"' : '');
}

/** Sorts the table whose head is clicked; a second click turns the order round. */
export const SORT_SCRIPT = `for (const table of document.querySelectorAll('table.sort')) {
  const heads = [...table.querySelectorAll('th')];
  heads.forEach((head, at) => head.firstElementChild.addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') !== 'descending';
    heads.forEach((other) => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = (row) => { const { dataset, textContent } = row.cells[at]; return dataset.value === undefined ? textContent.trim() : Number(dataset.value); };
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => { const [x, y] = [key(a), key(b)]; return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1); });
    body.append(...rows);
  }));
}`;
