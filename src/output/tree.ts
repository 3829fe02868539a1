import { readlinkSync } from 'node:fs';
import { layerXattrs } from '../layer/marks';
import { NO_DEVICE, NO_XATTRS, type TarEntry, type TarEntryType } from '../layer/tar/entry';
import { decodeDevice } from '../linux/device-number';
import { fsPath, type RawPath } from '../linux/paths';
import { listXattrs, readXattrs } from '../linux/xattr';
import type { MergedView, ViewEntry } from '../snapshot/view';

/** Something in a tree, and the file on the host that has its content. */
export interface TreeEntry {
  readonly entry: TarEntry;
  readonly source: RawPath;
}

/**
 * All that a process would see in a tree but for the root itself: names sorted in each directory, a
 * directory before what is in it, further names of a file as hard links to its first. Sockets are
 * left out, for nothing can hold one.
 */
export function* treeEntries(
  view: MergedView,
  directory: RawPath = '/',
  firstNames = new Map<string, RawPath>(),
): Generator<TreeEntry> {
  for (const name of view.readdir(directory)) {
    const found = view.lstat(directory === '/' ? `/${name}` : `${directory}/${name}`);
    if (found === undefined || found.stats.isSocket()) continue;
    const { stats } = found;
    if (!stats.isDirectory() && stats.nlink > 1) {
      const inode = `${stats.dev}:${stats.ino}`;
      const first = firstNames.get(inode);
      if (first !== undefined) {
        yield {
          entry: { ...describe(found), type: 'link', size: 0, linkPath: first, xattrs: NO_XATTRS },
          source: found.hostPath,
        };
        continue;
      }
      firstNames.set(inode, found.path.slice(1));
    }
    yield { entry: describe(found), source: found.hostPath };
    if (stats.isDirectory()) yield* treeEntries(view, found.path, firstNames);
  }
}

function describe({ path, hostPath, stats }: ViewEntry): TarEntry {
  const type = typeOf(stats);
  return {
    type,
    path: path.slice(1),
    mode: type === 'symlink' ? 0o777 : stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    mtime: Math.floor(stats.mtimeMs / 1000),
    size: type === 'file' ? stats.size : 0,
    linkPath: type === 'symlink' ? readlinkSync(fsPath(hostPath), { encoding: 'latin1' }) : '',
    device: type === 'char' || type === 'block' ? decodeDevice(stats.rdev) : NO_DEVICE,
    xattrs: listXattrs(hostPath).length === 0 ? NO_XATTRS : layerXattrs(readXattrs(hostPath)),
  };
}

function typeOf(stats: ViewEntry['stats']): TarEntryType {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  return stats.isBlockDevice() ? 'block' : 'char';
}
