import { readdirSync, readlinkSync } from 'node:fs';
import { lstatOwned } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { childPath, isOpaque, isWhiteout, type OverlayXattrs } from './marks';
import { cleanPath, resolvePath, type Found, type TreeLookup } from './resolve';
import type { MergedView, ViewEntry } from './view';

/** A directory of the merged tree: the directories of the host that make it up, top first. */
interface MergedDirectory {
  readonly entry: ViewEntry;
  readonly layers: readonly RawPath[];
  readonly children: Map<RawPath, Child | undefined>;
  names?: readonly RawPath[];
}

interface Child {
  readonly entry: ViewEntry;
  /** Absent for what is no directory. */
  readonly directory: MergedDirectory | undefined;
}

/**
 * The tree that an overlay mount of some layer directories would show, read without mounting it.
 * What was looked up is remembered, so the directories must not change while a view is in use.
 * `redirect_dir` and `metacopy` are not read, for no layer of ours is written with them.
 */
export class LayeredView implements MergedView, TreeLookup<MergedDirectory> {
  readonly root: MergedDirectory;

  /** @param layers absolute paths of the layer directories, top first; at least one. */
  constructor(
    layers: readonly [RawPath, ...RawPath[]],
    private readonly xattrs: OverlayXattrs = 'trusted',
  ) {
    const stats = lstatOwned(layers[0]);
    if (stats === undefined) throw new Error(`no layer directory ${layers[0]}`);
    this.root = { entry: { path: '/', hostPath: layers[0], stats }, layers, children: new Map() };
  }

  lstat(path: RawPath): ViewEntry | undefined {
    return this.#entry(path, false);
  }

  stat(path: RawPath): ViewEntry | undefined {
    return this.#entry(path, true);
  }

  resolve(path: RawPath): RawPath {
    return resolvePath(this, path, true).path;
  }

  readdir(path: RawPath): RawPath[] {
    const { directory, rest } = resolvePath(this, path, true);
    if (rest.length > 0) return [];
    directory.names ??= this.#names(directory);
    return [...directory.names];
  }

  child(dir: MergedDirectory, name: RawPath): Found<MergedDirectory> | undefined {
    const child = this.#child(dir, name);
    if (child === undefined) return undefined;
    if (child.directory !== undefined) return { kind: 'directory', directory: child.directory };
    if (!child.entry.stats.isSymbolicLink()) return { kind: 'other' };
    return { kind: 'symlink', target: readlinkSync(fsPath(child.entry.hostPath), 'latin1') };
  }

  #entry(path: RawPath, follow: boolean): ViewEntry | undefined {
    const { directory, rest } = resolvePath(this, path, follow);
    const [name, ...more] = rest;
    if (name === undefined) return directory.entry;
    // `file/` names no file, as for the kernel.
    if (more.length > 0 || path.endsWith('/')) return undefined;
    return this.#child(directory, name)?.entry;
  }

  #child(dir: MergedDirectory, name: RawPath): Child | undefined {
    const known = dir.children.get(name);
    if (known !== undefined || dir.children.has(name)) return known;
    const child = this.#lookUp(dir, name);
    dir.children.set(name, child);
    return child;
  }

  /**
   * What overlay's lookup finds: the topmost entry; below a directory only directories, until one
   * is opaque.
   */
  #lookUp(dir: MergedDirectory, name: RawPath): Child | undefined {
    let top: { readonly hostPath: RawPath; readonly stats: FileStats } | undefined;
    const layers: RawPath[] = [];
    for (const layer of dir.layers) {
      const hostPath = `${layer}/${name}`;
      const stats = lstatOwned(hostPath);
      if (stats === undefined) continue;
      if (isWhiteout(stats)) break;
      const above = layers.at(-1);
      // Only now does it matter whether the directory above is opaque; most lookups never ask for
      // attributes.
      if (above !== undefined && (!stats.isDirectory() || isOpaque(above, this.xattrs))) break;
      top ??= { hostPath, stats };
      if (!stats.isDirectory()) break;
      layers.push(hostPath);
    }
    if (top === undefined) return undefined;
    const entry: ViewEntry = { path: childPath(dir.entry.path, name), ...top };
    return {
      entry,
      directory: layers.length === 0 ? undefined : { entry, layers, children: new Map() },
    };
  }

  #names(dir: MergedDirectory): RawPath[] {
    const shown = new Map<RawPath, boolean>();
    for (const layer of dir.layers) {
      for (const dirent of readdirSync(fsPath(layer), {
        encoding: 'latin1',
        withFileTypes: true,
      })) {
        if (shown.has(dirent.name)) continue;
        shown.set(
          dirent.name,
          !(
            (dirent.isCharacterDevice() || dirent.isSocket()) &&
            isWhiteoutAt(`${layer}/${dirent.name}`)
          ),
        );
      }
    }
    return [...shown]
      .filter(([, visible]) => visible)
      .map(([name]) => name)
      .sort();
  }
}

/** A tree without anything in it, for what is written over nothing. */
export const EMPTY_VIEW: MergedView = {
  lstat: () => undefined,
  stat: () => undefined,
  resolve: cleanPath,
  readdir: () => [],
};

function isWhiteoutAt(hostPath: RawPath): boolean {
  const stats = lstatOwned(hostPath);
  return stats !== undefined && isWhiteout(stats);
}
