import type { RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { childPath } from './marks';

/** A tree as far as it is asked which of its names are one file. */
export interface LinkedTree {
  readdir(path: RawPath): readonly RawPath[];
  /**
   * What tells a file from all others of the tree, besides its inode; `undefined` for a name that
   * is not there.
   */
  lstat(path: RawPath): { readonly stats: FileStats; readonly place: string } | undefined;
}

/**
 * By name, all names of the same file, in order: hard links belong together, and one of them alone
 * does not say what it was.
 */
export type LinkGroups = ReadonlyMap<RawPath, readonly RawPath[]>;

/** The groups of the files that have several names. */
export function linkGroups(tree: LinkedTree): LinkGroups {
  const byFile = new Map<string, RawPath[]>();
  const walk = (dir: RawPath): void => {
    for (const name of [...tree.readdir(dir)].sort()) {
      const path = childPath(dir, name);
      const entry = tree.lstat(path);
      if (entry === undefined) continue;
      if (entry.stats.isDirectory()) {
        walk(path);
      } else if (entry.stats.nlink > 1) {
        const file = `${entry.stats.ino} ${entry.place}`;
        const names = byFile.get(file);
        if (names === undefined) byFile.set(file, [path]);
        else names.push(path);
      }
    }
  };
  walk('/');
  return new Map([...byFile.values()].flatMap((names) => names.map((name) => [name, names])));
}

/** True when a name belongs with the same others in both trees. */
export function isLinkedAlike(path: RawPath, one: LinkGroups, other: LinkGroups): boolean {
  const [names, others] = [one.get(path) ?? [path], other.get(path) ?? [path]];
  return names.length === others.length && names.every((name, i) => others[i] === name);
}
