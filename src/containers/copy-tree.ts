import { constants, copyFileSync, readlinkSync } from 'node:fs';
import { decodeDevice } from '../linux/mknod';
import { fsPath, type RawPath } from '../linux/paths';
import { readXattrs } from '../linux/xattr';
import { childPath, isOverlayXattr } from '../snapshot/marks';
import {
  attributesOf,
  type Attributes,
  type TreeDirectory,
  type TreeWriter,
} from '../snapshot/tree-writer';
import type { MergedView, ViewEntry } from '../snapshot/view';

/** Who owns the copies; as in the source when absent. */
export interface CopyOptions {
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

/** Paths in the target by the source's device and inode. */
type Links = Map<string, RawPath>;

/** Copies everything in a directory of a tree into a directory of another one; directories of the same name merge. */
export function copyContents(
  view: MergedView,
  from: RawPath,
  writer: TreeWriter,
  to: TreeDirectory,
  options: CopyOptions = {},
  links: Links = new Map(),
): void {
  for (const name of view.readdir(from)) {
    const entry = view.lstat(childPath(from, name));
    if (entry !== undefined) copyEntry(view, entry, writer, to, name, options, links);
  }
}

/**
 * Copies an entry of a tree, and what is in it, to a name in a directory of another one: type, content, mode, owner, times,
 * attributes, and hard links among what is copied. A file replaces anything but a directory. Sockets are left out.
 * @throws MbuildError COPY_FAILED for a directory over something else, and a file over a directory.
 */
export function copyEntry(
  view: MergedView,
  entry: ViewEntry,
  writer: TreeWriter,
  to: TreeDirectory,
  name: RawPath,
  options: CopyOptions = {},
  links: Links = new Map(),
): void {
  const { stats, hostPath } = entry;
  if (stats.isSocket()) return;
  const attributes: Attributes = {
    ...attributesOf(stats),
    ...options.owner,
    xattrs: new Map([...readXattrs(hostPath)].filter(([key]) => !isOverlayXattr(key))),
  };
  if (stats.isDirectory()) {
    const { directory } = writer.makeDirectory(to, name, attributes);
    copyContents(view, entry.path, writer, directory, options, links);
    return;
  }
  const inode = `${stats.dev}:${stats.ino}`;
  const first = stats.nlink > 1 ? links.get(inode) : undefined;
  if (first !== undefined) {
    if (writer.find(to, name) !== undefined) writer.remove(to, name);
    writer.link(to, name, first);
    return;
  }
  if (stats.isSymbolicLink()) {
    writer.symlink(to, name, readlinkSync(fsPath(hostPath), 'latin1'), attributes);
  } else if (stats.isFile()) {
    const target = writer.place(to, name);
    copyFileSync(
      fsPath(hostPath),
      fsPath(target),
      constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE,
    );
    writer.complete(target, attributes);
  } else {
    writer.node(
      to,
      name,
      stats.isFIFO() ? 'fifo' : stats.isBlockDevice() ? 'block' : 'char',
      decodeDevice(stats.rdev),
      attributes,
    );
  }
  links.set(inode, childPath(to.path, name));
}
