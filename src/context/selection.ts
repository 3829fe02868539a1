import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';
import { toRaw, toText, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { childPath } from '../snapshot/marks';
import { cleanPath, partsOf, splitPath } from '../snapshot/resolve';
import type { ViewEntry } from '../snapshot/view';
import {
  compilePathPattern,
  globProblem,
  hasMeta,
  hasWildcard,
  matchGlob,
  unquoted,
  type PathMatcher,
} from './glob';
import { ignoreRulesOf, type IgnoreRules, type IgnoreState } from './ignore';
import type { SelectedEntry, SelectedSource, Selection } from './selected';
import type { SourceTree } from './source-tree';

export interface SelectionOptions {
  readonly parents?: boolean | undefined;
  /** Patterns relative to each directory that is copied. */
  readonly exclude?: readonly string[] | undefined;
}

/**
 * Finds what sources (as written, variables expanded) bring. BuildKit's rules: `..` and a leading
 * slash mean the tree's root; a source that is a symlink is followed inside the tree, those within
 * a directory are kept; a directory brings its contents; `*`, `?` and `[` make a pattern, Go's
 * filepath.Match, unless a backslash stands before them; a pattern may match nothing, in a
 * directory that is there. A backslash elsewhere is part of the name. `exclude` applies below
 * directories, not to sources themselves.
 * @throws MbuildError SOURCE_NOT_FOUND for a source, or the directory in front of a pattern, that
 * is not there, DOCKERFILE_SYNTAX for a broken pattern.
 */
export function selectSources(
  tree: SourceTree,
  sources: readonly string[],
  options: SelectionOptions = {},
): Selection {
  const exclude =
    options.exclude === undefined || options.exclude.length === 0
      ? undefined
      : ignoreRulesOf(options.exclude);
  const select = options.parents === true ? selectWithParents : selectPlain;
  return { sources: sources.flatMap((source) => select(tree, source, exclude)) };
}

function selectPlain(
  tree: SourceTree,
  source: string,
  exclude: IgnoreRules | undefined,
): SelectedSource[] {
  return sourcesAt(tree, source).map(({ path, entry }): SelectedSource => {
    const { stats, hostPath } = entry;
    if (!stats.isDirectory())
      return {
        kind: 'file',
        name: splitPath(path).name,
        entries: [{ path: splitPath(path).name, hostPath, stats }],
      };
    return {
      kind: 'contents',
      mtime: stats.mtimeMs / 1000,
      entries: new Walk(tree, exclude).below(entry),
    };
  });
}

/**
 * What a source without `--parents` stands for: the paths that it names or matches, each with the
 * entry that it leads to.
 * @throws MbuildError as {@link selectSources}.
 */
export function sourcesAt(
  tree: SourceTree,
  source: string,
): { readonly path: RawPath; readonly entry: ViewEntry }[] {
  return expand(tree, cleanPath(source)).map((path) => {
    const entry = tree.stat(path);
    if (entry === undefined) throw notFound(tree, path);
    return { path, entry };
  });
}

/**
 * `--parents`: the path from the root, or from where `/./` stands in it, is kept below the
 * destination. Symlinks on the way are not followed: what they lead to has another path.
 */
function selectWithParents(
  tree: SourceTree,
  source: string,
  exclude: IgnoreRules | undefined,
): SelectedSource[] {
  const pivot = source.indexOf('/./');
  const start = pivot < 0 ? '/' : cleanPath(source.slice(0, pivot));
  const pattern = cleanPath(pivot < 0 ? source : source.slice(pivot + 3)).slice(1);
  return expand(tree, start).flatMap((path): SelectedSource[] => {
    const base = tree.stat(path);
    if (base === undefined || !base.stats.isDirectory()) {
      if (hasWildcard(start)) return [];
      throw notFound(tree, path);
    }
    const walk = new Walk(tree, exclude);
    if (pattern === '') return [{ kind: 'parents', entries: walk.below(base) }];
    const literal = cleanPath(`${path}/${toRaw(pattern)}`);
    const isName = !hasMeta(pattern) || tree.lstat(literal) !== undefined;
    const include = isName ? literalMatcher(toRaw(pattern)) : patternMatcher(pattern);
    const entries = walk.below(base, include);
    if (entries.length === 0 && !hasWildcard(pattern)) throw notFound(tree, literal);
    return [{ kind: 'parents', entries }];
  });
}

/** What `--parents` includes: all below a directory that matches, and what may lead to a match. */
interface Include extends PathMatcher {
  leadsTo(directory: RawPath): boolean;
}

function literalMatcher(path: RawPath): Include {
  return {
    matches: (candidate) => candidate === path,
    leadsTo: (directory) => path.startsWith(`${directory}/`),
  };
}

function patternMatcher(pattern: string): Include {
  checkPattern(pattern);
  const parts = pattern.split('/');
  const firstMeta = parts.findIndex(hasMeta);
  const plain = toRaw(
    parts
      .slice(0, firstMeta)
      .map((part) => `${part}/`)
      .join(''),
  );
  const { matches } = compilePathPattern(pattern);
  return {
    matches,
    leadsTo: (directory) => plain.startsWith(`${directory}/`) || `${directory}/`.startsWith(plain),
  };
}

/**
 * An entry of the tree, by its path below a directory of it. Of a large tree there are many: no
 * string of theirs is kept twice.
 */
class WalkedEntry implements SelectedEntry {
  /** @param from where in the tree's path its own begins. */
  constructor(
    private readonly entry: ViewEntry,
    private readonly from: number,
    readonly linkTo?: RawPath,
    readonly implied?: true,
  ) {}

  get path(): RawPath {
    return this.entry.path.slice(this.from);
  }

  get hostPath(): RawPath {
    return this.entry.hostPath;
  }

  get treePath(): RawPath {
    return this.entry.path;
  }

  get stats(): FileStats {
    return this.entry.stats;
  }
}

/** Collects entries below a directory. One per source, for hard links are kept within a source. */
class Walk {
  readonly #entries: SelectedEntry[] = [];
  readonly #inodes = new Map<string, RawPath>();

  constructor(
    private readonly tree: SourceTree,
    private readonly exclude: IgnoreRules | undefined,
  ) {}

  below(directory: ViewEntry, include?: Include): readonly SelectedEntry[] {
    this.#visit(
      directory.path,
      childPath(directory.path, '').length,
      this.exclude === undefined ? undefined : [],
      include,
    );
    return this.#entries;
  }

  #visit(
    directory: RawPath,
    from: number,
    state: IgnoreState | undefined,
    include: Include | undefined,
  ): void {
    for (const entry of this.tree.children(directory)) {
      const { stats } = entry;
      if (stats.isSocket()) continue;
      const path = entry.path.slice(from);
      const isDirectory = stats.isDirectory();
      const verdict = this.exclude?.match(path, isDirectory, state);
      const excluded = verdict?.ignored === true;
      const included = include === undefined || include.matches(path);
      if (!isDirectory) {
        if (!excluded && included)
          this.#entries.push(new WalkedEntry(entry, from, this.#link(path, stats)));
        continue;
      }
      const mayHold = !excluded || this.exclude?.mayDescend(path) === true;
      if (!mayHold || (!included && include?.leadsTo(path) !== true)) continue;
      const implied = excluded || !included;
      const at = this.#entries.length;
      this.#entries.push(new WalkedEntry(entry, from, undefined, implied ? true : undefined));
      this.#visit(entry.path, from, verdict?.state, included ? undefined : include);
      if (implied && this.#entries.length === at + 1) this.#entries.pop();
    }
  }

  #link(path: RawPath, stats: FileStats): RawPath | undefined {
    if (stats.nlink < 2 || !stats.isFile()) return undefined;
    const inode = `${stats.dev}:${stats.ino}`;
    const linkTo = this.#inodes.get(inode);
    if (linkTo === undefined) this.#inodes.set(inode, path);
    return linkTo;
  }
}

