import { constants, copyFileSync, readlinkSync } from 'node:fs';
import { decodeDevice } from '../linux/device-number';
import type { NodeKind } from '../linux/mknod';
import { fsPath, type RawPath } from '../linux/paths';
import { readXattrs } from '../linux/xattr';
import { childPath, isOverlayXattr } from '../snapshot/marks';
import { attributesOf, type Attributes, type TreeDirectory } from '../snapshot/tree-entry';
import type { TreeWriter } from '../snapshot/tree-writer';
import type { MergedView, ViewEntry } from '../snapshot/view';

/** Who owns the copies; as in the source when absent. */
export interface CopyOptions {
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/** Copies parts of one tree into another; hard links among all that it copies stay such. */
export class TreeCopier {
  /** Paths in the target by the source's device and inode. */
  readonly #links = new Map<string, RawPath>();

  constructor(
    private readonly view: MergedView,
    private readonly writer: TreeWriter,
    private readonly options: CopyOptions = {},
  ) {}

  /** Copies everything in a directory into another one; directories of the same name merge. */
  contents(from: RawPath, to: TreeDirectory): void {
    for (const name of this.view.readdir(from)) {
      const entry = this.view.lstat(childPath(from, name));
      if (entry !== undefined) this.entry(entry, to, name);
    }
  }

  /**
   * Copies an entry, and what is in it, to a name in a directory: type, content, mode, owner,
   * times, attributes. A file replaces anything but a directory. Sockets are left out.
   * @throws MbuildError COPY_FAILED for a directory over something else, and a file over a
   * directory.
   */
  entry(entry: ViewEntry, to: TreeDirectory, name: RawPath): void {
    const { stats, hostPath } = entry;
    if (stats.isSocket()) return;
    const attributes: Attributes = {
      ...attributesOf(stats),
      ...this.options.owner,
      xattrs: new Map([...readXattrs(hostPath)].filter(([key]) => !isOverlayXattr(key))),
    };
    if (stats.isDirectory()) {
      const { directory } = this.writer.makeDirectory(to, name, attributes);
      this.contents(entry.path, directory);
      return;
    }
    const inode = `${stats.dev}:${stats.ino}`;
    const first = stats.nlink > 1 ? this.#links.get(inode) : undefined;
    if (first === undefined) {
      this.#copy(entry, to, name, attributes);
      this.#links.set(inode, childPath(to.path, name));
      return;
    }
    if (this.writer.find(to, name) !== undefined) this.writer.remove(to, name);
    this.writer.link(to, name, first);
  }

  #copy(
    { stats, hostPath }: ViewEntry,
    to: TreeDirectory,
    name: RawPath,
    attributes: Attributes,
  ): void {
    if (stats.isSymbolicLink()) {
      this.writer.symlink(to, name, readlinkSync(fsPath(hostPath), 'latin1'), attributes);
    } else if (stats.isFile()) {
      const target = this.writer.place(to, name);
      copyFileSync(
        fsPath(hostPath),
        fsPath(target),
        constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE,
      );
      this.writer.complete(target, attributes);
    } else {
      const node = { kind: nodeKind(stats), device: decodeDevice(stats.rdev) };
      this.writer.node(to, name, node, attributes);
    }
  }
}

function nodeKind(stats: ViewEntry['stats']): NodeKind {
  if (stats.isFIFO()) return 'fifo';
  return stats.isBlockDevice() ? 'block' : 'char';
}
