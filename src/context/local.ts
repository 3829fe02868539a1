import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
} from 'node:fs';
import { MbuildError, errnoOf, isMbuildError, machineFault } from '../diagnostics/error';
import { fsPath, toRaw, toText, type RawPath } from '../linux/paths';
import { lstatOf, type FileStats } from '../linux/stat';
import { childPath } from '../snapshot/marks';
import { resolvePath, type Found, type TreeLookup } from '../snapshot/resolve';
import type { ViewEntry } from '../snapshot/view';
import { parseIgnoreFile, type IgnoreRules, type IgnoreState } from './ignore';
import type { HidingRule, KnownContents, SourceTree } from './source-tree';
import { SelectionMemo } from './selection-memo';
import { StatCache, cacheFile } from './stat-cache';

/** What was found of an ignore file. */
export interface FoundIgnoreFile {
  readonly file?: IgnoreFile | undefined;
  /** Why one that is there does not count. */
  readonly problem?: string | undefined;
}

/** An ignore file, read. */
export interface IgnoreFile {
  /** As messages name it. */
  readonly name: string;
  readonly rules: IgnoreRules;
}

/**
 * `own`: modes are those of the files; `git`: those that git knows, so that a checkout under
 * another umask is the same.
 */
export type ContextModes = 'own' | 'git';

export interface ContextOptions {
  /** The folder in which content hashes are kept between builds; absent: they are not. */
  readonly statCaches?: string | undefined;
  /** For messages; `the build context` when absent. */
  readonly title?: string | undefined;
  readonly modes?: ContextModes | undefined;
}

/** A directory of the context that was looked into. */
interface ContextDirectory extends ViewEntry {
  /** Absent without rules; see `IgnoreRules.match`. */
  readonly state: IgnoreState | undefined;
  /** What was looked up by name, and what there is to go on into. */
  readonly children: Map<RawPath, Child | undefined>;
  list?: readonly Child[];
}

/** An entry that the ignore file lets be. */
type Child = ContextFile | ContextDirectory;

/**
 * Anything but a directory. Of a large context there are many: one is no more than its facts and a
 * path.
 */
class ContextFile implements ViewEntry {
  /** @param root the context's path on the host, without a slash at its end. */
  constructor(
    private readonly root: RawPath,
    readonly path: RawPath,
    readonly stats: FileStats,
  ) {}

  get hostPath(): RawPath {
    return this.root + this.path;
  }
}

const MAX_IGNORE_FILE = 4 * 1024 * 1024;

/**
 * The build directory as its Dockerfile sees it: without what the ignore file excludes, and closed:
 * every part of a path is looked at by itself and symlinks are followed inside only. What was seen
 * is remembered, so one object shows one state of each entry for the whole build.
 */
export class LocalContext implements SourceTree, TreeLookup<ContextDirectory> {
  readonly title: string;
  readonly ownership = 'root';
  readonly known: KnownContents | undefined;
  /** Absolute, without symlinks. */
  readonly path: RawPath;
  readonly root: ContextDirectory;
  readonly #rules: IgnoreRules | undefined;
  readonly #changeMode: ((mode: number) => number) | undefined;
  readonly #hostRoot: RawPath;

