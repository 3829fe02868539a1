import { lstatSync, mkdirSync, rmdirSync, writeFileSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import { fsPath, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { setTimes } from '../linux/times';
import type { MountPoint } from './sandbox';

/** A directory that something was put into: its attributes as they were, and as that left them. */
interface Touched {
  readonly path: RawPath;
  readonly before: FileStats;
  after?: FileStats | undefined;
}

/**
 * A plain tree that a sandbox puts things into for the time of a command, and that shows nothing of
 * it afterwards: not even in the times of its directories, unless the command itself changed what
 * is in them.
 */
export class BorrowedTree {
  readonly #touched = new Map<RawPath, Touched>();
  readonly #made: MountPoint[] = [];

  constructor(readonly root: RawPath) {}

  /** To be called before a name is put into its directory, or taken out. */
  touch(target: RawPath): void {
    const dir = path.posix.dirname(target);
    if (!this.#touched.has(dir))
      this.#touched.set(dir, { path: dir, before: lstatSync(fsPath(this.#host(dir))) });
  }

  /** Makes what is missing of the places to mount on, parents first. */
  make(points: readonly MountPoint[]): void {
    for (const point of points) {
      const host = this.#host(point.path);
      if (lstatSync(fsPath(host), { throwIfNoEntry: false }) !== undefined) continue;
      this.touch(point.path);
      if (point.kind === 'directory') mkdirSync(fsPath(host), { mode: 0o755 });
      else writeFileSync(fsPath(host), '', { mode: 0o644, flag: 'wx' });
      this.#made.push(point);
    }
  }

  /** To be called when everything is in its place, and the command is about to start. */
  ready(): void {
    for (const touched of this.#touched.values())
      touched.after = lstatSync(fsPath(this.#host(touched.path)));
  }

  /**
   * Runs `takeBack`, takes away what was made, and gives directories their times again that the
   * command did not change.
   */
  restore(takeBack: () => void = () => undefined): void {
    const untouched = [...this.#touched.values()].filter(({ path: dir, before, after }) => {
      const host = pathWithoutLinks(this.root, dir);
      const now = host === undefined ? undefined : lstatSync(fsPath(host));
      return (
        now !== undefined &&
        now.ino === before.ino &&
        (after === undefined || isSameTime(now, after))
      );
    });
    takeBack();
    for (const point of this.#made.splice(0).reverse()) removePoint(this.root, point);
    for (const { path: dir, before } of untouched) {
      const host = pathWithoutLinks(this.root, dir);
      if (host !== undefined) setTimes(host, before.atimeMs / 1000, before.mtimeMs / 1000);
    }
  }

  #host(dir: RawPath): RawPath {
    return dir === '/' ? this.root : `${this.root}${dir}`;
  }
}

/**
 * Whether a directory was not changed between two looks, but for the rounding of times that Node.js
 * sets: seconds in floating point.
 */
export function isSameTime(
  one: { readonly mtimeMs: number },
  other: { readonly mtimeMs: number },
): boolean {
  return Math.abs(one.mtimeMs - other.mtimeMs) < 0.002;
}

/**
 * The host path of a path in a directory, `undefined` when it is not there or leads through a
 * symlink.
 */
export function pathWithoutLinks(dir: RawPath, target: RawPath): RawPath | undefined {
  let at: RawPath = dir;
  for (const part of target.split('/').filter(Boolean)) {
    if (!lstatSync(fsPath(at)).isDirectory()) return undefined;
    at = `${at}/${part}`;
    if (lstatSync(fsPath(at), { throwIfNoEntry: false }) === undefined) return undefined;
  }
  return at;
}

/** Takes a mount point away, unless the command put something there. */
export function removePoint(root: RawPath, point: MountPoint): void {
  const host = pathWithoutLinks(root, point.path);
  if (host === undefined) return;
  const stats = lstatSync(fsPath(host));
  if (point.kind === 'file' && stats.isFile() && stats.size === 0) unlinkSync(fsPath(host));
  if (point.kind !== 'directory' || !stats.isDirectory()) return;
  try {
    rmdirSync(fsPath(host));
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw error;
  }
}
