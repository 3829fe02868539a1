import { mkdirSync, readlinkSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { lstatOwned } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { applyXattrs, treeXattrs, unlinkIfThere } from './entry-attributes';
import { childPath, isOpaque, isWhiteout, markOpaque, type OverlayXattrs } from './marks';
import { splitPath, type Found, type TreeLookup } from './resolve';
import { attributesOf, type Attributes, type TreeDirectory, type TreeEntry } from './tree-entry';
import type { MergedView } from './view';

/** A directory with what the writer knows of it. */
export interface Directory extends TreeDirectory {
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
 * The directories of a tree that is being written, as far as they were met: which of them are in
 * the upper directory, what shows through, and what attributes they are to get at the end.
 */
export class UpperDirectories implements TreeLookup<Directory> {
  readonly root: Directory;
  /** Every directory that was met, outer ones before those in them. */
  readonly met: Directory[] = [];

  /**
   * @param dir the upper directory; what is in it already is honoured.
   * @param options `now` is the mtime of what changes, in seconds.
   */
  constructor(
    private readonly parent: MergedView,
    dir: RawPath,
    private readonly options: { readonly now: number; readonly xattrs: OverlayXattrs },
  ) {
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
    this.met.push(this.root);
  }

  /** What a name leads to on the way of a path. */
  child(dir: Directory, name: RawPath): Found<Directory> | undefined {
    const known = dir.children.get(name);
    if (known !== undefined) return { kind: 'directory', directory: known };
    const found = this.find(dir, name);
    if (found === undefined) return undefined;
    if (found.stats.isSymbolicLink())
      return { kind: 'symlink', target: readlinkSync(fsPath(found.hostPath), 'latin1') };
    if (!found.stats.isDirectory()) return { kind: 'other' };
    return { kind: 'directory', directory: this.#adopt(dir, name, found) };
  }

  /** What a name in a directory is now. */
  find(dir: Directory, name: RawPath): TreeEntry | undefined {
    if (dir.upper && (!dir.made || dir.own.has(name))) {
      const hostPath = `${dir.hostPath}/${name}`;
      const stats = lstatOwned(hostPath);
      if (stats !== undefined) return isWhiteout(stats) ? undefined : { hostPath, stats };
    }
    return dir.merged ? this.parent.lstat(childPath(dir.path, name)) : undefined;
  }

  /** What a directory is on the disk now. */
  entryOf(directory: Directory): TreeEntry {
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
          !isOpaque(hostPath, this.options.xattrs)));
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

  /** A new directory under a name where none is. */
  make(dir: Directory, name: RawPath, attributes: Attributes): Directory {
    const path = childPath(dir.path, name);
    const hostPath = `${dir.hostPath}/${name}`;
    this.touch(dir);
    if (dir.own.has(name) || !dir.made) unlinkIfThere(hostPath);
    mkdirSync(fsPath(hostPath), { mode: 0o700 });
    // Over anything of the parent the new directory must hide what would merge with it, now or
    // under another stack.
    if (dir.merged && this.parent.lstat(path) !== undefined)
      markOpaque(hostPath, this.options.xattrs);
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
      attributes: { ...attributes, mtime: attributes.mtime ?? this.options.now },
      removed: false,
    });
  }

  #keep(directory: Directory): Directory {
    directory.parent?.children.set(splitPath(directory.path).name, directory);
    this.met.push(directory);
    return directory;
  }

  /** Drops what is known below a name that was removed. */
  forget(dir: Directory, name: RawPath): void {
    const gone = dir.children.get(name);
    if (gone === undefined) return;
    dir.children.delete(name);
    gone.upper = false;
    gone.removed = true;
    gone.attributes = undefined;
    for (const below of [...gone.children.keys()]) this.forget(gone, below);
  }

  /** Brings a directory into the upper directory, as it is in the parent. */
  copyUp(directory: Directory): void {
    if (directory.upper) return;
    const { hostPath, stats } = this.entryOf(directory);
    if (directory.parent !== undefined) this.hold(directory.parent);
    mkdirSync(fsPath(directory.hostPath), { mode: 0o700 });
    applyXattrs(directory.hostPath, treeXattrs(hostPath));
    directory.upper = true;
    directory.attributes = attributesOf(stats);
    directory.parent?.own.add(splitPath(directory.path).name);
  }

  /**
   * Before a copy-up puts something into a directory: unlike a write, that changes no time of it.
   */
  hold(directory: Directory): void {
    this.copyUp(directory);
    directory.attributes ??= this.attributesOf(directory);
  }

  /** Notes that an entry of a directory changes: that sets the directory's mtime. */
  touch(directory: Directory): void {
    this.copyUp(directory);
    if (directory.attributes?.mtime === this.options.now) return;
    directory.attributes = { ...this.attributesOf(directory), mtime: this.options.now };
  }

  /** The attributes that a directory has or is to get. */
  attributesOf(directory: Directory): Attributes {
    return directory.attributes ?? attributesOf(this.entryOf(directory).stats);
  }
}