/** The paths that a clean source stands for: itself, or what matches its pattern, sorted. */
function expand(tree: SourceTree, source: string): RawPath[] {
  const parts = partsOf(source);
  const firstPattern = parts.findIndex(hasWildcard);
  if (firstPattern < 0) return [named(tree, source)];
  const pattern = parts.slice(firstPattern);
  checkPattern(pattern.join('/'));
  // What the pattern asks for need not be there, but the directory in front of it.
  const directory = named(tree, `/${parts.slice(0, firstPattern).join('/')}`);
  const base = tree.stat(directory);
  if (base === undefined) throw notFound(tree, directory);
  if (!base.stats.isDirectory())
    throw new MbuildError(
      'SOURCE_NOT_FOUND',
      `"${source}" looks into "${toText(directory)}" of ${tree.title}, which is not a directory`,
    );
  return matchesBelow(tree, base, pattern);
}

/**
 * A path without wildcards: as it is written where that is there, else without the backslashes that
 * quote wildcards.
 */
function named(tree: SourceTree, source: string): RawPath {
  const written = toRaw(source);
  if (!source.includes('\\') || tree.lstat(written) !== undefined) return written;
  const meant = toRaw(unquoted(source));
  return tree.lstat(meant) === undefined ? written : meant;
}

function matchesBelow(
  tree: SourceTree,
  directory: ViewEntry,
  [part, ...rest]: readonly string[],
): RawPath[] {
  if (part === undefined || !directory.stats.isDirectory()) return [];
  const matches = tree
    .children(directory.path)
    .filter(({ path }) => matchGlob(part, splitPath(path).name));
  return rest.length === 0
    ? matches.map(({ path }) => path)
    : matches.flatMap((entry) => matchesBelow(tree, entry, rest));
}

function checkPattern(pattern: string): void {
  const problem = globProblem(pattern);
  if (problem !== undefined)
    throw new MbuildError('DOCKERFILE_SYNTAX', `"${pattern}" is not a valid pattern: ${problem}`);
}

/** Names the source and says why it is not there, as far as that can be known. */
function notFound(tree: SourceTree, path: RawPath): MbuildError {
  const name = toText(path);
  const link = tree.lstat(path);
  if (link !== undefined)
    return new MbuildError(
      'SOURCE_NOT_FOUND',
      `"${name}" in ${tree.title} is a symlink whose target does not exist there`,
    );
  const rule = tree.hiddenBy?.(path);
  if (rule !== undefined) {
    return new MbuildError(
      'SOURCE_NOT_FOUND',
      `"${name}" is excluded from ${tree.title} by ${rule.file}:${rule.line} (${rule.pattern})`,
      {
        hint: `remove that line, or add !${name.slice(1)} after it`,
      },
    );
  }
  return new MbuildError('SOURCE_NOT_FOUND', `"${name}" not found in ${tree.title}`, {
    hint: nearest(tree, path),
  });
}

/** The name that was perhaps meant, searched where the path stops to exist. */
function nearest(tree: SourceTree, path: RawPath): string | undefined {
  let directory: RawPath = '/';
  for (const part of partsOf(path)) {
    const next = tree.stat(childPath(directory, part));
    if (next?.stats.isDirectory() === true) {
      directory = next.path;
      continue;
    }
    const names = tree.children(directory).map((entry) => toText(splitPath(entry.path).name));
    return didYouMean(toText(part), names);
  }
  return undefined;
}
