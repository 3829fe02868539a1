import { closeSync, constants, copyFileSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { isWhiteout } from '../linux/mknod';
import { lstatOwned, own, setMode } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { readXattrs, setXattr } from '../linux/xattr';
import type { FileStats } from '../linux/stat';
import { setTimes } from '../linux/times';
import type { OverlayXattrs } from './layer';
import { isOpaque, isOverlayXattr, joinRaw, parentOf } from './marks';

/** Something in the layers below. */
export interface ParentEntry {
  /** On the host, in the topmost layer that has it. */
  readonly hostPath: RawPath;
  readonly stats: FileStats;
}

/**
 * The layers below one that is being unpacked, seen as one tree. Paths have no leading slash; the
 * root is empty.
 */
export class ParentTree {
  readonly #directories = new Map<RawPath, readonly string[]>();

  /** @param layers directories, top first. */
  constructor(
    private readonly layers: readonly string[],
    private readonly xattrs: OverlayXattrs,
  ) {}

  /**
   * The entry at a path none of whose directories is a symlink; `undefined` for what is not there
   * or was deleted.
   */
  lstat(path: RawPath): ParentEntry | undefined {
    if (path === '') return this.#root();
    for (const layer of this.#layersOf(parentOf(path))) {
      const hostPath = `${layer}/${path}`;
      const stats = lstatOwned(hostPath);
      if (stats !== undefined) return isWhiteout(stats) ? undefined : { hostPath, stats };
    }
    return undefined;
  }

  /** Names in a directory, sorted by byte; empty for what is no directory. */
  names(path: RawPath): RawPath[] {
    const names = new Set(
      this.#layersOf(path).flatMap((layer) =>
        readdirSync(fsPath(path === '' ? layer : `${layer}/${path}`), { encoding: 'latin1' }),
      ),
    );
    return [...names].filter((name) => this.lstat(joinRaw(path, name)) !== undefined).sort();
  }

  readlink(entry: ParentEntry): RawPath {
    return readlinkSync(fsPath(entry.hostPath), { encoding: 'latin1' });
  }

  #root(): ParentEntry | undefined {
    const [top] = this.layers;
    const stats = top === undefined ? undefined : lstatOwned(top);
    return top === undefined || stats === undefined ? undefined : { hostPath: top, stats };
  }

  /** The layers whose directories at this path make up the merged one, top first. */
  #layersOf(path: RawPath): readonly string[] {
    if (path === '') return this.layers;
    const known = this.#directories.get(path);
    if (known !== undefined) return known;
    const found: string[] = [];
    for (const layer of this.#layersOf(parentOf(path))) {
      const stats = lstatOwned(`${layer}/${path}`);
      if (stats === undefined) continue;
      if (!stats.isDirectory()) break;
      found.push(layer);
      if (isOpaque(`${layer}/${path}`, this.xattrs)) break;
    }
    this.#directories.set(path, found);
    return found;
  }
}

/** Gives `target` the owner, mode, attributes and mtime of an entry below. */
export function copyAttributes(from: ParentEntry, target: RawPath): void {
  const { stats } = from;
  own(target, stats.uid, stats.gid);
  if (!stats.isSymbolicLink()) setMode(target, stats.mode & 0o7777);
  for (const [name, value] of readXattrs(from.hostPath))
    if (!isOverlayXattr(name)) setXattr(target, name, value);
  setTimes(target, stats.mtimeMs / 1000, stats.mtimeMs / 1000);
}

/**
 * Copies a regular file up from a layer below, with everything that belongs to it. `target` must
 * not exist.
 */
export function copyUp(from: ParentEntry, target: RawPath): void {
  // Made here first, so that copying never writes through something that is there.
  closeSync(
    openSync(
      fsPath(target),
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    ),
  );
  copyFileSync(fsPath(from.hostPath), fsPath(target), constants.COPYFILE_FICLONE);
  copyAttributes(from, target);
}