  /** @throws MbuildError CONTEXT_NOT_FOUND when `directory` is none. */
  constructor(
    directory: string,
    readonly ignore?: IgnoreFile | undefined,
    options: ContextOptions = {},
  ) {
    this.path = contextRoot(directory);
    this.#hostRoot = this.path === '/' ? '' : this.path;
    this.#rules = ignore?.rules.isEmpty === false ? ignore.rules : undefined;
    this.title = options.title ?? 'the build context';
    this.known =
      options.statCaches === undefined ? undefined : knownContents(options.statCaches, this.path);
    this.#changeMode = options.modes === 'git' ? gitMode : undefined;
    const stats = lstatOf(this.path, this.#changeMode);
    if (stats === undefined || !stats.isDirectory()) throw notADirectory(directory);
    this.root = {
      path: '/',
      hostPath: this.path,
      stats,
      state: this.#rules === undefined ? undefined : [],
      children: new Map(),
    };
  }

  lstat(path: RawPath): ViewEntry | undefined {
    return this.#entry(this, path, false);
  }

  stat(path: RawPath): ViewEntry | undefined {
    return this.#entry(this, path, true);
  }

  children(dir: RawPath): readonly ViewEntry[] {
    const { directory, rest } = resolvePath<ContextDirectory>(this, dir, true);
    return rest.length > 0 ? [] : this.#list(directory);
  }

  hiddenBy(path: RawPath): HidingRule | undefined {
    if (this.ignore === undefined) return undefined;
    const unfiltered = new LocalContext(toText(this.path));
    const there = unfiltered.lstat(path);
    if (there === undefined) return undefined;
    const { rule } = this.ignore.rules.match(there.path.slice(1), there.stats.isDirectory());
    return rule === undefined
      ? undefined
      : { file: this.ignore.name, line: rule.line, pattern: rule.pattern };
  }

  child(dir: ContextDirectory, name: RawPath): Found<ContextDirectory> | undefined {
    const child = this.#child(dir, name);
    if (child === undefined) return undefined;
    if ('children' in child) return { kind: 'directory', directory: child };
    if (!child.stats.isSymbolicLink()) return { kind: 'other' };
    return { kind: 'symlink', target: readlinkSync(fsPath(child.hostPath), 'latin1') };
  }

  #entry(
    lookup: TreeLookup<ContextDirectory>,
    path: RawPath,
    follow: boolean,
  ): ViewEntry | undefined {
    const { directory, rest } = resolvePath(lookup, path, follow);
    const [name, ...more] = rest;
    if (name === undefined) return directory;
    return more.length > 0 ? undefined : this.#child(directory, name);
  }

