import { lstatSync, readdirSync } from 'node:fs';
import { fsPath, toRaw, type RawPath } from '../linux/paths';
import { lstatOf } from '../linux/stat';
import { childPath, isOpaque, isWhiteout, type OverlayXattrs } from '../snapshot/marks';
import type { MergedView } from '../snapshot/view';

/** One path that differs from the image: added, changed or deleted. */
export interface Change {
  readonly kind: 'A' | 'C' | 'D';
  /** `/`-rooted. */
  readonly path: RawPath;
}

/**
 * What a writable layer changes in the tree below it, sorted by path, as `docker diff` shows it: a
 * directory in which something changed counts as changed too; of a directory that is gone only
 * itself is named.
 */
export function changesOf(layer: string, below: MergedView, xattrs: OverlayXattrs): Change[] {
  const changes: Change[] = [];
  const collect = (dir: RawPath, path: RawPath): void => {
    const names = readdirSync(fsPath(dir), { encoding: 'latin1' });
    if (path !== '/' && isOpaque(dir, xattrs)) {
      const kept = new Set(names);
      for (const name of below.readdir(path))
        if (!kept.has(name)) changes.push({ kind: 'D', path: childPath(path, name) });
    }
    for (const name of names) {
      const inner = childPath(path, name);
      const stats = lstatOf(`${dir}/${name}`);
      if (stats === undefined) continue;
      const before = below.lstat(inner);
      if (isWhiteout(stats)) {
        if (before !== undefined) changes.push({ kind: 'D', path: inner });
        continue;
      }
      changes.push({ kind: before === undefined ? 'A' : 'C', path: inner });
      if (stats.isDirectory()) collect(`${dir}/${name}`, inner);
    }
  };
  collect(toRaw(layer), '/');
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Bytes of the files in a writable layer. */
export function treeSize(dir: string): number {
  const sizeOf = (path: RawPath): number => {
    const stats = lstatSync(fsPath(path), { throwIfNoEntry: false });
    if (stats?.isDirectory() === true) return sizeBelow(path);
    return stats?.isFile() === true ? stats.size : 0;
  };
  const sizeBelow = (path: RawPath): number =>
    readdirSync(fsPath(path), { encoding: 'latin1' }).reduce(
      (sum, name) => sum + sizeOf(`${path}/${name}`),
      0,
    );
  return sizeBelow(toRaw(dir));
}
