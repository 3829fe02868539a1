import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { fsPath, toRaw, type RawPath } from './paths';

/** What a directory holds, besides directories. */
export interface TreeSize {
  /** Of files; hard links are counted once. */
  readonly bytes: number;
  readonly files: number;
}

/**
 * Counts what is under a folder. What goes away meanwhile, or lies deeper than a path can tell,
 * counts nothing.
 */
export function treeSize(folder: string): TreeSize {
  const seen = new Set<number>();
  let [bytes, files] = [0, 0];
  for (const stats of filesUnder(folder)) {
    if (stats.nlink > 1 && seen.has(stats.ino)) continue;
    seen.add(stats.ino);
    files++;
    if (stats.isFile()) bytes += stats.size;
  }
  return { bytes, files };
}

/**
 * The bytes of files under folders of one file system that have names elsewhere, too: what is not
 * freed when the folders go.
 */
export function sharedSize(folders: readonly string[]): number {
  const shared = new Map<number, { readonly size: number; others: number }>();
  for (const folder of folders) {
    for (const { ino, nlink, size } of filesUnder(folder)) {
      if (nlink < 2) continue;
      const file = shared.get(ino) ?? { size, others: nlink };
      file.others--;
      shared.set(ino, file);
    }
  }
  return [...shared.values()].reduce((sum, { size, others }) => sum + (others > 0 ? size : 0), 0);
}

function* filesUnder(folder: string): Generator<Stats, void> {
  const open: RawPath[] = [toRaw(folder)];
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    for (const name of namesIn(dir)) {
      const file = `${dir}/${name}`;
      const stats = reachable(() => lstatSync(fsPath(file)));
      if (stats?.isDirectory() === true) open.push(file);
      else if (stats !== undefined) yield stats;
    }
  }
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
