import { lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ownName } from '../content/files';
import { own, setMode } from '../linux/owners';
import { fsPath, toRaw, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import type { Mount, ProcessIo } from './sandbox';

type FileMount = Extract<Mount, { kind: 'file' }>;

/** The host's file of a mount that is watched; the others' are in memory. */
export type Kept = ReadonlyMap<Mount, RawPath>;

/**
 * Files of a process that are looked at when it has ended: a tmpfs in its namespace would be gone
 * by then, so they are on the disk, in a directory that only mbuild can enter.
 */
export class WatchedFiles {
  readonly #directory: string | undefined;
  readonly kept: Kept;

  /** @param state a directory of the store. */
  constructor(state: string, mounts: readonly Mount[]) {
    const watched = mounts.filter((mount) => mount.kind === 'file' && mount.watched === true);
    this.#directory = watched.length === 0 ? undefined : ownName(state, 'files');
    const kept = new Map<Mount, RawPath>();
    if (this.#directory !== undefined) mkdirSync(this.#directory, { mode: 0o700 });
    for (const [i, mount] of (watched as FileMount[]).entries()) {
      const file = path.join(this.#directory ?? '', String(i));
      writeFileSync(file, mount.content, { mode: 0o600, flag: 'wx' });
      own(toRaw(file), mount.uid, mount.gid);
      setMode(toRaw(file), mount.mode);
      kept.set(mount, toRaw(file));
    }
    this.kept = kept;
  }

  /** Tells of those that are not what they were. */
  report({ rewritten }: ProcessIo): void {
    for (const [mount, file] of this.kept)
      if (mount.kind === 'file' && isRewritten(file, mount.content)) rewritten?.(mount.target);
  }

  remove(): void {
    if (this.#directory !== undefined) removeTree(this.#directory);
  }
}

/** Whether a file holds other bytes now, or is gone. What stands in its place is not opened. */
export function isRewritten(file: RawPath, content: Uint8Array): boolean {
  const stats = lstatSync(fsPath(file), { throwIfNoEntry: false });
  if (stats?.isFile() !== true || stats.size !== content.length) return true;
  return !readFileSync(fsPath(file)).equals(content);
}
