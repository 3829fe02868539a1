import type { Stats } from 'node:fs';
import type { IgnoreRules, IgnoreState } from '../context/ignore';
import type { SelectedEntry } from '../context/selected';
import type { DescribedFile, SourceTree } from '../context/source-tree';
import type { RawPath } from '../linux/paths';
import { childPath } from '../snapshot/marks';
import { resolvePath, type Found, type TreeLookup } from '../snapshot/resolve';
import type { ViewEntry } from '../snapshot/view';
import type { GitEntry, GitObjects } from './git-objects';

interface Directory {
  readonly entry: ViewEntry;
  readonly tree: string;
  /** Absent without rules; see `IgnoreRules.match`. */
  readonly state: IgnoreState | undefined;
  readonly children: Map<RawPath, Child | undefined>;
  list?: readonly ViewEntry[];
}

interface Child {
  readonly entry: ViewEntry;
  readonly object: GitEntry;
  readonly directory: Directory | undefined;
}

/** The build context of a commit: a loaded tree of git as a checkout of it would be seen, with umask 022. */
export class GitTree implements SourceTree, TreeLookup<Directory> {
  readonly title = 'the build context';
  readonly ownership = 'root';
  readonly root: Directory;
  /** Objects of files and symlinks that were seen, by host path. */
  readonly #objects = new Map<RawPath, GitEntry>();

  /** @param onSubmodule is told of every submodule that shows in the context. */
  constructor(
    private readonly git: GitObjects,
    tree: string,
    private readonly rules: IgnoreRules | undefined,
    private readonly onSubmodule: (path: RawPath) => void,
  ) {
    this.root = {
      entry: { path: '/', hostPath: '', stats: STATS.directory },
      tree,
      state: rules === undefined ? undefined : [],
      children: new Map(),
    };
  }

  lstat(path: RawPath): ViewEntry | undefined {
    return this.#entry(path, false);
  }

  stat(path: RawPath): ViewEntry | undefined {
    return this.#entry(path, true);
  }

  children(dir: RawPath): ViewEntry[] {
    const { directory, rest } = resolvePath<Directory>(this, dir, true);
    return rest.length > 0 ? [] : [...this.#list(directory)];
  }

  async describe(entries: readonly SelectedEntry[]): Promise<(DescribedFile | undefined)[]> {
    const objects = entries.map((entry) => this.#objects.get(entry.hostPath));
    const files = objects.flatMap((object) =>
      object === undefined || object.kind === 'symlink' ? [] : [object.id],
    );
    const blobs = (await this.git.blobs(files)).values();
    return objects.map((object): DescribedFile | undefined => {
      if (object === undefined) return undefined;
      if (object.kind === 'symlink')
        return { hash: '', size: 0, target: this.git.target(object.id) };
      const blob = blobs.next().value;
      return blob === undefined ? undefined : { hash: blob.hash, size: blob.size };
    });
  }

  child(dir: Directory, name: RawPath): Found<Directory> | undefined {
    const child = this.#child(dir, name);
    if (child === undefined) return undefined;
    if (child.directory !== undefined) return { kind: 'directory', directory: child.directory };
    return child.object.kind === 'symlink'
      ? { kind: 'symlink', target: this.git.target(child.object.id) }
      : { kind: 'other' };
  }

  #entry(path: RawPath, follow: boolean): ViewEntry | undefined {
    const { directory, rest } = resolvePath<Directory>(this, path, follow);
    const [name, ...more] = rest;
    if (name === undefined) return directory.entry;
    return more.length > 0 ? undefined : this.#child(directory, name)?.entry;
  }

  #list(directory: Directory): readonly ViewEntry[] {
    directory.list ??= this.git
      .entries(directory.tree)
      .flatMap(({ name }) => this.#child(directory, name)?.entry ?? []);
    return directory.list;
  }

  #child(dir: Directory, name: RawPath): Child | undefined {
    if (dir.children.size === 0)
      for (const object of this.git.entries(dir.tree))
        dir.children.set(object.name, this.#visible(dir, object));
    return dir.children.get(name);
  }

  #visible(dir: Directory, object: GitEntry): Child | undefined {
    const path = childPath(dir.entry.path, object.name);
    const isDirectory = object.kind === 'directory' || object.kind === 'submodule';
    const verdict = this.rules?.match(path.slice(1), isDirectory, dir.state);
    const entry: ViewEntry = { path, hostPath: path, stats: STATS[object.kind] };
    if (!isDirectory) {
      if (verdict?.ignored === true) return undefined;
      this.#objects.set(path, object);
      return { entry, object, directory: undefined };
    }
    // A submodule's files are in another repository: a checkout without it has an empty directory.
    const tree = object.kind === 'submodule' ? '' : object.id;
    if (object.kind === 'submodule' && verdict?.ignored !== true) this.onSubmodule(path);
    const directory: Directory = { entry, tree, state: verdict?.state, children: new Map() };
    if (
      verdict?.ignored === true &&
      !(this.rules?.mayDescend(path.slice(1)) === true && this.#list(directory).length > 0)
    )
      return undefined;
    return { entry, object, directory };
  }
}

/** As much of `Stats` as selections look at. */
const STATS: Readonly<Record<GitEntry['kind'], Stats>> = {
  file: statsOf('file', 0o100644),
  executable: statsOf('file', 0o100755),
  symlink: statsOf('symlink', 0o120777),
  directory: statsOf('directory', 0o40755),
  submodule: statsOf('directory', 0o40755),
};

function statsOf(type: 'file' | 'symlink' | 'directory', mode: number): Stats {
  const no = (): boolean => false;
  const stats = {
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
    isFile: () => type === 'file',
    isDirectory: () => type === 'directory',
    isSymbolicLink: () => type === 'symlink',
    isSocket: no,
    isFIFO: no,
    isBlockDevice: no,
    isCharacterDevice: no,
  };
  return stats as unknown as Stats;
}
