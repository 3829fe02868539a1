import {
  closeSync,
  constants,
  copyFileSync,
  mkdirSync,
  openSync,
  readlinkSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { makeWhiteout, type DeviceNumber, type NodeKind } from '../linux/mknod';
import { linkOwned, lstatOwned, makeOwnedNode, own, setMode } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { writeAll } from '../linux/write-all';
import { readXattrs, type Xattrs } from '../linux/xattr';
import { setKeptXattrs } from './kept-xattrs';
import type { FileStats } from '../linux/stat';
import { setTimes } from '../linux/times';
import {
  childPath,
  isOpaque,
  isOverlayXattr,
  isWhiteout,
  markOpaque,
  type OverlayXattrs,
} from './marks';
import { resolvePath, splitPath, type Found, type TreeLookup } from './resolve';
import type { MergedView } from './view';

const S_ISGID = 0o2000;

/** What a file, directory or node is made with. */
export interface Attributes {
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch; absent: the time at which the writer began. */
  readonly mtime?: number | undefined;
  readonly xattrs?: Xattrs | undefined;
}

/**
 * What missing parents are made with: without an owner they are root's, and of the group of a
 * setgid directory that they are made in.
 */
export type ParentAttributes = Omit<Attributes, 'uid' | 'gid'> &
  Partial<Pick<Attributes, 'uid' | 'gid'>> & {
    /** They do not inherit the setgid bit itself, as after a chmod(2). */
    readonly isModeExact?: boolean | undefined;
  };

/**
 * Something in the tree as it is now: the parent's, or written already. A directory's stats may
 * lack what `finish` gives it.
 */
export interface TreeEntry {
  readonly hostPath: RawPath;
  readonly stats: FileStats;
}

/** A directory of the tree being written. Handles stay valid until the directory is removed. */
export interface TreeDirectory {
  /** In the tree, `/`-rooted, free of symlinks. */
  readonly path: RawPath;
}

/** A directory with what the writer knows of it. */
interface Directory extends TreeDirectory {
  /** In the upper directory, whether it is there yet or not. */
  readonly hostPath: RawPath;
  readonly parent: Directory | undefined;
  readonly children: Map<RawPath, Directory>;
  /** True once it is in the upper directory. */
  upper: boolean;
  /** True where the parent's directory of the same path shows through. */
  readonly merged: boolean;
  /**
   * Names that this writer put into the upper directory; all there are where `made` is true and
   * nothing shows through.
   */
  readonly own: Set<RawPath>;
  readonly made: boolean;
  /** Given at the end, so that writing into it neither needs its mode nor changes its times. */
  attributes: Attributes | undefined;
  removed: boolean;
}

/**
 * Writes into the upper directory of an overlay what a process would leave that did the same on the
 * merged tree, without a mount: whiteouts, opaque directories, and the parent's attributes on
 * directories that are written into. Paths are resolved inside the tree; the host's kernel follows
 * no symlink of it. Not for two writers at once on one directory. Directories get their attributes
 * in `finish`, which must come last.
 */
export class TreeWriter implements TreeLookup<Directory> {
  readonly root: Directory;
  /** The mtime of what is made without one, in seconds. */
  readonly now: number;
  readonly #open: Directory[] = [];
  readonly #xattrs: OverlayXattrs;

  /** @param dir the upper directory; what is in it already is honoured. */
  constructor(
    private readonly parent: MergedView,
    dir: RawPath,
    options: {
      readonly now?: number | undefined;
      readonly xattrs?: OverlayXattrs | undefined;
    } = {},
  ) {
    this.now = options.now ?? Date.now() / 1000;
    this.#xattrs = options.xattrs ?? 'trusted';
    this.root = {
      path: '/',
      hostPath: dir,
      parent: undefined,
      children: new Map(),
      upper: true,
      merged: true,
      own: new Set(),
      made: false,
      attributes: undefined,
      removed: false,
    };
    this.#open.push(this.root);
  }

  /**
   * Where a path ends up when all symlinks in it are followed, missing parts kept; `/`-rooted.
   * @throws MbuildError COPY_FAILED on a loop.
   */
  resolve(path: RawPath): RawPath {
    return resolvePath<Directory>(this, path, true).path;
  }

  /** What is at a path, all symlinks but a last one followed; `undefined` when nothing is. */
  lstat(path: RawPath): TreeEntry | undefined {
    const { directory, rest } = resolvePath<Directory>(this, path, false);
    const [name, ...more] = rest;
    if (name === undefined) return this.#entryOf(directory);
    return more.length > 0 ? undefined : this.#find(directory, name);
  }

  /** A directory that is there; `undefined` when the path, symlinks followed, leads to none. */
  directory(path: RawPath): TreeDirectory | undefined {
    const { directory, rest } = resolvePath<Directory>(this, path, true);
    return rest.length === 0 ? directory : undefined;
  }

  /**
   * The directory at a path, symlinks followed, made with its missing parents: new ones get
   * `attributes` (and in a setgid directory that bit, as mkdir(2) does it), those that are there
   * stay as they are.
   * @throws MbuildError COPY_FAILED where something else is in the way.
   * @param from what to take for the root of the tree: neither `..` nor a symlink leads out of it.
   */
  mkdirAll(
    path: RawPath,
    attributes: ParentAttributes,
    from: TreeDirectory = this.root,
  ): TreeDirectory {
    const { directory, rest } = resolvePath<Directory>(this.#below(from), path, true);
    return rest.reduce((dir, name) => {
      if (this.#find(dir, name) !== undefined)
        throw new MbuildError(
          'COPY_FAILED',
          `cannot make directory ${toText(childPath(dir.path, name))}: not a directory`,
        );
      return this.#make(dir, name, this.#inherited(dir, attributes));
    }, directory);
  }

  /** What a name in a directory is now. */
  find(dir: TreeDirectory, name: RawPath): TreeEntry | undefined {
    return this.#find(this.#own(dir), name);
  }

  /**
   * The directory of a name: the one that is there, or a new one.
   * @throws MbuildError COPY_FAILED over anything else (also over a symlink).
   */
  makeDirectory(
    dir: TreeDirectory,
    name: RawPath,
    attributes: Attributes,
  ): { readonly directory: TreeDirectory; readonly made: boolean } {
    const parent = this.#own(dir);
    const found = this.child(parent, name);
    if (found?.kind === 'directory') return { directory: found.directory, made: false };
    if (found !== undefined)
      throw new MbuildError(
        'COPY_FAILED',
        `cannot copy a directory over ${toText(childPath(parent.path, name))}: not a directory`,
      );
    return { directory: this.#make(parent, name, attributes), made: true };
  }

  /** Gives a directory that is there other attributes. */
  setAttributes(dir: TreeDirectory, attributes: Attributes): void {
    const directory = this.#own(dir);
    this.#copyUp(directory);
    directory.attributes = { ...attributes, mtime: attributes.mtime ?? this.now };
  }

  /** Gives a directory another mtime (seconds); nothing happens when it was removed since. */
  setMtime(dir: TreeDirectory, mtime: number): void {
    const directory = this.#own(dir);
    if (directory.removed) return;
    this.#copyUp(directory);
    directory.attributes = { ...this.#attributesOf(directory), mtime };
  }

  /**
   * Makes room for a non-directory and returns the path on the host at which the caller makes it:
   * nothing is there.
   * @throws MbuildError COPY_FAILED where a directory is.
   */
  place(dir: TreeDirectory, name: RawPath): RawPath {
    const directory = this.#own(dir);
    const hostPath = `${directory.hostPath}/${name}`;
    if (this.#find(directory, name)?.stats.isDirectory() === true) {
      throw new MbuildError(
        'COPY_FAILED',
        `cannot replace directory ${toText(childPath(directory.path, name))} with a file`,
      );
    }
    this.#touch(directory);
    if (directory.own.has(name) || !directory.made) unlinkIfThere(hostPath);
    directory.own.add(name);
    return hostPath;
  }

  /** A file with the given bytes. */
  file(dir: TreeDirectory, name: RawPath, content: Uint8Array, attributes: Attributes): void {
    const hostPath = this.place(dir, name);
    const fd = openSync(
      fsPath(hostPath),
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
      0o600,
    );
    try {
      writeAll(fd, content);
    } finally {
      closeSync(fd);
    }
    this.#finishEntry(hostPath, attributes);
  }

  symlink(dir: TreeDirectory, name: RawPath, target: RawPath, attributes: Attributes): void {
    const hostPath = this.place(dir, name);
    symlinkSync(fsPath(target), fsPath(hostPath));
    own(hostPath, attributes.uid, attributes.gid);
    applyXattrs(hostPath, attributes.xattrs);
    this.#setTimes(hostPath, attributes.mtime);
  }

  node(
    dir: TreeDirectory,
    name: RawPath,
    kind: NodeKind,
    device: DeviceNumber,
    attributes: Attributes,
  ): void {
    const hostPath = this.place(dir, name);
    if (kind === 'char' && device.major === 0 && device.minor === 0) {
      throw new MbuildError(
        'COPY_FAILED',
        `cannot make device 0:0 at ${toText(childPath(dir.path, name))}: overlay would take it for a deletion`,
      );
    }
    makeOwnedNode(hostPath, kind, 0o600, device);
    this.#finishEntry(hostPath, attributes);
  }

  /**
   * A further name of the file at `target` (symlinks in its parents followed); a parent's file is
   * copied up first.
   * @throws MbuildError COPY_FAILED when there is no such file.
   * @param from as for `mkdirAll`.
   */
  link(dir: TreeDirectory, name: RawPath, target: RawPath, from: TreeDirectory = this.root): void {
    const { directory, rest } = resolvePath<Directory>(this.#below(from), target, false);
    const [last, ...more] = rest;
    const found = last === undefined || more.length > 0 ? undefined : this.#find(directory, last);
    if (last === undefined || found === undefined || found.stats.isDirectory()) {
      throw new MbuildError(
        'COPY_FAILED',
        `cannot link ${toText(childPath(dir.path, name))} to ${toText(target)}: no such file`,
      );
    }
    const upperPath = `${directory.hostPath}/${last}`;
    if (found.hostPath !== upperPath) this.#copyUpFile(directory, last, found);
    // A link to itself is what it was.
    if (this.#own(dir) === directory && name === last) return;
    linkOwned(upperPath, this.place(dir, name));
  }

  /** Takes a name away, a directory with all below it; nothing happens when it is not there. */
  remove(dir: TreeDirectory, name: RawPath): void {
    const directory = this.#own(dir);
    if (this.#find(directory, name) === undefined) return;
    const hostPath = `${directory.hostPath}/${name}`;
    const inParent =
      directory.merged && this.parent.lstat(childPath(directory.path, name)) !== undefined;
    this.#touch(directory);
    removeTree(fsPath(hostPath));
    directory.own.delete(name);
    this.#forget(directory, name);
    if (!inParent) return;
    makeWhiteout(hostPath, this.#xattrs === 'files' ? 'socket' : 'device');
    directory.own.add(name);
  }

  /** Gives the directories their attributes. Nothing may be written afterwards. */
  finish(): void {
    // Innermost first: a directory may take away the right to reach what is in it.
    for (const directory of this.#open.splice(0).reverse()) {
      if (!directory.upper || directory.attributes === undefined) continue;
      this.#finishEntry(directory.hostPath, directory.attributes);
    }
  }

  /**
   * Gives a name that `link` made other attributes, and with it the file's other names. A symlink
   * has no mode.
   */
  setLinkAttributes(dir: TreeDirectory, name: RawPath, attributes: Attributes): void {
    const hostPath = `${this.#own(dir).hostPath}/${name}`;
    own(hostPath, attributes.uid, attributes.gid);
    if (lstatOwned(hostPath)?.isSymbolicLink() !== true) setMode(hostPath, attributes.mode);
    this.#setTimes(hostPath, attributes.mtime);
  }

  /** Gives what was made at a path that `place` returned its attributes; not for symlinks. */
  complete(hostPath: RawPath, attributes: Attributes): void {
    this.#finishEntry(hostPath, attributes);
  }

  child(dir: Directory, name: RawPath): Found<Directory> | undefined {
    const known = dir.children.get(name);
    if (known !== undefined) return { kind: 'directory', directory: known };
    const found = this.#find(dir, name);
    if (found === undefined) return undefined;
    if (found.stats.isSymbolicLink())
      return { kind: 'symlink', target: readlinkSync(fsPath(found.hostPath), 'latin1') };
    if (!found.stats.isDirectory()) return { kind: 'other' };
    return { kind: 'directory', directory: this.#adopt(dir, name, found) };
  }

  #find(dir: Directory, name: RawPath): TreeEntry | undefined {
    if (dir.upper && (!dir.made || dir.own.has(name))) {
      const hostPath = `${dir.hostPath}/${name}`;
      const stats = lstatOwned(hostPath);
      if (stats !== undefined) return isWhiteout(stats) ? undefined : { hostPath, stats };
    }
    return dir.merged ? this.parent.lstat(childPath(dir.path, name)) : undefined;
  }

  #entryOf(directory: Directory): TreeEntry {
    const stats = directory.upper ? lstatOwned(directory.hostPath) : undefined;
    if (stats !== undefined) return { hostPath: directory.hostPath, stats };
    const inParent = this.parent.lstat(directory.path);
    if (inParent === undefined)
      throw new MbuildError(
        'INTERNAL',
        `directory ${toText(directory.path)} vanished while it was written`,
      );
    return inParent;
  }

  /** A directory that was there before. */
  #adopt(dir: Directory, name: RawPath, found: TreeEntry): Directory {
    const path = childPath(dir.path, name);
    const hostPath = `${dir.hostPath}/${name}`;
    const upper = found.hostPath === hostPath;
    const merged =
      dir.merged &&
      (!upper ||
        (this.parent.lstat(path)?.stats.isDirectory() === true &&
          !isOpaque(hostPath, this.#xattrs)));
    return this.#keep({
      path,
      hostPath,
      parent: dir,
      children: new Map(),
      upper,
      merged,
      own: new Set(),
      made: false,
      attributes: undefined,
      removed: false,
    });
  }

  #make(dir: Directory, name: RawPath, attributes: Attributes): Directory {
    const path = childPath(dir.path, name);
    const hostPath = `${dir.hostPath}/${name}`;
    this.#touch(dir);
    if (dir.own.has(name) || !dir.made) unlinkIfThere(hostPath);
    mkdirSync(fsPath(hostPath), { mode: 0o700 });
    // Over anything of the parent the new directory must hide what would merge with it, now or
    // under another stack.
    if (dir.merged && this.parent.lstat(path) !== undefined) markOpaque(hostPath, this.#xattrs);
    dir.own.add(name);
    return this.#keep({
      path,
      hostPath,
      parent: dir,
      children: new Map(),
      upper: true,
      merged: false,
      own: new Set(),
      made: true,
      attributes: { ...attributes, mtime: attributes.mtime ?? this.now },
      removed: false,
    });
  }

  /** What mkdir(2) makes of attributes in a directory. */
  #inherited(dir: Directory, { isModeExact, ...attributes }: ParentAttributes): Attributes {
    const parent = this.#attributesOf(dir);
    if ((parent.mode & S_ISGID) === 0) return { uid: 0, gid: 0, ...attributes };
    return {
      uid: 0,
      gid: parent.gid,
      ...attributes,
      mode: isModeExact === true ? attributes.mode : attributes.mode | S_ISGID,
    };
  }

  #keep(directory: Directory): Directory {
    directory.parent?.children.set(splitPath(directory.path).name, directory);
    this.#open.push(directory);
    return directory;
  }

  /** Drops what is known below a name that was removed. */
  #forget(dir: Directory, name: RawPath): void {
    const gone = dir.children.get(name);
    if (gone === undefined) return;
    dir.children.delete(name);
    gone.upper = false;
    gone.removed = true;
    gone.attributes = undefined;
    for (const below of [...gone.children.keys()]) this.#forget(gone, below);
  }

  /** Brings a directory into the upper directory, as it is in the parent. */
  #copyUp(directory: Directory): void {
    if (directory.upper) return;
    const { hostPath, stats } = this.#entryOf(directory);
    if (directory.parent !== undefined) this.#hold(directory.parent);
    mkdirSync(fsPath(directory.hostPath), { mode: 0o700 });
    applyXattrs(directory.hostPath, treeXattrs(hostPath));
    directory.upper = true;
    directory.attributes = attributesOf(stats);
    directory.parent?.own.add(splitPath(directory.path).name);
  }

  /**
   * Before a copy-up puts something into a directory: unlike a write, that changes no time of it.
   */
  #hold(directory: Directory): void {
    this.#copyUp(directory);
    directory.attributes ??= this.#attributesOf(directory);
  }

  #copyUpFile(directory: Directory, name: RawPath, found: TreeEntry): void {
    this.#hold(directory);
    const hostPath = `${directory.hostPath}/${name}`;
    const { stats } = found;
    if (stats.isFile())
      copyFileSync(fsPath(found.hostPath), fsPath(hostPath), constants.COPYFILE_FICLONE);
    else if (stats.isSymbolicLink())
      symlinkSync(readlinkSync(fsPath(found.hostPath), 'buffer'), fsPath(hostPath));
    else
      throw new MbuildError(
        'COPY_FAILED',
        `cannot link to ${toText(childPath(directory.path, name))}: not a file`,
      );
    directory.own.add(name);
    if (stats.isSymbolicLink()) {
      own(hostPath, stats.uid, stats.gid);
      this.#setTimes(hostPath, stats.mtimeMs / 1000);
    } else {
      this.#finishEntry(hostPath, { ...attributesOf(stats), xattrs: treeXattrs(found.hostPath) });
    }
  }

  /** Notes that an entry of a directory changes: that sets the directory's mtime. */
  #touch(directory: Directory): void {
    this.#copyUp(directory);
    if (directory.attributes?.mtime === this.now) return;
    directory.attributes = { ...this.#attributesOf(directory), mtime: this.now };
  }

  #attributesOf(directory: Directory): Attributes {
    return directory.attributes ?? attributesOf(this.#entryOf(directory).stats);
  }

  #own(dir: TreeDirectory): Directory {
    return dir as Directory;
  }

  #below(root: TreeDirectory): TreeLookup<Directory> {
    return { root: this.#own(root), child: (dir, name) => this.child(dir, name) };
  }

  /**
   * Owner before mode, for a change of owner takes setuid away; capabilities after it for the same
   * reason.
   */
  #finishEntry(hostPath: RawPath, attributes: Attributes): void {
    own(hostPath, attributes.uid, attributes.gid);
    setMode(hostPath, attributes.mode);
    applyXattrs(hostPath, attributes.xattrs);
    this.#setTimes(hostPath, attributes.mtime);
  }

  #setTimes(hostPath: RawPath, mtime: number = this.now): void {
    setTimes(hostPath, mtime, mtime);
  }
}

/** The attributes of something that is there, without its extended ones. */
export function attributesOf(stats: FileStats): Attributes {
  return { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, mtime: stats.mtimeMs / 1000 };
}

/** What a copy-up takes along: all attributes but overlay's own. */
function treeXattrs(hostPath: RawPath): Xattrs {
  return new Map([...readXattrs(hostPath)].filter(([name]) => !isOverlayXattr(name)));
}

function applyXattrs(hostPath: RawPath, xattrs: Xattrs | undefined): void {
  if (xattrs !== undefined) setKeptXattrs(hostPath, xattrs);
}

function unlinkIfThere(hostPath: RawPath): void {
  try {
    unlinkSync(fsPath(hostPath));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
