import { readdirSync } from 'node:fs';
import { takeMark } from '../linux/owner-mark';
import type { Owner } from '../linux/owner';
import { hasNote, lstatOwned, own } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { childPath, isOpaque, isWhiteout, type OverlayXattrs } from './marks';
import type { MergedView } from './view';

/**
 * Gives what a process made in an upper directory to the user that it ran as, where the kernel
 * could not tell its users apart (see linux/owners.ts). What was copied up brings its owner along.
 */
export function claimNew(
  upper: RawPath,
  parent: MergedView,
  user: Owner,
  xattrs: OverlayXattrs,
): void {
  const claimIn = (dir: RawPath, path: RawPath): void => {
    for (const name of readdirSync(fsPath(dir), { encoding: 'latin1' })) {
      const hostPath = `${dir}/${name}`;
      const stats = lstatOwned(hostPath);
      if (stats === undefined || isWhiteout(stats)) continue;
      const inner = childPath(path, name);
      const hides = stats.isDirectory() && isOpaque(hostPath, xattrs);
      claim(hostPath, stats, hides ? undefined : parent.lstat(inner)?.stats, user);
      if (stats.isDirectory()) claimIn(hostPath, inner);
    }
  };
  claimIn(upper, '/');
}

/**
 * The same for one entry. A file or directory that stands where one of root's stood is that one:
 * only root's have no note. No other kind is ever copied up, unless it was given away, and then it
 * is marked. What the process gave away stays with whom it was given to.
 * @param below what was there before.
 */
export function claim(
  hostPath: RawPath,
  stats: FileStats,
  below: FileStats | undefined,
  user: Owner,
): void {
  if (stats.isFile() || stats.isDirectory()) {
    if (hasNote(hostPath)) return;
    const isRoots =
      below?.uid === 0 &&
      below.gid === 0 &&
      (stats.isFile() ? below.isFile() : below.isDirectory());
    if (isRoots) return;
  }
  const owner = (stats.isFile() || stats.isDirectory() ? undefined : takeMark(hostPath)) ?? user;
  own(hostPath, owner.uid, owner.gid);
}