  #list(directory: ContextDirectory): readonly Child[] {
    if (directory.list !== undefined) return directory.list;
    const list: Child[] = [];
    for (const name of this.#names(directory)) {
      const child = directory.children.has(name)
        ? directory.children.get(name)
        : this.#lookUp(directory, name);
      if (child === undefined) continue;
      list.push(child);
      if ('children' in child) directory.children.set(name, child);
    }
    return (directory.list = list);
  }

  #names(directory: ContextDirectory): RawPath[] {
    try {
      return readdirSync(fsPath(directory.hostPath), { encoding: 'latin1' }).sort();
    } catch (error) {
      if (errnoOf(error) !== 'EACCES') throw error;
      throw new MbuildError(
        'PERMISSION_DENIED',
        `no permission to read ${toText(directory.hostPath)} in the build context`,
        {
          cause: error,
          hint: 'exclude it in .dockerignore, or make it readable',
        },
      );
    }
  }

  #child(dir: ContextDirectory, name: RawPath): Child | undefined {
    const known = dir.children.get(name);
    if (known !== undefined || dir.children.has(name)) return known;
    const child =
      dir.list === undefined
        ? this.#lookUp(dir, name)
        : dir.list.find(({ path }) => path === childPath(dir.path, name));
    dir.children.set(name, child);
    return child;
  }

  #lookUp(dir: ContextDirectory, name: RawPath): Child | undefined {
    const hostPath = childPath(dir.hostPath, name);
    const stats = lstatOf(hostPath, this.#changeMode);
    if (stats === undefined) return undefined;
    const path = childPath(dir.path, name);
    const isDirectory = stats.isDirectory();
    const verdict = this.#rules?.match(path.slice(1), isDirectory, dir.state);
    if (!isDirectory)
      return verdict?.ignored === true ? undefined : new ContextFile(this.#hostRoot, path, stats);
    const directory: ContextDirectory = {
      path,
      hostPath,
      stats,
      state: verdict?.state,
      children: new Map(),
    };
    // An excluded directory is there after all when an exception brings back something in it.
    if (
      verdict?.ignored === true &&
      !(this.#rules?.mayDescend(path.slice(1)) === true && this.#list(directory).length > 0)
    )
      return undefined;
    return directory;
  }
}

/**
 * The ignore file of a build: `<Dockerfile>.dockerignore` when it is there, else `.dockerignore` at
 * the context's root, which must be a regular file of the context (a symlink is followed inside
 * it).
 * @param dockerfile path on the host; absent when the Dockerfile is not a file.
 * @param explicit a path that the user gave; it must exist.
 * @throws MbuildError IGNORE_FILE_INVALID.
 */
export function loadIgnoreFile(
  directory: string,
  dockerfile?: string,
  explicit?: string,
): IgnoreFile | undefined {
  return findIgnoreFile(directory, dockerfile, explicit).file;
}

/** The same, with what is to be said of a link that leads out of the context or to nothing. */
export function findIgnoreFile(
  directory: string,
  dockerfile?: string,
  explicit?: string,
): FoundIgnoreFile {
  if (explicit !== undefined) {
    const file = readIgnoreFile(toRaw(explicit), explicit);
    if (file === undefined)
      throw new MbuildError('IGNORE_FILE_INVALID', `ignore file ${explicit} does not exist`);
    return { file };
  }
  const own =
    dockerfile === undefined
      ? undefined
      : readIgnoreFile(toRaw(`${dockerfile}.dockerignore`), `${dockerfile}.dockerignore`);
  if (own !== undefined) return { file: own };
  const context = new LocalContext(directory);
  const link = context.lstat(IGNORE_FILE);
  if (link === undefined) return {};
  const file = followed(context);
  if (file !== undefined) return { file: readIgnoreFile(file.hostPath, '.dockerignore') };
  const target = readlinkSync(fsPath(link.hostPath), 'latin1');
  return {
    problem: `.dockerignore is a link to ${toText(target)}, which is not in the context: no file is excluded`,
  };
}

const IGNORE_FILE: RawPath = '/.dockerignore';

/** A loop leads nowhere. */
function followed(context: LocalContext): ViewEntry | undefined {
  try {
    return context.stat(IGNORE_FILE);
  } catch (error) {
    if (isMbuildError(error, 'COPY_FAILED')) return undefined;
    throw error;
  }
}

function readIgnoreFile(path: RawPath, name: string): IgnoreFile | undefined {
  let fd: number;
  try {
    fd = openSync(fsPath(path), constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw (
      machineFault(error) ??
      new MbuildError(
        'IGNORE_FILE_INVALID',
        `cannot read ignore file ${name}: ${(error as Error).message}`,
        { cause: error },
      )
    );
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile())
      throw new MbuildError('IGNORE_FILE_INVALID', `ignore file ${name} is not a regular file`);
    if (stats.size > MAX_IGNORE_FILE)
      throw new MbuildError(
        'IGNORE_FILE_INVALID',
        `ignore file ${name} is larger than ${MAX_IGNORE_FILE} bytes`,
      );
    return { name, rules: parseIgnoreFile({ name, text: readFileSync(fd, 'utf8') }) };
  } finally {
    closeSync(fd);
  }
}

/**
 * Files 0644, or 0755 where their owner may execute them; directories 0755. Other kinds git does
 * not know.
 */
function gitMode(mode: number): number {
  const kind = mode & constants.S_IFMT;
  if (kind === constants.S_IFDIR) return kind | 0o755;
  return kind === constants.S_IFREG ? kind | ((mode & 0o100) === 0 ? 0o644 : 0o755) : mode;
}

function contextRoot(directory: string): RawPath {
  try {
    return realpathSync(directory, 'latin1');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    throw new MbuildError('CONTEXT_NOT_FOUND', `build context ${directory} does not exist`, {
      cause: error,
    });
  }
}

/** What is remembered of a directory: two files in the folder, named by its path. */
function knownContents(folder: string, root: RawPath): KnownContents {
  return {
    root,
    cache: StatCache.load(folder, root),
    selections: new SelectionMemo(`${cacheFile(folder, root)}.selections`),
  };
}

function notADirectory(directory: string): MbuildError {
  return new MbuildError('CONTEXT_NOT_FOUND', `build context ${directory} is not a directory`, {
    hint: 'give the directory that COPY takes files from; name the Dockerfile with -f',
  });
}
