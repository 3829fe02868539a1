import type { CallResult } from '../../pipeline/check';
import type { Outline, OutlineMount, Target } from '../../lint/outline';
import { location, toJson } from './check';

/** What `docker build --call=outline` or `=targets` prints. */
export function callText(result: CallResult): string {
  return result.method === 'outline' ? outlineText(result.outline) : targetsText(result.targets);
}

/** The members of BuildKit's results. */
export function callJson(result: CallResult): string {
  const sources = [Buffer.from(result.file.text).toString('base64')];
  if (result.method === 'targets') {
    return toJson({
      targets: result.targets.map(({ name, isDefault, description, base, range }) => ({
        name,
        default: isDefault || undefined,
        description,
        base,
        location: location(range),
      })),
      sources,
    });
  }
  const { name, description, args, secrets, ssh } = result.outline;
  const mounts = (list: readonly OutlineMount[]): object[] | undefined =>
    list.length === 0
      ? undefined
      : list.map((mount) => ({
          name: mount.name,
          required: mount.required || undefined,
          location: location(mount.range),
        }));
  return toJson({
    name,
    description,
    args:
      args.length === 0
        ? undefined
        : args.map((arg) => ({
            name: arg.name,
            description: arg.description,
            value: arg.value || undefined,
            location: location(arg.range),
          })),
    secrets: mounts(secrets),
    ssh: mounts(ssh),
    sources,
  });
}

function outlineText({ name, description, args, secrets, ssh }: Outline): string {
  const head = [
    ...(name === undefined ? [] : [['TARGET:', name]]),
    ...(description === undefined || description === '' ? [] : [['DESCRIPTION:', description]]),
  ];
  const mounts = (title: string, list: readonly OutlineMount[]): string[][] =>
    list.length === 0
      ? []
      : [[title, 'REQUIRED'], ...list.map((mount) => [mount.name, mount.required ? 'true' : ''])];
  const arguments_ =
    args.length === 0
      ? []
      : [
          ['BUILD ARG', 'VALUE', 'DESCRIPTION'],
          ...args.map((arg) => [arg.name, arg.value ?? '', arg.description ?? '']),
        ];
  return [
    columns(head, 1),
    ...[arguments_, mounts('SECRET', secrets), mounts('SSH', ssh)].map((rows) => columns(rows, 3)),
  ]
    .filter((table) => table !== '')
    .map((table) => `${table}\n`)
    .join('');
}

function targetsText(targets: readonly Target[]): string {
  const rows = targets.map(({ name, isDefault, description }) => [
    [name ?? '', isDefault ? '(default)' : ''].filter(Boolean).join(' '),
    description ?? '',
  ]);
  return columns([['TARGET', 'DESCRIPTION'], ...rows], 1);
}

/**
 * Rows whose cells but the last are as wide as their column, with blanks between: Go's tabwriter.
 */
function columns(rows: readonly (readonly string[])[], padding: number): string {
  const widths = (rows[0] ?? []).map(
    (_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)) + padding,
  );
  return rows
    .map(
      (row) =>
        `${row.map((cell, column) => (column === row.length - 1 ? clean(cell) : clean(cell).padEnd(widths[column] ?? 0))).join('')}\n`,
    )
    .join('');
}

function clean(cell: string): string {
  return cell.replace(/[\x00-\x1f\x7f-\x9f]/g, ' ');
}
