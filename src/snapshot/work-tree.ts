import { mkdirSync, readdirSync, unlinkSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import type { Owner } from '../linux/owner';
import { keepsOwners, lstatOwned } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { lstatOf, type FileStats } from '../linux/stat';
import { claim } from './claim';
import { COPY_BUFFER, copyEntry, setAttributes } from './copy-entry';
import { treeXattrs } from './entry-attributes';
import { isLinkedAlike, linkGroups, type LinkGroups, type LinkedTree } from './link-groups';
import { childPath, isOpaque, isWhiteout, OPAQUE_FILE, type OverlayXattrs } from './marks';
import { isSameEntry } from './same';
import { takeSocket } from './sockets';
import { attributesOf, type TreeDirectory } from './tree-entry';
import { TreeWriter } from './tree-writer';
import type { MergedView } from './view';

/** What a directory held at one moment, by name. */
export interface Stock {
  readonly stats: FileStats;
  /** For directories. */
  readonly children?: ReadonlyMap<RawPath, Stock> | undefined;
}

/** What a recursion takes; paths end at about twice that. */
const MAX_DEPTH = 1000;

/**
 * Brings a layer onto a plain copy of the tree below it: deletes, replaces and adds what the layer
 * does. All that a layer can hold is copied: types, modes, owners, times, attributes, and hard
 * links among its own files.
 */
export function applyLayerDirectory(layer: RawPath, tree: RawPath, xattrs: OverlayXattrs): void {
  const copying = {
    buffer: Buffer.allocUnsafe(COPY_BUFFER),
    links: new Map<number, RawPath>(),
  };
  // Into a directory that was made just now goes all without a look: nothing can be there.
  const apply = (from: RawPath, to: RawPath, isNew: boolean): void => {
    for (const name of readdirSync(fsPath(from), { encoding: 'latin1' })) {
      const [source, target] = [`${from}/${name}`, `${to}/${name}`];
      const stats = lstatOwned(source);
      if (stats === undefined || name === OPAQUE_FILE) continue;
      const before = isNew ? undefined : lstatOwned(target);
      const merges =
        stats.isDirectory() && before?.isDirectory() === true && !isOpaque(source, xattrs);
      if (before !== undefined && !merges) remove(target, before);
      if (isWhiteout(stats)) continue;
      if (!stats.isDirectory()) {
        copyEntry(source, stats, target, copying);
        continue;
      }
      if (!merges) mkdirSync(fsPath(target), 0o700);
      apply(source, target, !merges);
      setAttributes(source, stats, target);
    }
  };
  apply(layer, tree, readdirSync(fsPath(tree)).length === 0);
  const root = lstatOwned(layer);
  if (root !== undefined) setAttributes(layer, root, tree);
}

/** Notes what is in a tree, so that a change can be seen later whatever its times pretend. */
export function takeStock(dir: RawPath): Stock {
  const stats = lstatOwned(dir);
  if (stats === undefined) throw new Error(`there is no ${dir}`);
  if (!stats.isDirectory()) return { stats };
  return {
    stats,
    children: new Map(
      readdirSync(fsPath(dir), { encoding: 'latin1' }).map((name) => [
        name,
        takeStock(`${dir}/${name}`),
      ]),
    ),
  };
}

/** A tree that was written to. */
export interface ChangedTree {
  readonly dir: RawPath;
  /**
   * What was in it before; `undefined` where nobody took stock: all of the tree is then compared
   * with the parent.
   */
  readonly stock: Stock | undefined;
  /** What it was made of. */
  readonly parent: MergedView;
  /** Who made the changes; what is new is that user's where the kernel cannot tell. */
  readonly user: Owner;
}

/**
 * Writes into a layer directory what differs in a tree from what its stock was, as an overlay's
 * upper directory would have it. What was only touched, and is what the parent has, is left out.
 */
export function collectChanges(tree: ChangedTree, upper: RawPath, xattrs: OverlayXattrs): void {
  const writer = new TreeWriter(tree.parent, upper, { xattrs });
  new Collector(tree, writer).directory({
    path: '/',
    before: tree.stock,
    handle: () => writer.root,
    isNew: false,
  });
  writer.finish();
}

/** A directory of the tree whose changes are collected. */
interface Place {
  readonly path: RawPath;
  readonly before: Stock | undefined;
  /** The directory in the writer, asked for when there is something to write. */
  readonly handle: () => TreeDirectory;
  /** True when nothing of the stock lives on below. */
  readonly isNew: boolean;
}

class Collector {
  readonly #copying = { buffer: Buffer.allocUnsafe(COPY_BUFFER) };
  readonly #links = new Map<number, RawPath>();
  readonly #parent: MergedView;
  readonly #hasStock: boolean;
  #depth = 0;
  #groups: { readonly now: LinkGroups; readonly before: LinkGroups } | undefined;

  constructor(
    private readonly tree: ChangedTree,
    private readonly writer: TreeWriter,
  ) {
    this.#parent = tree.parent;
    this.#hasStock = tree.stock !== undefined;
  }

  directory(place: Place): void {
    const { path, before, handle, isNew } = place;
    const host = this.#host(path);
    const stats = lstatOwned(host);
    if (stats === undefined) return;
    if (++this.#depth > MAX_DEPTH)
      throw new MbuildError(
        'UNSUPPORTED',
        `directories are more than ${MAX_DEPTH} deep: ${toText(path.slice(0, 60))}…`,
        { hint: 'delete them in the step that makes them' },
      );
    let wrote = isNew;
    const names = readdirSync(fsPath(host), { encoding: 'latin1' }).sort();
    for (const name of names) wrote = this.#entry(place, name) || wrote;
    if (!isNew) wrote = this.#deleted(place, names) || wrote;
    if (wrote || this.#isChanged(path, stats, before?.stats))
      this.writer.setAttributes(handle(), { ...attributesOf(stats), xattrs: treeXattrs(host) });
    this.#depth--;
  }

  /** Deletes what is not in the tree any more. @returns true when something was. */
  #deleted({ path, before, handle }: Place, names: readonly RawPath[]): boolean {
    const left = new Set(names);
    let wrote = false;
    const known = this.#hasStock ? (before?.children?.keys() ?? []) : this.#parent.readdir(path);
    for (const name of known) {
      if (left.has(name) || this.#parent.lstat(childPath(path, name)) === undefined) continue;
      this.writer.remove(handle(), name);
      wrote = true;
    }
    return wrote;
  }

  /** @returns true when something was written. */
  #entry(dir: Place, name: RawPath): boolean {
    const path = childPath(dir.path, name);
    const host = this.#host(path);
    const found = lstatOwned(host);
    if (found === undefined) return false;
    if (found.isDirectory()) return this.#subdirectory(dir, name, found);
    const before = stockOf(dir, name);
    if (before !== undefined && isUntouched(found, before.stats)) return false;
    const below = dir.isNew ? undefined : this.#parent.lstat(path);
    if (found.isSocket()) {
      takeSocket(host);
      if (below !== undefined) this.writer.remove(dir.handle(), name);
      return below !== undefined;
    }
    const stats = this.#claimed(host, found, below?.stats);
    if (
      below !== undefined &&
      this.#isLinkedAsBefore(path, stats) &&
      isSameEntry(below, { hostPath: host, stats })
    )
      return false;
    if (below?.stats.isDirectory() === true) this.writer.remove(dir.handle(), name);
    this.#write(path, name, stats, dir.handle());
    return true;
  }

  /**
   * A touched file of several names may have got or lost one; where nobody took stock, all names
   * are looked at.
   */
  #isLinkedAsBefore(path: RawPath, { nlink }: FileStats): boolean {
    if (nlink === 1 || this.#hasStock) return nlink === 1;
    this.#groups ??= {
      now: linkGroups({
        readdir: (dir) => readdirSync(fsPath(this.#host(dir)), { encoding: 'latin1' }),
        lstat: (inner) => placed(lstatOf(this.#host(inner)), ''),
      }),
      before: linkGroups({
        readdir: (dir) => this.#parent.readdir(dir),
        lstat: (inner) => {
          const entry = this.#parent.lstat(inner);
          // In a tree, files of two layers are two files, even if they share their bytes in the
          // store.
          return placed(entry?.stats, entry?.hostPath.slice(0, -inner.length) ?? '');
        },
      }),
    };
    return isLinkedAlike(path, this.#groups.now, this.#groups.before);
  }

  #subdirectory(dir: Place, name: RawPath, found: FileStats): boolean {
    const path = childPath(dir.path, name);
    const before = stockOf(dir, name);
    // Inode numbers are given again, so the time of birth has to be the same too.
    const lives = this.#hasStock
      ? before?.stats.isDirectory() === true &&
        before.stats.ino === found.ino &&
        before.stats.birthtimeMs === found.birthtimeMs
      : this.#parent.lstat(path)?.stats.isDirectory() === true;
    const stats = lives ? found : this.#claimed(this.#host(path), found, undefined);
    let made: TreeDirectory | undefined;
    const open = (): TreeDirectory =>
      (made ??= this.writer.makeDirectory(dir.handle(), name, attributesOf(stats)).directory);
    if (!lives) {
      if (this.writer.find(dir.handle(), name) !== undefined)
        this.writer.remove(dir.handle(), name);
      open();
    }
    this.directory({ path, before, handle: open, isNew: !lives });
    return made !== undefined;
  }

  /** What it is when whom it belongs to is settled. */
  #claimed(host: RawPath, stats: FileStats, below: FileStats | undefined): FileStats {
    if (!keepsOwners()) return stats;
    claim(host, stats, below, this.tree.user);
    return lstatOwned(host) ?? stats;
  }

  #write(path: RawPath, name: RawPath, stats: FileStats, to: TreeDirectory): void {
    const host = this.#host(path);
    const first = stats.nlink > 1 ? this.#links.get(stats.ino) : undefined;
    if (first !== undefined) {
      this.writer.link(to, name, first);
      return;
    }
    copyEntry(host, stats, this.writer.place(to, name), this.#copying);
    this.#links.set(stats.ino, path);
  }

  #isChanged(path: RawPath, stats: FileStats, before: FileStats | undefined): boolean {
    if (before !== undefined && isUntouched(stats, before)) return false;
    const below = this.#parent.lstat(path);
    return below === undefined || !isSameEntry(below, { hostPath: this.#host(path), stats });
  }

  #host(path: RawPath): RawPath {
    return path === '/' ? this.tree.dir : `${this.tree.dir}${path}`;
  }
}

/** What the directory held under a name, where it is the one that it was. */
function stockOf({ before, isNew }: Place, name: RawPath): Stock | undefined {
  return isNew ? undefined : before?.children?.get(name);
}

function placed(stats: FileStats | undefined, place: string): ReturnType<LinkedTree['lstat']> {
  return stats === undefined ? undefined : { stats, place };
}

/** Nothing can be done to a file that leaves all of these. */
function isUntouched(now: FileStats, before: FileStats): boolean {
  return (
    now.ino === before.ino &&
    now.ctimeMs === before.ctimeMs &&
    now.mtimeMs === before.mtimeMs &&
    now.size === before.size &&
    now.mode === before.mode
  );
}

function remove(path: RawPath, stats: FileStats): void {
  if (stats.isDirectory()) removeTree(fsPath(path));
  else unlinkSync(fsPath(path));
}
