import { existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import type { Owner } from '../linux/owner';
import { toRaw } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import type { Rootfs } from '../sandbox/sandbox';
import { copiedTree } from './copied';
import { DirectorySnapshotter } from './directory';
import type { OverlayXattrs } from './marks';
import type { ActiveSnapshot, Stack } from './snapshotter';
import { applyLayerDirectory, collectChanges, takeStock, type Stock } from './work-tree';

/** A plain copy of a whole tree. */
interface WorkTree {
  readonly dir: string;
  readonly stock: Stock;
}

/**
 * Trees as plain copies, for where nothing can be mounted: a process is given a copy of the whole
 * tree, and what it changed is found by walking. The copy is kept for the next process that stands
 * on the result, so that a chain of steps copies once.
 */
export class CopySnapshotter extends DirectorySnapshotter {
  readonly #given = new Map<string, WorkTree>();
  /** Copies that nobody uses, by the stack whose tree they are. */
  readonly #spare = new Map<string, WorkTree>();

  /** @param root absolute; made when it is not there. */
  constructor(root: string, xattrs: OverlayXattrs = 'files') {
    super(root, xattrs);
  }

  rootfs(active: ActiveSnapshot): Rootfs {
    const known = this.#given.get(active.id);
    const tree = known ?? this.#prepareTree(active);
    this.#given.set(active.id, tree);
    return { kind: 'directory', path: tree.dir };
  }

  collect(active: ActiveSnapshot, user: Owner): void {
    const tree = this.#given.get(active.id);
    if (tree === undefined) return;
    const { dir, stock } = tree;
    collectChanges(
      { dir: toRaw(dir), stock, parent: this.view(active.parent), user },
      toRaw(active.dir),
      this.xattrs,
    );
  }

  override commit(active: ActiveSnapshot): Stack {
    const tree = this.#given.get(active.id);
    this.#given.delete(active.id);
    if (tree !== undefined) this.#keep(tree, [...active.parent, active.id]);
    return super.commit(active);
  }

  override discard(active: ActiveSnapshot): void {
    this.#given.delete(active.id);
    super.discard(active);
  }

  override close(): void {
    for (const { dir } of this.#spare.values()) removeTree(path.dirname(dir));
    this.#spare.clear();
  }

  /**
   * The tree of the parent: the spare copy of it or of the tallest stack below it, with the layers
   * that it lacks.
   */
  #prepareTree(active: ActiveSnapshot): WorkTree {
    const dir = copiedTree(active.dir);
    let height = active.parent.length;
    for (; height > 0; height--) {
      const key = keyOf(active.parent.slice(0, height));
      const spare = this.#spare.get(key);
      if (spare === undefined) continue;
      this.#spare.delete(key);
      renameSync(spare.dir, dir);
      removeTree(path.dirname(spare.dir));
      break;
    }
    if (height === 0 && !existsSync(dir)) mkdirSync(dir, { mode: 0o755 });
    const missing =
      active.parent.length === 0
        ? this.lowers([])
        : active.parent.slice(height).map((id) => this.layerDir(id));
    // What was written into the layer already belongs to the tree.
    for (const layer of [...missing, active.dir]) this.#apply(layer, dir);
    return { dir, stock: takeStock(toRaw(dir)) };
  }

  /** @throws MbuildError NO_SPACE. */
  #apply(layer: string, tree: string): void {
    try {
      applyLayerDirectory(toRaw(layer), toRaw(tree), this.xattrs);
    } catch (cause) {
      const code = errnoOf(cause);
      if (code !== 'ENOSPC' && code !== 'EDQUOT') throw cause;
      throw new MbuildError('NO_SPACE', `no space left for a copy of the tree: ${tree}`, {
        cause,
        hint: 'free some space, or use --snapshotter=fuse-overlayfs, which does not copy',
      });
    }
  }

  #keep(tree: WorkTree, stack: Stack): void {
    const folder = this.ownFolder(`tree-${stack.at(-1) ?? ''}`);
    const dir = path.join(folder, 'tree');
    mkdirSync(folder, { mode: 0o700 });
    renameSync(tree.dir, dir);
    this.#spare.set(keyOf(stack), { ...tree, dir });
  }
}

function keyOf(stack: Stack): string {
  return stack.join('/');
}
