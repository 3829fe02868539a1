import {
  closeSync,
  constants,
  copyFileSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { decodeDevice } from '../linux/mknod';
import {
  keepsOwners,
  linkOwned,
  lstatOwned,
  makeOwnedNode,
  own,
  ownOpen,
  setMode,
  setOpenMode,
  type Owner,
} from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { lstatOf, type FileStats } from '../linux/stat';
import { writeAll } from '../linux/write-all';
import { listXattrs, readXattrs, setXattr, type Xattrs } from '../linux/xattr';
import { setOpenTimes, setTimes } from '../linux/times';
import { claim } from './claim';
import { isLinkedAlike, linkGroups, type LinkGroups, type LinkedTree } from './link-groups';
import {
  childPath,
  isOpaque,
  isOverlayXattr,
  isWhiteout,
  OPAQUE_FILE,
  type OverlayXattrs,
} from './marks';
import { isSameEntry } from './same';
import { takeSocket } from './sockets';
import { TreeWriter, attributesOf, type TreeDirectory } from './tree-writer';
import type { MergedView } from './view';

/** What a directory held at one moment, by name. */
export interface Stock {
  readonly stats: FileStats;
  /** For directories. */
  readonly children?: ReadonlyMap<RawPath, Stock> | undefined;
}

const SMALL = 256 * 1024;
/** What a recursion takes; paths end at about twice that. */
const MAX_DEPTH = 1000;
/** Whom a file belongs to that nothing is noted beside. */
const BORN = { uid: 0, gid: 0 };

/**
 * Brings a layer onto a plain copy of the tree below it: deletes, replaces and adds what the layer
 * does. All that a layer can hold is copied: types, modes, owners, times, attributes, and hard
 * links among its own files.
 */
export function applyLayerDirectory(layer: RawPath, tree: RawPath, xattrs: OverlayXattrs): void {
  const buffer = Buffer.allocUnsafe(SMALL);
  const links = new Map<number, RawPath>();
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
        copyEntry(source, stats, target, links, buffer);
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

/**
 * Writes into a layer directory what differs in a tree from what its stock was, as an overlay's
 * upper directory would have it. What was only touched, and is what the parent has, is left out.
 * @param before `undefined` where nobody took stock: all of the tree is then compared with the
 * parent.
 * @param user who made the changes; what is new is that user's where the kernel cannot tell.
 */
export function collectChanges(
  tree: RawPath,
  before: Stock | undefined,
  parent: MergedView,
  upper: RawPath,
  { xattrs, user }: { readonly xattrs: OverlayXattrs; readonly user: Owner },
): void {
  const writer = new TreeWriter(parent, upper, { xattrs });
  new Collector(tree, parent, writer, user, before !== undefined).directory(
    '/',
    before,
    () => writer.root,
    false,
  );
  writer.finish();
}

class Collector {
  readonly #buffer = Buffer.allocUnsafe(SMALL);
  readonly #links = new Map<number, RawPath>();
  #depth = 0;
  #groups: { readonly now: LinkGroups; readonly before: LinkGroups } | undefined;

  constructor(
    private readonly tree: RawPath,
    private readonly parent: MergedView,
    private readonly writer: TreeWriter,
    private readonly user: Owner,
    private readonly hasStock: boolean,
  ) {}

  /**
   * @param handle the directory in the writer, asked for when there is something to write.
   * @param isNew true when nothing of the stock lives on below.
   */
  directory(
    path: RawPath,
    before: Stock | undefined,
    handle: () => TreeDirectory,
    isNew: boolean,
  ): void {
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
    for (const name of names)
      wrote =
        this.#entry(path, name, isNew ? undefined : before?.children?.get(name), handle, isNew) ||
        wrote;
    if (!isNew) {
      const left = new Set(names);
      for (const name of this.hasStock
        ? (before?.children?.keys() ?? [])
        : this.parent.readdir(path)) {
        if (left.has(name) || this.parent.lstat(childPath(path, name)) === undefined) continue;
        this.writer.remove(handle(), name);
        wrote = true;
      }
    }
    if (wrote || this.#isChanged(path, stats, before?.stats))
      this.writer.setAttributes(handle(), { ...attributesOf(stats), xattrs: treeXattrs(host) });
    this.#depth--;
  }

  /** @returns true when something was written. */
  #entry(
    dir: RawPath,
    name: RawPath,
    before: Stock | undefined,
    handle: () => TreeDirectory,
    isNew: boolean,
  ): boolean {
    const path = childPath(dir, name);
    const host = this.#host(path);
    const found = lstatOwned(host);
    if (found === undefined) return false;
    if (found.isDirectory()) return this.#subdirectory(path, name, found, before, handle);
    if (before !== undefined && isUntouched(found, before.stats)) return false;
    const below = isNew ? undefined : this.parent.lstat(path);
    if (found.isSocket()) {
      takeSocket(host);
      if (below !== undefined) this.writer.remove(handle(), name);
      return below !== undefined;
    }
    const stats = this.#claimed(host, found, below?.stats);
    if (
      below !== undefined &&
      this.#isLinkedAsBefore(path, stats) &&
      isSameEntry(below, { hostPath: host, stats })
    )
      return false;
    if (below?.stats.isDirectory() === true) this.writer.remove(handle(), name);
    this.#write(path, name, stats, handle());
    return true;
  }

  /**
   * A touched file of several names may have got or lost one; where nobody took stock, all names
   * are looked at.
   */
  #isLinkedAsBefore(path: RawPath, { nlink }: FileStats): boolean {
    if (nlink === 1 || this.hasStock) return nlink === 1;
    this.#groups ??= {
      now: linkGroups({
        readdir: (dir) => readdirSync(fsPath(this.#host(dir)), { encoding: 'latin1' }),
        lstat: (inner) => placed(lstatOf(this.#host(inner)), ''),
      }),
      before: linkGroups({
        readdir: (dir) => this.parent.readdir(dir),
        lstat: (inner) => {
          const entry = this.parent.lstat(inner);
          // In a tree, files of two layers are two files, even if they share their bytes in the
          // store.
          return placed(entry?.stats, entry?.hostPath.slice(0, -inner.length) ?? '');
        },
      }),
    };
    return isLinkedAlike(path, this.#groups.now, this.#groups.before);
  }

  #subdirectory(
    path: RawPath,
    name: RawPath,
    found: FileStats,
    before: Stock | undefined,
    handle: () => TreeDirectory,
  ): boolean {
    // Inode numbers are given again, so the time of birth has to be the same too.
    const lives = this.hasStock
      ? before?.stats.isDirectory() === true &&
        before.stats.ino === found.ino &&
        before.stats.birthtimeMs === found.birthtimeMs
      : this.parent.lstat(path)?.stats.isDirectory() === true;
    const stats = lives ? found : this.#claimed(this.#host(path), found, undefined);
    let made: TreeDirectory | undefined;
    const open = (): TreeDirectory =>
      (made ??= this.writer.makeDirectory(handle(), name, attributesOf(stats)).directory);
    if (!lives) {
      if (this.writer.find(handle(), name) !== undefined) this.writer.remove(handle(), name);
      open();
    }
    this.directory(path, before, open, !lives);
    return made !== undefined;
  }

  /** What it is when whom it belongs to is settled. */
  #claimed(host: RawPath, stats: FileStats, below: FileStats | undefined): FileStats {
    if (!keepsOwners()) return stats;
    claim(host, stats, below, this.user);
    return lstatOwned(host) ?? stats;
  }

  #write(path: RawPath, name: RawPath, stats: FileStats, to: TreeDirectory): void {
    const host = this.#host(path);
    const first = stats.nlink > 1 ? this.#links.get(stats.ino) : undefined;
    if (first !== undefined) {
      this.writer.link(to, name, first);
      return;
    }
    copyEntry(host, stats, this.writer.place(to, name), new Map(), this.#buffer);
    this.#links.set(stats.ino, path);
  }

  #isChanged(path: RawPath, stats: FileStats, before: FileStats | undefined): boolean {
    if (before !== undefined && isUntouched(stats, before)) return false;
    const below = this.parent.lstat(path);
    return below === undefined || !isSameEntry(below, { hostPath: this.#host(path), stats });
  }

  #host(path: RawPath): RawPath {
    return path === '/' ? this.tree : `${this.tree}${path}`;
  }
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

/** Copies anything but a directory to a path where nothing is. */
function copyEntry(
  source: RawPath,
  stats: FileStats,
  target: RawPath,
  links: Map<number, RawPath>,
  buffer: Buffer,
): void {
  const first = stats.nlink > 1 ? links.get(stats.ino) : undefined;
  if (first !== undefined) {
    linkOwned(first, target);
    return;
  }
  links.set(stats.ino, target);
  if (stats.isFile()) {
    copyFile(source, stats, target, buffer);
    return;
  }
  if (stats.isSymbolicLink())
    symlinkSync(fsPath(readlinkSync(fsPath(source), 'latin1')), fsPath(target));
  else
    makeOwnedNode(
      target,
      stats.isFIFO()
        ? 'fifo'
        : stats.isBlockDevice()
          ? 'block'
          : stats.isSocket()
            ? 'socket'
            : 'char',
      0o600,
      decodeDevice(stats.rdev),
    );
  setAttributes(source, stats, target);
}

/** Small files pass through one buffer: fewer system calls than copyFileSync makes. */
function copyFile(source: RawPath, stats: FileStats, target: RawPath, buffer: Buffer): void {
  if (stats.size > buffer.length) {
    copyFileSync(
      fsPath(source),
      fsPath(target),
      constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE,
    );
    setAttributes(source, stats, target);
    return;
  }
  const to = openSync(
    fsPath(target),
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    if (stats.size > 0) {
      const from = openSync(fsPath(source), constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        for (let read = readSync(from, buffer); read > 0; read = readSync(from, buffer))
          writeAll(to, buffer.subarray(0, read));
      } finally {
        closeSync(from);
      }
    }
    const made = keepsOwners() ? BORN : fstatSync(to);
    if (made.uid !== stats.uid || made.gid !== stats.gid) ownOpen(to, target, stats.uid, stats.gid);
    setOpenMode(to, target, stats.mode & 0o7777);
    copyXattrs(source, target);
    setOpenTimes(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
  } finally {
    closeSync(to);
  }
}

/** Owner before mode and attributes, for a change of owner takes setuid and capabilities away. */
function setAttributes(source: RawPath, stats: FileStats, target: RawPath): void {
  own(target, stats.uid, stats.gid);
  if (!stats.isSymbolicLink()) setMode(target, stats.mode & 0o7777);
  copyXattrs(source, target);
  setTimes(target, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

function copyXattrs(source: RawPath, target: RawPath): void {
  if (listXattrs(source).length === 0) return;
  for (const [name, value] of treeXattrs(source)) setXattr(target, name, value);
}

function treeXattrs(path: RawPath): Xattrs {
  return new Map([...readXattrs(path)].filter(([name]) => !isOverlayXattr(name)));
}

function remove(path: RawPath, stats: FileStats): void {
  if (stats.isDirectory()) removeTree(fsPath(path));
  else unlinkSync(fsPath(path));
}
