import { createHash } from 'node:crypto';
import type { GitEntry, GitObjects } from '../git/objects';
import type { DirectoryFilter, Summary } from './filter';

/** A submodule's files are in another repository: a checkout without it has an empty directory. */
const EMPTY: Summary = { digest: 'directory', bytes: 0, files: 0, pointers: 0, isEmpty: true };
/** How many states of one directory are kept. */
const KEPT = 64;

/** A pointer file of git LFS has at least and at most so many bytes (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md). */
const POINTER_BYTES = [100, 1024] as const;
const POINTER_START = 'version https://git-lfs.github.com/spec/v1\n';

/** Sums up directories of one repository. A tree that was summed up under the same filter is not looked at again. */
export class Summaries {
  /** @param findsPointers the repository has files in git LFS: small files are read to tell which. */
  constructor(
    private readonly objects: GitObjects,
    private readonly findsPointers: boolean,
  ) {}

  /** To be asked within `objects.complete`: `undefined` until all below is read. */
  of(tree: string, filter: DirectoryFilter): Summary | undefined {
    if (tree === '') return EMPTY;
    const known = filter.known.get(tree);
    if (known !== undefined) return known;
    const summary = this.#sumUp(tree, filter);
    if (summary === undefined) return undefined;
    if (filter.known.size >= KEPT)
      for (const oldest of filter.known.keys()) {
        filter.known.delete(oldest);
        break;
      }
    filter.known.set(tree, summary);
    return summary;
  }

  /** Of one file or symlink. */
  ofFile({ kind, id }: GitEntry): Summary | undefined {
    const digest = `${kind} ${id}`;
    if (kind === 'symlink') return { digest, bytes: 0, files: 1, pointers: 0, isEmpty: false };
    const size = this.objects.peekSize(id);
    const meant = size === undefined ? undefined : this.#sizeOfContent(id, size);
    return meant === undefined
      ? undefined
      : { digest, bytes: meant.bytes, files: 1, pointers: meant.pointers, isEmpty: false };
  }

  #sumUp(tree: string, filter: DirectoryFilter): Summary | undefined {
    const entries = this.objects.peekTree(tree);
    if (entries === undefined) return undefined;
    let text = '';
    let [bytes, files, pointers, missing, shown] = [0, 0, 0, 0, 0];
    for (const entry of entries) {
      const child = this.#child(entry, filter);
      if (child === undefined) missing++;
      else if (child !== 'hidden') {
        shown++;
        bytes += child.bytes;
        files += child.files;
        pointers += child.pointers;
        text += `${entry.name.length}:${entry.name} ${child.digest}\n`;
      }
    }
    if (missing > 0) return undefined;
    const isEmpty = shown === 0;
    const hash = createHash('sha1').update(text, 'latin1').digest('hex');
    const digest = isEmpty ? EMPTY.digest : `directory ${hash}`;
    return { digest, bytes, files, pointers, isEmpty };
  }

  #child(entry: GitEntry, filter: DirectoryFilter): Summary | 'hidden' | undefined {
    const isDirectory = entry.kind === 'directory' || entry.kind === 'submodule';
    const verdict = filter.verdict(entry.name, isDirectory);
    if (verdict.ignored && !verdict.mayHold) return 'hidden';
    if (!isDirectory || verdict.filter === undefined) return this.ofFile(entry);
    const summary = this.of(entry.kind === 'submodule' ? '' : entry.id, verdict.filter);
    // A directory that is ignored itself is there for what is brought back in it.
    return verdict.ignored && summary?.isEmpty === true ? 'hidden' : summary;
  }

  /** A pointer of git LFS has the size of what it stands for. */
  #sizeOfContent(id: string, size: number): Pick<Summary, 'bytes' | 'pointers'> | undefined {
    const itself = { bytes: size, pointers: 0 };
    if (!this.findsPointers || size < POINTER_BYTES[0] || size > POINTER_BYTES[1]) return itself;
    const text = this.objects.peekText(id);
    if (text === undefined || !text.startsWith(POINTER_START))
      return text === undefined ? undefined : itself;
    const [, bytes] = /^size (\d+)$/m.exec(text) ?? [];
    return bytes === undefined ? itself : { bytes: Number(bytes), pointers: 1 };
  }
}
