import path from 'node:path';
import { treePath, type SelectionManifest } from '../cache/manifest';
import { differingEntries, unpackEntries } from '../cache/manifest-entries';
import type { EntryRecord } from '../context/digest';
import { toText, type RawPath } from '../linux/paths';
import type { FileCause } from './cause';

/** The files of two selections that differ, in the order of their paths. */
export function compareManifests(before: SelectionManifest, after: SelectionManifest): FileCause[] {
  const found = differing(before, after);
  const [old, now] = [byPath(before, found.before), byPath(after, found.after)];
  const [wasEmpty, isEmpty] = [emptyDirectories(before), emptyDirectories(after)];
  const causes: FileCause[] = [];
  for (const [place, entry] of now) {
    const earlier = old.get(place);
    const name = toText(place);
    if (earlier !== undefined) causes.push(...compareEntries(name, earlier, entry));
    // A directory shows in what is in it; by itself it is told where it is empty.
    else if (entry.type !== 'directory')
      causes.push({ kind: 'file', path: name, change: 'added', ignorable: after.ofContext });
    else if (isEmpty(place))
      causes.push({
        kind: 'file',
        path: name,
        change: 'added',
        directory: true,
        ignorable: after.ofContext,
      });
  }
  for (const [place, entry] of old) {
    if (!now.has(place) && (entry.type !== 'directory' || wasEmpty(place)))
      causes.push({ kind: 'file', path: toText(place), change: 'removed' });
  }
  return causes.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The entries that may differ: where the sources lie elsewhere, every path is another. */
function differing(
  before: SelectionManifest,
  after: SelectionManifest,
): ReturnType<typeof differingEntries> {
  const isSamePlace =
    before.places.length === after.places.length &&
    before.places.every((place, i) => place === after.places[i]);
  return isSamePlace
    ? differingEntries(before.entries, after.entries)
    : { before: unpackEntries(before.entries), after: unpackEntries(after.entries) };
}

function byPath(
  manifest: SelectionManifest,
  entries: readonly EntryRecord[],
): ReadonlyMap<RawPath, EntryRecord> {
  return new Map(entries.map((entry) => [treePath(manifest, entry), entry]));
}

/**
 * Tells whether a selection has nothing in a directory. All of its paths are looked at when this is
 * asked first.
 */
function emptyDirectories(manifest: SelectionManifest): (directory: RawPath) => boolean {
  let filled: ReadonlySet<RawPath> | undefined;
  return (directory) => {
    filled ??= new Set(
      unpackEntries(manifest.entries).map((entry) => path.dirname(treePath(manifest, entry))),
    );
    return !filled.has(directory);
  };
}

function compareEntries(path: string, before: EntryRecord, after: EntryRecord): FileCause[] {
  if (before.type !== after.type)
    return [{ kind: 'file', path, change: 'type', before: before.type, after: after.type }];
  const causes: FileCause[] = [];
  if (before.size !== after.size || before.content !== after.content)
    causes.push({
      kind: 'file',
      path,
      change: 'content',
      bytes: (after.size ?? 0) - (before.size ?? 0),
    });
  if (before.target !== after.target || before.device !== after.device)
    causes.push({
      kind: 'file',
      path,
      change: 'target',
      before: before.target ?? before.device,
      after: after.target ?? after.device,
    });
  if (before.mode !== after.mode)
    causes.push({
      kind: 'file',
      path,
      change: 'mode',
      before: before.mode.toString(8),
      after: after.mode.toString(8),
    });
  if (before.uid !== after.uid || before.gid !== after.gid)
    causes.push({
      kind: 'file',
      path,
      change: 'owner',
      before: `${before.uid}:${before.gid}`,
      after: `${after.uid}:${after.gid}`,
    });
  if (before.xattrs !== after.xattrs) causes.push({ kind: 'file', path, change: 'xattrs' });
  return causes;
}
