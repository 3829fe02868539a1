import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { lstatOwned } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { setTimes } from '../linux/times';
import { childPath, isOpaque, isWhiteout, unmarkOpaque, type OverlayXattrs } from './marks';
import { isSameEntry } from './same';
import type { MergedView } from './view';

/**
 * Takes out of an upper directory what the kernel copied up and nobody changed: files that were
 * opened for writing, and directories on the way to them; and the marks of directories that hide
 * nothing, with which it makes sure of those that are moved. So a layer holds what differs, however
 * it came about. Nothing may write to the directory.
 */
export function dropUnchanged(upper: RawPath, parent: MergedView, xattrs: OverlayXattrs): void {
  dropIn(upper, '/', parent, xattrs);
}

/** @returns true when nothing is left in the directory. */
function dropIn(dir: RawPath, path: RawPath, parent: MergedView, xattrs: OverlayXattrs): boolean {
  const before = lstatOwned(dir);
  const names = readdirSync(fsPath(dir), { encoding: 'latin1' });
  const left = names.filter(
    (name) => !drop(`${dir}/${name}`, childPath(path, name), parent, xattrs),
  );
  if (before !== undefined && left.length < names.length)
    setTimes(dir, before.atimeMs / 1000, before.mtimeMs / 1000);
  return left.length === 0;
}

function drop(
  hostPath: RawPath,
  path: RawPath,
  parent: MergedView,
  xattrs: OverlayXattrs,
): boolean {
  const stats = lstatOwned(hostPath);
  if (stats === undefined || isWhiteout(stats)) return false;
  const below = parent.lstat(path);
  if (below === undefined && stats.isDirectory() && isOpaque(hostPath, xattrs))
    unmarkOpaque(hostPath, xattrs);
  // Hard links belong together: one of them alone does not say what it was.
  if (below === undefined || (!stats.isDirectory() && stats.nlink > 1)) return false;
  if (!stats.isDirectory()) {
    if (!isSameEntry(below, { hostPath, stats })) return false;
    unlinkSync(fsPath(hostPath));
    return true;
  }
  if (!below.stats.isDirectory() || isOpaque(hostPath, xattrs)) return false;
  if (!dropIn(hostPath, path, parent, xattrs) || !isSameEntry(below, { hostPath, stats }))
    return false;
  rmdirSync(fsPath(hostPath));
  return true;
}
