import type { SelectionManifest } from '../../cache/manifest';
import { packEntries } from '../../cache/manifest-entries';
import type { EntryRecord } from '../../context/digest';
import type { RawPath } from '../../linux/paths';
import { childPath } from '../../snapshot/marks';
import type { GitEntry } from '../git/objects';
import type { ContextReader, GitDirectory } from './git-context';
import type { SelectedFiles, SelectedPart } from './select';

/** More differing files are not told one by one. */
const MOST = 2000;

/** Two selections, each with those entries alone in which they differ: enough for a comparison of both. */
export interface SelectionDifference {
  readonly before: SelectionManifest;
  readonly after: SelectionManifest;
}

/** Compares selections of two commits; trees with one id are not looked into. To be asked within `objects.complete`. */
export function differenceOf(
  reader: ContextReader,
  before: SelectedFiles,
  after: SelectedFiles,
): SelectionDifference {
  const difference = new Difference(reader);
  const earlier = new Map(before.parts.map((part) => [identityOf(part), part]));
  for (const part of after.parts) {
    difference.compare(earlier.get(identityOf(part)), part);
    earlier.delete(identityOf(part));
  }
  for (const part of earlier.values()) difference.compare(part, undefined);
  return {
    before: manifest(before.digest, difference.before),
    after: manifest(after.digest, difference.after),
  };
}

function identityOf({ kind, path }: SelectedPart): string {
  return `${kind} ${path}`;
}

function manifest(digest: string, records: readonly EntryRecord[]): SelectionManifest {
  return { digest, ofContext: true, places: [''], entries: packEntries(records) };
}

class Difference {
  readonly before: EntryRecord[] = [];
  readonly after: EntryRecord[] = [];

  constructor(private readonly reader: ContextReader) {}

  compare(before: SelectedPart | undefined, after: SelectedPart | undefined): void {
    if (this.before.length + this.after.length >= MOST) return;
    if (before?.kind === 'directory' && after?.kind === 'directory') {
      this.#directories(before, after);
      return;
    }
    if (
      before?.kind === 'file' &&
      after?.kind === 'file' &&
      before.entry.id === after.entry.id &&
      before.entry.kind === after.entry.kind
    )
      return;
    this.#add(before, this.before);
    this.#add(after, this.after);
  }

  #directories(before: GitDirectory, after: GitDirectory): void {
    const { objects, summaries } = this.reader;
    const sums = [summaries.of(before.tree, before.filter), summaries.of(after.tree, after.filter)];
    const [old, now] = sums.map((sum) => objects.need(sum));
    if (old?.digest === now?.digest) return;
    if (old?.isEmpty === true) this.#add({ kind: 'directory', ...before }, this.before);
    if (now?.isEmpty === true) this.#add({ kind: 'directory', ...after }, this.after);
    // Both are sorted by name; what is the same in both is passed by.
    const [left, right] = [this.#entries(before), this.#entries(after)];
    const isSameFilter = before.filter === after.filter;
    let [l, r] = [0, 0];
    while (l < left.length || r < right.length) {
      const [a, b] = [left[l], right[r]];
      const isLeft = b === undefined || (a !== undefined && a.name <= b.name);
      const isRight = a === undefined || (b !== undefined && b.name <= a.name);
      l += isLeft ? 1 : 0;
      r += isRight ? 1 : 0;
      if (isLeft && isRight && isSameFilter && a?.id === b?.id && a?.kind === b?.kind) continue;
      this.compare(
        isLeft ? this.#part(before, a) : undefined,
        isRight ? this.#part(after, b) : undefined,
      );
    }
  }

  #add(part: SelectedPart | undefined, to: EntryRecord[]): void {
    if (part === undefined || to.length >= MOST) return;
    if (part.kind === 'file') {
      to.push(this.#record(part.path, part.entry));
      return;
    }
    const children = this.#entries(part).flatMap((entry) => this.#part(part, entry) ?? []);
    if (children.length === 0)
      to.push({ ...COMMON, path: part.path.slice(1), type: 'directory', mode: 0o755 });
    for (const child of children) this.#add(child, to);
  }

  #entries({ tree }: GitDirectory): readonly GitEntry[] {
    return tree === '' ? [] : this.reader.objects.tree(tree);
  }

  /** An entry, as far as the filter of its directory shows it. */
  #part(directory: GitDirectory, entry: GitEntry | undefined): SelectedPart | undefined {
    if (entry === undefined) return undefined;
    const { objects, summaries } = this.reader;
    const isDirectory = entry.kind === 'directory' || entry.kind === 'submodule';
    const { ignored, mayHold, filter } = directory.filter.verdict(entry.name, isDirectory);
    if (ignored && !mayHold) return undefined;
    const path = childPath(directory.path, entry.name);
    if (filter === undefined) return { kind: 'file', path, entry };
    const tree = entry.kind === 'submodule' ? '' : entry.id;
    return ignored && objects.need(summaries.of(tree, filter)).isEmpty
      ? undefined
      : { kind: 'directory', path, tree, filter };
  }

  #record(path: RawPath, { kind, id }: GitEntry): EntryRecord {
    const { objects } = this.reader;
    const at = { ...COMMON, path: path.slice(1) };
    if (kind === 'symlink')
      return { ...at, type: 'symlink', mode: 0o777, target: objects.target(id) };
    return {
      ...at,
      type: 'file',
      mode: kind === 'executable' ? 0o755 : 0o644,
      size: objects.need(objects.peekSize(id)),
      content: id,
    };
  }
}

const COMMON = { source: 0, uid: 0, gid: 0 } as const;
