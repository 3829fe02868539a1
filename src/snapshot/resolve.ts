import { MbuildError } from '../diagnostics/error';
import { toText, type RawPath } from '../linux/paths';

/**
 * What a walk needs to know about a tree: its root and, for each directory, what a name in it is.
 */
export interface TreeLookup<Directory> {
  readonly root: Directory;
  /** What `name` is in a directory; `undefined` when nothing is there. */
  child(dir: Directory, name: RawPath): Found<Directory> | undefined;
}

/** What a name turned out to be: a directory, the target of a symlink, or something else. */
export type Found<Directory> =
  | { readonly kind: 'directory'; readonly directory: Directory }
  | { readonly kind: 'symlink'; readonly target: RawPath }
  | { readonly kind: 'other' };

/** Where a path leads. */
export interface Resolved<Directory> {
  /** `/`-rooted and free of symlinks (but for the last part, when that was not to be followed). */
  readonly path: RawPath;
  /**
   * The deepest directory on the way, and what was left of the path when there was no further one.
   */
  readonly directory: Directory;
  readonly rest: readonly RawPath[];
}

// As many as the kernel follows is 40; containerd's resolver, which decides for BuildKit,
// follows 255.
const MAX_LINKS = 255;

/**
 * Walks a path inside a tree. Absolute symlinks start again at the root, `..` never leaves it, and
 * parts that do not exist are kept as they are. Nothing but `lookup` is asked, so no symlink is
 * ever followed by the host's kernel.
 * @throws MbuildError COPY_FAILED when symlinks lead in a circle.
 */
export function resolvePath<Directory>(
  lookup: TreeLookup<Directory>,
  path: RawPath,
  followLast: boolean,
): Resolved<Directory> {
  const open: { readonly name: RawPath; readonly directory: Directory }[] = [];
  const todo = partsOf(path).reverse();
  const rest: RawPath[] = [];
  let links = 0;
  const deepest = (): Directory => open.at(-1)?.directory ?? lookup.root;

  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    if (name === '..') {
      if (rest.length > 0) rest.pop();
      else open.pop();
      continue;
    }
    const found = rest.length > 0 ? undefined : lookup.child(deepest(), name);
    if (found?.kind === 'directory') {
      open.push({ name, directory: found.directory });
    } else if (found?.kind === 'symlink' && (followLast || todo.length > 0)) {
      if (++links > MAX_LINKS)
        throw new MbuildError(
          'COPY_FAILED',
          `too many levels of symbolic links in ${toText(path)}`,
        );
      if (found.target.startsWith('/')) open.length = 0;
      todo.push(...partsOf(found.target).reverse());
    } else {
      rest.push(name);
    }
  }
  const names = [...open.map((entry) => entry.name), ...rest];
  return { path: `/${names.join('/')}`, directory: deepest(), rest };
}

/** The parts of a path, without empty ones and `.`. */
export function partsOf(path: RawPath): RawPath[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/**
 * A path made absolute and clean by its text alone, as Go's `path.Clean` does: `..` at the root
 * stays there.
 */
export function cleanPath(path: RawPath): RawPath {
  const clean: RawPath[] = [];
  for (const part of partsOf(path)) {
    if (part === '..') clean.pop();
    else clean.push(part);
  }
  return `/${clean.join('/')}`;
}

/** The directory part and the last name of a clean path; the name of the root is empty. */
export function splitPath(path: RawPath): { readonly dir: RawPath; readonly name: RawPath } {
  const slash = path.lastIndexOf('/');
  return { dir: slash <= 0 ? '/' : path.slice(0, slash), name: path.slice(slash + 1) };
}
