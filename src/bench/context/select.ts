import { createHash } from 'node:crypto';
import { ignoreRulesOf } from '../../context/ignore';
import { selectSources, sourcesAt } from '../../context/selection';
import type { RawPath } from '../../linux/paths';
import type { GitEntry } from '../git/objects';
import type { DirectoryFilter } from './filter';
import type { GitContext, GitDirectory } from './git-context';

/** One source of a COPY, or of a bind mount, in the context. */
export interface FileQuery {
  /** As written, expanded. */
  readonly source: string;
  readonly parents: boolean;
  readonly exclude: readonly string[];
}

/** What a query brings of a commit. */
export interface SelectedFiles {
  /** `sha256:…`; equal where a build's digest would be equal. */
  readonly digest: string;
  readonly bytes: number;
  readonly pointers: number;
  readonly parts: readonly SelectedPart[];
}

/** A file, or a directory with what its filter shows. `path` is `/`-rooted in the context. */
export type SelectedPart =
  | { readonly kind: 'file'; readonly path: RawPath; readonly entry: GitEntry }
  | ({ readonly kind: 'directory' } & GitDirectory);

/** Filters of `--exclude`, by the filter of the context's directory and the patterns: what they know is kept between commits. */
const excluding = new WeakMap<DirectoryFilter, Map<string, DirectoryFilter>>();

/**
 * Finds what a query brings, by the ids of git's trees; to be asked within `objects.complete`.
 * @throws MbuildError SOURCE_NOT_FOUND and the like, as a build does.
 */
export function selectFiles(context: GitContext, query: FileQuery): SelectedFiles {
  return query.parents ? selectWithParents(context, query) : selectPlain(context, query);
}

function selectPlain(context: GitContext, { source, exclude }: FileQuery): SelectedFiles {
  const { objects, summaries } = context.reader;
  const hash = createHash('sha256');
  let [bytes, pointers] = [0, 0];
  const parts = sourcesAt(context, source).map(({ path, entry }): SelectedPart => {
    const place = context.placeOf(entry);
    const part: SelectedPart =
      place.kind === 'file'
        ? { kind: 'file', path: entry.path, entry: place.entry }
        : { kind: 'directory', ...withExclude(place.directory, exclude) };
    const summary = objects.need(
      part.kind === 'file' ? summaries.ofFile(part.entry) : summaries.of(part.tree, part.filter),
    );
    bytes += summary.bytes;
    pointers += summary.pointers;
    // A directory brings its contents, whatever it is called; a file goes by the name that it was asked by.
    const name = part.kind === 'file' ? path.slice(path.lastIndexOf('/') + 1) : '';
    hash.update(`${part.kind} ${name.length}:${name} ${summary.digest}\n`, 'latin1');
    return part;
  });
  return { digest: `sha256:${hash.digest('hex')}`, bytes, pointers, parts };
}

/** Rare, and sorted by patterns for whole paths: everything is listed. */
function selectWithParents(context: GitContext, { source, exclude }: FileQuery): SelectedFiles {
  const { objects, summaries } = context.reader;
  const hash = createHash('sha256');
  let [bytes, pointers] = [0, 0];
  const { sources } = selectSources(context, [source], { parents: true, exclude });
  const parts: SelectedPart[] = [];
  for (const { path, treePath } of sources.flatMap((selected) => selected.entries)) {
    const place = context.placeOf({ path: treePath ?? path });
    if (place.kind === 'directory') {
      hash.update(`directory ${path.length}:${path}\n`, 'latin1');
      continue;
    }
    const summary = objects.need(summaries.ofFile(place.entry));
    bytes += summary.bytes;
    pointers += summary.pointers;
    hash.update(`${path.length}:${path} ${summary.digest}\n`, 'latin1');
    parts.push({ kind: 'file', path: treePath ?? path, entry: place.entry });
  }
  return { digest: `sha256:${hash.digest('hex')}`, bytes, pointers, parts };
}

function withExclude(directory: GitDirectory, exclude: readonly string[]): GitDirectory {
  if (exclude.length === 0) return directory;
  const known = excluding.get(directory.filter) ?? new Map<string, DirectoryFilter>();
  excluding.set(directory.filter, known);
  const name = JSON.stringify(exclude);
  const filter = known.get(name) ?? directory.filter.excluding(ignoreRulesOf(exclude));
  known.set(name, filter);
  return { ...directory, filter };
}
