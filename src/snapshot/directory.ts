import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { formatOwner } from '../content/owner';
import { MbuildError, errnoOf } from '../diagnostics/error';
import type { Owner } from '../linux/owner';
import { bornOwner, lstatOwned, own, setMode } from '../linux/owners';
import { toRaw } from '../linux/paths';
import { ownIdentity } from '../linux/process';
import { removeTree } from '../linux/remove-tree';
import { setTimes } from '../linux/times';
import type { Rootfs } from '../sandbox/sandbox';
import { type OverlayXattrs } from './marks';
import { LayeredView } from './merged-view';
import type { ActiveSnapshot, LayerId, Snapshotter, Stack } from './snapshotter';
import type { MergedView } from './view';

/**
 * Layers as directories. `<root>/layers/<id>` is a committed layer, `<root>/active/<id>.<owner>`
 * one that a process writes (`fs` takes the differences), so that committing is a rename and what a
 * dead process left is known as such. The root belongs to one user alone: layers hold other
 * systems' setuid programs.
 */
export abstract class DirectorySnapshotter implements Snapshotter {
  readonly #layers: string;
  readonly #active: string;
  readonly #empty: string;
  readonly #owner = formatOwner(ownIdentity());

  /** @param root absolute; made when it is not there. */
  constructor(
    root: string,
    protected readonly xattrs: OverlayXattrs,
  ) {
    this.#layers = path.join(root, 'layers');
    this.#active = path.join(root, 'active');
    this.#empty = path.join(root, 'empty');
    mkdirSync(root, { recursive: true, mode: 0o700 });
    for (const dir of [this.#layers, this.#active])
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    // The root of `scratch`, as a process sees it.
    mkdirSync(this.#empty, { recursive: true, mode: 0o755 });
  }

  prepare(parent: Stack): ActiveSnapshot {
    const id = randomBytes(5).toString('hex') as LayerId;
    const top = parent.at(-1);
    const model = top === undefined ? undefined : lstatOwned(this.layerDir(top));
    if (top !== undefined && model === undefined)
      throw new MbuildError('STORE_CORRUPT', `layer ${top} is not in the store`);
    const dir = path.join(this.#activeDir(id), 'fs');
    mkdirSync(this.#activeDir(id), { mode: 0o700 });
    mkdirSync(dir, { mode: 0o755 });
    // The root of an overlay shows the attributes of its upper directory, so they start as the
    // parent's.
    if (model === undefined) {
      chmodSync(dir, 0o755);
    } else {
      const born = bornOwner();
      if (model.uid !== born.uid || model.gid !== born.gid) own(toRaw(dir), model.uid, model.gid);
      setMode(toRaw(dir), model.mode & 0o7777);
      setTimes(toRaw(dir), model.atimeMs / 1000, model.mtimeMs / 1000);
    }
    return { id, parent, dir };
  }

  abstract rootfs(active: ActiveSnapshot): Rootfs;

  abstract collect(active: ActiveSnapshot, user: Owner): void;

  commit(active: ActiveSnapshot): Stack {
    renameSync(active.dir, this.layerDir(active.id));
    removeTree(this.#activeDir(active.id));
    return [...active.parent, active.id];
  }

  discard(active: ActiveSnapshot): void {
    removeTree(this.#activeDir(active.id));
  }

  view(stack: Stack): MergedView {
    const [top, ...below] = this.#dirs(stack);
    return new LayeredView([top ?? this.#empty, ...below], this.xattrs);
  }

  layerDir(id: LayerId): string {
    return path.join(this.#layers, id);
  }

  remove(id: LayerId): void {
    // Moved away first: a layer that is half deleted must not be taken for a whole one.
    const aside = this.#activeDir(`${id}-${randomBytes(3).toString('hex')}`);
    try {
      renameSync(this.layerDir(id), aside);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    removeTree(aside);
  }

  /** Deletes what was kept for later; called when no process runs on a tree any more. */
  close(): void {}

  /** All committed layers, for garbage collection. */
  list(): LayerId[] {
    return readdirSync(this.#layers).sort() as LayerId[];
  }

  /** The directories of a stack's layers, top first; an empty one for `scratch`. */
  protected lowers(stack: Stack): string[] {
    return stack.length === 0 ? [this.#empty] : this.#dirs(stack);
  }

  /** A folder for something unfinished, of which it is known whose it is. */
  protected ownFolder(name: string): string {
    return this.#activeDir(name);
  }

  #dirs(stack: Stack): string[] {
    return stack.map((id) => this.layerDir(id)).reverse();
  }

  #activeDir(id: string): string {
    return path.join(this.#active, `${id}.${this.#owner}`);
  }
}
