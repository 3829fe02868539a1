import { lstatSync, readdirSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { fsPath, toRaw, type RawPath } from './paths';

/** What a directory holds, besides directories. */
export interface TreeSize {
  /** Of files; hard links are counted once. */
  readonly bytes: number;
  readonly files: number;
}

/** Counts what is under a folder. What goes away meanwhile, or lies deeper than a path can tell, counts nothing. */
export function treeSize(folder: string): TreeSize {
  const seen = new Set<number>();
  let [bytes, files] = [0, 0];
  const open: RawPath[] = [toRaw(folder)];
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    for (const name of namesIn(dir)) {
      const file = `${dir}/${name}`;
      const stats = reachable(() => lstatSync(fsPath(file)));
      if (stats === undefined) continue;
      if (stats.isDirectory()) {
        open.push(file);
        continue;
      }
      if (stats.nlink > 1 && seen.has(stats.ino)) continue;
      seen.add(stats.ino);
      files++;
      if (stats.isFile()) bytes += stats.size;
    }
  }
  return { bytes, files };
}

function namesIn(dir: RawPath): RawPath[] {
  return reachable(() => readdirSync(fsPath(dir), { encoding: 'latin1' })) ?? [];
}

function reachable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
