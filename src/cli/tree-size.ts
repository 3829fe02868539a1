import { lstatSync, readdirSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { fsPath, toRaw, type RawPath } from '../linux/paths';

/** Bytes of the files under a folder, hard links counted once; what goes away meanwhile counts nothing. */
export function treeSize(folder: string): number {
  const seen = new Set<number>();
  const walk = (dir: RawPath): number => {
    try {
      return readdirSync(fsPath(dir), { encoding: 'latin1' }).reduce((sum, name) => {
        const file = `${dir}/${name}`;
        const stats = lstatSync(fsPath(file), { throwIfNoEntry: false });
        if (stats?.isDirectory() === true) return sum + walk(file);
        if (stats?.isFile() !== true || (stats.nlink > 1 && seen.has(stats.ino))) return sum;
        seen.add(stats.ino);
        return sum + stats.size;
      }, 0);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return 0;
      throw error;
    }
  };
  return walk(toRaw(folder));
}
