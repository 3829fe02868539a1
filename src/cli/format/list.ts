import { visible } from '../../diagnostics/visible';
import { parseTemplate } from './go-template';
import { goJson, type GoValue } from './go-value';
import type { TemplateFunction } from './go-functions';
import { layOutTable } from './table';

/**
 * What a listing can show: the fields of its rows with their headings, and the table that is shown
 * by default.
 */
export interface ListShape {
  /** Heading by field, e.g. `ID` → `IMAGE ID`. */
  readonly fields: Readonly<Record<string, string>>;
  /** Fields of the default table. */
  readonly columns: readonly string[];
}

/** One row: a text per field. */
export type ListRow = Readonly<Record<string, string>>;

/**
 * A listing as docker prints it. `format` is `table` or absent (the default table),
 * `table TEMPLATE` (with headings), `json` (a line per row), or a template (a line per row). `\t`
 * and `\n` stand for themselves in templates. Ends with a line feed unless it is empty.
 * @throws MbuildError USAGE for a template that cannot be used.
 */
export function renderList(shape: ListShape, rows: readonly ListRow[], format?: string): string {
  const given = (format ?? '').trim();
  if (given === '' || given === 'table') {
    return layOutTable([
      shape.columns.map((name) => shape.fields[name] ?? name),
      ...rows.map((row) => shape.columns.map((name) => row[name] ?? '')),
    ]);
  }
  if (given === 'json') return rows.map((row) => `${rowJson(row)}\n`).join('');
  const isTable = /^table\s/.test(given);
  const source = (isTable ? given.slice('table'.length).trimStart() : (format ?? ''))
    .replace(/\\t/g, '\t')
    .replace(/\\n/g, '\n');
  const template = parseTemplate(source, {
    json: { min: 1, max: 1, apply: ([value]) => (isRow(value) ? rowJson(value) : goJson(value)) },
  });
  const lines = rows.map((row) => template.execute(row, visible));
  if (!isTable) return lines.map((line) => `${line}\n`).join('');
  const head = parseTemplate(source, HEADINGS).execute(shape.fields);
  return layOutTable(
    [head, ...lines].flatMap((text) => text.split('\n')).map((line) => line.split('\t')),
  );
}

/**
 * In the heading of a table the functions leave their argument as it is: `{{upper .Tag}}` is headed
 * `TAG`.
 */
const HEADINGS: Readonly<Record<string, TemplateFunction>> = Object.fromEntries(
  ['json', 'split', 'join', 'title', 'lower', 'upper', 'pad', 'truncate'].map((name) => [
    name,
    { min: 1, apply: ([value]: readonly GoValue[]) => value },
  ]),
);

/** Docker sorts the members, and escapes `<none>`. */
function rowJson(row: ListRow): string {
  return goJson(Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1))), {
    escapeHtml: true,
  });
}

function isRow(value: GoValue): value is ListRow {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map)
  );
}
