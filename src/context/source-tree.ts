import type { RawPath } from '../linux/paths';
import { childPath } from '../snapshot/marks';
import type { MergedView, ViewEntry } from '../snapshot/view';
import type { SelectedEntry } from './selected';
import type { SelectionMemo } from './selection-memo';
import type { StatCache } from './stat-cache';

/**
 * A tree that COPY takes files from. Paths are `/`-rooted; symlinks lead nowhere but into the tree.
 */
export interface SourceTree {
  /** For messages: `the build context`, `stage "build"`. */
  readonly title: string;
  /**
   * `root`: what is copied belongs to 0:0, unless --chown says otherwise (contexts). `kept`: owners
   * are part of the tree.
   */
  readonly ownership: 'root' | 'kept';
  /** Content hashes that are known from earlier builds. */
  readonly known?: KnownContents | undefined;
  /** The entry at a path, a last symlink not followed. */
  lstat(path: RawPath): ViewEntry | undefined;
  /** The entry at a path, every symlink followed. @throws MbuildError COPY_FAILED on a loop. */
  stat(path: RawPath): ViewEntry | undefined;
  /** What is in a directory (given without symlinks), sorted by byte. */
  children(dir: RawPath): readonly ViewEntry[];
  /**
   * Of a tree whose files are not on this machine's disk: what is else read from it, in the order
   * of the entries.
   */
  describe?(entries: readonly SelectedEntry[]): Promise<readonly (DescribedFile | undefined)[]>;
  /** The line that hides a path, when it exists but was excluded. */
  hiddenBy?(path: RawPath): HidingRule | undefined;
}

/** A file or a symlink as something else than the disk tells it. */
export interface DescribedFile {
  /** sha256 of the bytes, hex. */
  readonly hash: string;
  readonly size: number;
  /** Of a symlink. */
  readonly target?: RawPath | undefined;
}

/**
 * A cache of content hashes; files are named by their path below `root`, an absolute path on the
 * host.
 */
export interface KnownContents {
  readonly cache: StatCache;
  /** Digests of whole selections. */
  readonly selections: SelectionMemo;
  readonly root: RawPath;
}

/** A line of an ignore file that hides something. */
export interface HidingRule {
  readonly file: string;
  readonly line: number;
  readonly pattern: string;
}

/** A stage's or an image's tree as a source. */
export function sourceTreeOf(view: MergedView, title: string): SourceTree {
  return {
    title,
    ownership: 'kept',
    lstat: (path) => view.lstat(path),
    stat: (path) => view.stat(path),
    children: (dir) => view.readdir(dir).flatMap((name) => view.lstat(childPath(dir, name)) ?? []),
  };
}
