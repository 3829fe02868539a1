import { closeSync, constants, copyFileSync, openSync, readlinkSync, symlinkSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import type { DeviceNumber } from '../linux/device-number';
import { makeWhiteout, type NodeKind } from '../linux/mknod';
import { linkOwned, lstatOwned, makeOwnedNode, own, setMode } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { setTimes } from '../linux/times';
import { writeAll } from '../linux/write-all';
import { applyXattrs, giveAttributes, treeXattrs, unlinkIfThere } from './entry-attributes';
import { childPath, type OverlayXattrs } from './marks';
import { resolvePath, type TreeLookup } from './resolve';
import {
  attributesOf,
  type Attributes,
  type ParentAttributes,
  type TreeDirectory,
  type TreeEntry,
} from './tree-entry';
import { UpperDirectories, type Directory } from './upper-directories';
import type { MergedView } from './view';

/** A device, a named pipe or a socket; the number means nothing for the last two. */
export interface TreeNode {
  readonly kind: NodeKind;
  readonly device: DeviceNumber;
}

const S_ISGID = 0o2000;

/**
 * Writes into the upper directory of an overlay what a process would leave that did the same on the
 * merged tree, without a mount: whiteouts, opaque directories, and the parent's attributes on
 * directories that are written into. Paths are resolved inside the tree; the host's kernel follows
 * no symlink of it. Not for two writers at once on one directory. Directories get their attributes
 * in `finish`, which must come last.
 */
export class TreeWriter {
  /** The mtime of what is made without one, in seconds. */
  readonly now: number;
  readonly #xattrs: OverlayXattrs;
  readonly #directories: UpperDirectories;

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
    this.#directories = new UpperDirectories(parent, dir, { now: this.now, xattrs: this.#xattrs });
  }

  /** The root of the tree, and where it is on the host. */
  get root(): TreeDirectory & { readonly hostPath: RawPath } {
    return this.#directories.root;
  }

  /**
   * Where a path ends up when all symlinks in it are followed, missing parts kept; `/`-rooted.
   * @throws MbuildError COPY_FAILED on a loop.
   */
  resolve(path: RawPath): RawPath {
    return resolvePath<Directory>(this.#directories, path, true).path;
  }

  /** What is at a path, all symlinks but a last one followed; `undefined` when nothing is. */
  lstat(path: RawPath): TreeEntry | undefined {
    const { directory, rest } = resolvePath<Directory>(this.#directories, path, false);
    const [name, ...more] = rest;
    if (name === undefined) return this.#directories.entryOf(directory);
    return more.length > 0 ? undefined : this.#directories.find(directory, name);
  }

  /** A directory that is there; `undefined` when the path, symlinks followed, leads to none. */
  directory(path: RawPath): TreeDirectory | undefined {
    const { directory, rest } = resolvePath<Directory>(this.#directories, path, true);
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
      if (this.#directories.find(dir, name) !== undefined)
        throw new MbuildError(
          'COPY_FAILED',
          `cannot make directory ${toText(childPath(dir.path, name))}: not a directory`,
        );
      return this.#directories.make(dir, name, this.#inherited(dir, attributes));
    }, directory);
  }

  /** What a name in a directory is now. */
  find(dir: TreeDirectory, name: RawPath): TreeEntry | undefined {
    return this.#directories.find(this.#own(dir), name);
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
    const found = this.#directories.child(parent, name);
    if (found?.kind === 'directory') return { directory: found.directory, made: false };
    if (found !== undefined)
      throw new MbuildError(
        'COPY_FAILED',
        `cannot copy a directory over ${toText(childPath(parent.path, name))}: not a directory`,
      );
    return { directory: this.#directories.make(parent, name, attributes), made: true };
  }

  /** Gives a directory that is there other attributes. */
  setAttributes(dir: TreeDirectory, attributes: Attributes): void {
    const directory = this.#own(dir);
    this.#directories.copyUp(directory);
    directory.attributes = { ...attributes, mtime: attributes.mtime ?? this.now };
  }

  /** Gives a directory another mtime (seconds); nothing happens when it was removed since. */
  setMtime(dir: TreeDirectory, mtime: number): void {
    const directory = this.#own(dir);
    if (directory.removed) return;
    this.#directories.copyUp(directory);
    directory.attributes = { ...this.#directories.attributesOf(directory), mtime };
  }

  /**
   * Makes room for a non-directory and returns the path on the host at which the caller makes it:
   * nothing is there.
   * @throws MbuildError COPY_FAILED where a directory is.
   */
  place(dir: TreeDirectory, name: RawPath): RawPath {
    const directory = this.#own(dir);
    const hostPath = `${directory.hostPath}/${name}`;
    if (this.#directories.find(directory, name)?.stats.isDirectory() === true) {
      throw new MbuildError(
        'COPY_FAILED',
        `cannot replace directory ${toText(childPath(directory.path, name))} with a file`,
      );
    }
    this.#directories.touch(directory);
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
    giveAttributes(hostPath, attributes, this.now);
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
    { kind, device }: TreeNode,
    attributes: Attributes,
  ): void {
    const hostPath = this.place(dir, name);
    if (kind === 'char' && device.major === 0 && device.minor === 0) {
      throw new MbuildError(
        'COPY_FAILED',
        `cannot make device 0:0 at ${toText(childPath(dir.path, name))}: overlayfs treats such a device as a deletion`,
      );
    }
    makeOwnedNode(hostPath, kind, 0o600, device);
    giveAttributes(hostPath, attributes, this.now);
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
    const found =
      last === undefined || more.length > 0 ? undefined : this.#directories.find(directory, last);
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
    if (this.#directories.find(directory, name) === undefined) return;
    const hostPath = `${directory.hostPath}/${name}`;
    const inParent =
      directory.merged && this.parent.lstat(childPath(directory.path, name)) !== undefined;
    this.#directories.touch(directory);
    removeTree(fsPath(hostPath));
    directory.own.delete(name);
    this.#directories.forget(directory, name);
    if (!inParent) return;
    makeWhiteout(hostPath, this.#xattrs === 'files' ? 'socket' : 'device');
    directory.own.add(name);
  }

  /** Gives the directories their attributes. Nothing may be written afterwards. */
  finish(): void {
    // Innermost first: a directory may take away the right to reach what is in it.
    for (const { upper, hostPath, attributes } of this.#directories.met.splice(0).reverse()) {
      if (upper && attributes !== undefined) giveAttributes(hostPath, attributes, this.now);
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
    giveAttributes(hostPath, attributes, this.now);
  }

  /** What mkdir(2) makes of attributes in a directory. */
  #inherited(dir: Directory, { isModeExact, ...attributes }: ParentAttributes): Attributes {
    const parent = this.#directories.attributesOf(dir);
    if ((parent.mode & S_ISGID) === 0) return { uid: 0, gid: 0, ...attributes };
    return {
      uid: 0,
      gid: parent.gid,
      ...attributes,
      mode: isModeExact === true ? attributes.mode : attributes.mode | S_ISGID,
    };
  }

  #copyUpFile(directory: Directory, name: RawPath, found: TreeEntry): void {
    this.#directories.hold(directory);
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
      const attributes = { ...attributesOf(stats), xattrs: treeXattrs(found.hostPath) };
      giveAttributes(hostPath, attributes, this.now);
    }
  }

  #own(dir: TreeDirectory): Directory {
    return dir as Directory;
  }

  #below(root: TreeDirectory): TreeLookup<Directory> {
    return { root: this.#own(root), child: (dir, name) => this.#directories.child(dir, name) };
  }

  #setTimes(hostPath: RawPath, mtime: number = this.now): void {
    setTimes(hostPath, mtime, mtime);
  }
}
