import type { TarEntry } from '../layer/tar/entry';
import { toText, type RawPath } from '../linux/paths';
import type { CompareOptions, FieldDifference, FileDifference, TarDifference } from './difference';
import { firstDifference } from './first-difference';
import { hashEntries, readHeads, type HashedEntry } from './tar-contents';

/** Opens a tar; it may be called again. */
export type OpenTar = () => AsyncIterable<Buffer>;

/** Files whose contents are read a second time, to show where they part. */
const MOST_SHOWN = 10;
/** Bytes of each that are looked at for that. */
const HEAD = 1024 * 1024;

/**
 * How two tars of layers differ, entry by entry and field by field.
 * @throws MbuildError ARCHIVE_INVALID for what is no tar.
 */
export async function compareTars(
  openFirst: OpenTar,
  openSecond: OpenTar,
  options: CompareOptions,
): Promise<TarDifference> {
  const first = await hashEntries(openFirst());
  const second = await hashEntries(openSecond());
  const differences: { readonly path: RawPath; readonly difference: FileDifference }[] = [];
  let timesAlone = 0;
  for (const path of pathsOf(first, second)) {
    const difference = compareEntries(path, first.get(path), second.get(path));
    if (difference === undefined) continue;
    const counted = options.ignoreTimes ? withoutTime(difference) : difference;
    if (counted === undefined) timesAlone++;
    else differences.push({ path, difference: counted });
  }
  const shown = new Set(
    differences
      .filter(({ difference }) => hasOtherContent(difference))
      .slice(0, MOST_SHOWN)
      .map(({ path }) => path),
  );
  const places =
    shown.size === 0
      ? undefined
      : ([
          await readHeads(openFirst(), shown, HEAD),
          await readHeads(openSecond(), shown, HEAD),
        ] as const);
  const files = differences.map(({ path, difference }) =>
    places === undefined
      ? difference
      : withPlace(difference, places[0].get(path), places[1].get(path)),
  );
  const entriesAreEqual = files.length === 0 && timesAlone === 0;
  return {
    files,
    timesAlone,
    written: entriesAreEqual ? formOf([...first.keys()], [...second.keys()]) : undefined,
  };
}

/** The same for a layer that only one side has: everything in it is a difference. */
export async function compareWithNone(
  open: OpenTar,
  kind: 'only in the first' | 'only in the second',
): Promise<TarDifference> {
  const entries = await hashEntries(open());
  return {
    files: [...entries.keys()].map((path): FileDifference => ({
      path: shownPath(path),
      kind,
      fields: [],
    })),
    timesAlone: 0,
  };
}

/**
 * What the first has in its order, each new path of the second behind the one that it follows
 * there.
 */
function pathsOf(
  first: ReadonlyMap<RawPath, unknown>,
  second: ReadonlyMap<RawPath, unknown>,
): RawPath[] {
  const following = new Map<RawPath | undefined, RawPath[]>();
  let before: RawPath | undefined;
  for (const path of second.keys()) {
    if (first.has(path)) before = path;
    else following.set(before, [...(following.get(before) ?? []), path]);
  }
  return [
    ...(following.get(undefined) ?? []),
    ...[...first.keys()].flatMap((path) => [path, ...(following.get(path) ?? [])]),
  ];
}

/** How two entries of one path differ; `undefined` when they do not. */
export function compareEntries(
  path: RawPath,
  first: HashedEntry | undefined,
  second: HashedEntry | undefined,
): FileDifference | undefined {
  if (first === undefined || second === undefined)
    return {
      path: shownPath(path),
      kind: second === undefined ? 'only in the first' : 'only in the second',
      fields: [],
    };
  const values = fieldsOf(first);
  const others = fieldsOf(second);
  const fields = [...new Set([...values.keys(), ...others.keys()])].flatMap(
    (field): FieldDifference[] => {
      const [a, b] = [values.get(field), others.get(field)];
      return a === b ? [] : [{ field, first: a, second: b }];
    },
  );
  return fields.length === 0 ? undefined : { path: shownPath(path), kind: 'changed', fields };
}

/** The fields of an entry as people write them, the ones that say most first. */
function fieldsOf({ entry, content }: HashedEntry): Map<string, string> {
  const fields = new Map<string, string>([['type', entry.type]]);
  if (content !== undefined) fields.set('content', content).set('size', String(entry.size));
  if (entry.type === 'symlink' || entry.type === 'link')
    fields.set('target', toText(entry.linkPath));
  if (entry.type === 'char' || entry.type === 'block')
    fields.set('device', `${entry.device.major}:${entry.device.minor}`);
  fields
    .set('mode', entry.mode.toString(8).padStart(4, '0'))
    .set('owner', `${entry.uid}:${entry.gid}`);
  for (const [name, value] of entry.xattrs)
    fields.set(`xattr ${toText(name)}`, `0x${value.toString('hex')}`);
  return fields.set('time', timeOf(entry));
}

function timeOf({ mtime }: TarEntry): string {
  const date = new Date(mtime * 1000);
  return Number.isNaN(date.getTime()) ? `${mtime} s` : date.toISOString().replace('.000Z', 'Z');
}

/** A difference but for the time; `undefined` when nothing is left. */
export function withoutTime(difference: FileDifference): FileDifference | undefined {
  if (difference.kind !== 'changed') return difference;
  const fields = difference.fields.filter(({ field }) => field !== 'time');
  return fields.length === 0 ? undefined : { ...difference, fields };
}

function hasOtherContent({ fields }: FileDifference): boolean {
  return fields.some(
    ({ field, first, second }) =>
      field === 'content' && first !== undefined && second !== undefined,
  );
}

function withPlace(
  difference: FileDifference,
  first: Buffer | undefined,
  second: Buffer | undefined,
): FileDifference {
  if (first === undefined || second === undefined || !hasOtherContent(difference))
    return difference;
  const at = firstDifference(first, second);
  return {
    ...difference,
    fields: difference.fields.map((field) =>
      field.field === 'content' ? { ...field, at } : field,
    ),
  };
}

function formOf(first: readonly RawPath[], second: readonly RawPath[]): TarDifference['written'] {
  return first.every((path, i) => path === second[i]) ? 'in another form' : 'in another order';
}

function shownPath(path: RawPath): string {
  return `/${toText(path.replace(/^(?:\.?\/)+/, ''))}`;
}
