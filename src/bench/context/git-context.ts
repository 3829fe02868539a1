import type { FileStats } from '../../linux/stat';
import type { SourceTree } from '../../context/source-tree';
import type { RawPath } from '../../linux/paths';
import { childPath } from '../../snapshot/marks';
import { resolvePath, type Found, type TreeLookup } from '../../snapshot/resolve';
import type { ViewEntry } from '../../snapshot/view';
import type { GitEntry, GitObjects } from '../git/objects';
import type { DirectoryFilter } from './filter';
import type { Summaries } from './summary';

/** A directory of a commit, as far as a filter shows it. */
export interface GitDirectory {
  /** In the context, `/`-rooted. */
  readonly path: RawPath;
  /** Its tree; empty for a submodule, whose files are in another repository. */
  readonly tree: string;
  readonly filter: DirectoryFilter;
}

/** What a path of the context is. */
export type GitPlace =
  | { readonly kind: 'directory'; readonly directory: GitDirectory }
  | { readonly kind: 'file'; readonly entry: GitEntry };

/** What contexts of one repository share. */
export interface ContextReader {
  readonly objects: GitObjects;
  readonly summaries: Summaries;
}

/**
 * The build context of a commit, as a checkout of it with umask 022 would be seen. Nothing is listed that is not asked for; it
 * is asked within `objects.complete`.
 */
export class GitContext implements SourceTree, TreeLookup<GitDirectory> {
  readonly title = 'the build context';
  readonly ownership = 'root';
  readonly #places = new Map<RawPath, GitPlace>();

  constructor(
    readonly reader: ContextReader,
    readonly root: GitDirectory,
  ) {
    this.#places.set('/', { kind: 'directory', directory: root });
  }

  lstat(path: RawPath): ViewEntry | undefined {
    return this.#entry(path, false);
  }

  stat(path: RawPath): ViewEntry | undefined {
    return this.#entry(path, true);
  }

  children(dir: RawPath): ViewEntry[] {
    const { directory, rest } = resolvePath<GitDirectory>(this, dir, true);
    if (rest.length > 0 || directory.tree === '') return [];
    return this.reader.objects
      .tree(directory.tree)
      .flatMap((entry) => this.#visible(directory, entry) ?? []);
  }

  /** What stands at the path of an entry that was given out. */
  placeOf({ path }: Pick<ViewEntry, 'path'>): GitPlace {
    const place = this.#places.get(path);
    if (place === undefined) throw new Error('a path that was not looked at');
    return place;
  }

  child(dir: GitDirectory, name: RawPath): Found<GitDirectory> | undefined {
    const entry = this.#find(dir, name);
    if (entry === undefined || this.#visible(dir, entry) === undefined) return undefined;
    const place = this.placeOf({ path: childPath(dir.path, name) });
    if (place.kind === 'directory') return place;
    return entry.kind === 'symlink'
      ? { kind: 'symlink', target: this.reader.objects.target(entry.id) }
      : { kind: 'other' };
  }

  #entry(path: RawPath, follow: boolean): ViewEntry | undefined {
    const { directory, rest } = resolvePath<GitDirectory>(this, path, follow);
    const [name, ...more] = rest;
    if (name === undefined) return viewEntry(directory.path, 'directory');
    const entry = more.length > 0 ? undefined : this.#find(directory, name);
    return entry === undefined ? undefined : this.#visible(directory, entry);
  }

  #find(dir: GitDirectory, name: RawPath): GitEntry | undefined {
    return dir.tree === ''
      ? undefined
      : this.reader.objects.tree(dir.tree).find((entry) => entry.name === name);
  }

  #visible(dir: GitDirectory, entry: GitEntry): ViewEntry | undefined {
    const { objects, summaries } = this.reader;
    const isDirectory = entry.kind === 'directory' || entry.kind === 'submodule';
    const { ignored, mayHold, filter } = dir.filter.verdict(entry.name, isDirectory);
    if (ignored && !mayHold) return undefined;
    const path = childPath(dir.path, entry.name);
    if (filter === undefined) {
      this.#places.set(path, { kind: 'file', entry });
      return viewEntry(path, entry.kind);
    }
    const tree = entry.kind === 'submodule' ? '' : entry.id;
    if (ignored && objects.need(summaries.of(tree, filter)).isEmpty) return undefined;
    this.#places.set(path, { kind: 'directory', directory: { path, tree, filter } });
    return viewEntry(path, entry.kind);
  }
}

function viewEntry(path: RawPath, kind: GitEntry['kind']): ViewEntry {
  return { path, hostPath: path, stats: STATS[kind] };
}

/** As much of a file's stats as selections look at. */
const STATS: Readonly<Record<GitEntry['kind'], FileStats>> = {
  file: statsOf('file', 0o100644),
  executable: statsOf('file', 0o100755),
  symlink: statsOf('symlink', 0o120777),
  directory: statsOf('directory', 0o40755),
  submodule: statsOf('directory', 0o40755),
};

function statsOf(type: 'file' | 'symlink' | 'directory', mode: number): FileStats {
  const no = (): boolean => false;
  return {
    mode,
    size: 0,
    uid: 0,
    gid: 0,
    dev: 0,
    ino: 0,
    rdev: 0,
    nlink: 1,
    mtimeMs: 0,
    ctimeMs: 0,
    atimeMs: 0,
    birthtimeMs: 0,
    isFile: () => type === 'file',
    isDirectory: () => type === 'directory',
    isSymbolicLink: () => type === 'symlink',
    isSocket: no,
    isFIFO: no,
    isBlockDevice: no,
    isCharacterDevice: no,
  };
}
