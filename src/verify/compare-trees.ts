import { hashFiles } from '../context/hash-files';
import { entryAt } from '../layer/entries';
import type { RawPath } from '../linux/paths';
import type { Digest } from '../oci/digest';
import { childPath } from '../snapshot/marks';
import { EMPTY_VIEW } from '../snapshot/merged-view';
import type { MergedView, ViewEntry } from '../snapshot/view';
import { compareEntries, withoutTime } from './compare-tars';
import type { CompareOptions, FileDifference } from './difference';
import type { HashedEntry } from './tar-contents';

/**
 * How two file systems differ, sorted by path in each directory: what a container of one has that a
 * container of the other has not.
 */
export function* compareTrees(
  first: MergedView,
  second: MergedView,
  options: CompareOptions,
  directory: RawPath = '/',
): Generator<FileDifference, void> {
  const names = [...new Set([...first.readdir(directory), ...second.readdir(directory)])].sort();
  for (const name of names) {
    const path = childPath(directory, name);
    const [one, other] = [first.lstat(path), second.lstat(path)];
    const difference = compareFiles(path, one, other);
    const counted =
      difference === undefined || !options.ignoreTimes ? difference : withoutTime(difference);
    if (counted !== undefined) yield counted;
    const [below, otherBelow] = [belowOf(first, one), belowOf(second, other)];
    if (below !== EMPTY_VIEW || otherBelow !== EMPTY_VIEW)
      yield* compareTrees(below, otherBelow, options, path);
  }
}

function compareFiles(
  path: RawPath,
  first: ViewEntry | undefined,
  second: ViewEntry | undefined,
): FileDifference | undefined {
  // A file of a layer that both stand on.
  if (first !== undefined && first.hostPath === second?.hostPath) return undefined;
  return compareEntries(path, hashedEntry(first), hashedEntry(second));
}

/** The view, unless it has no directory there: a link to one would be followed. */
function belowOf(view: MergedView, entry: ViewEntry | undefined): MergedView {
  return entry?.stats.isDirectory() === true ? view : EMPTY_VIEW;
}

function hashedEntry(found: ViewEntry | undefined): HashedEntry | undefined {
  if (found === undefined) return undefined;
  const { path, hostPath, stats } = found;
  const [content] = stats.isFile()
    ? hashFiles([
        {
          hostPath,
          ino: stats.ino,
          size: stats.size,
          mtimeMs: stats.mtimeMs,
          ctimeMs: stats.ctimeMs,
        },
      ])
    : [];
  return {
    entry: entryAt(path, hostPath, stats),
    content: content === undefined ? undefined : (`sha256:${content.hash}` as Digest),
  };
}
