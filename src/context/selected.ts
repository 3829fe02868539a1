import type { RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';

/** What a COPY takes from one tree: its sources in order, each with all that it brings. */
export interface Selection {
  readonly sources: readonly SelectedSource[];
}

/** One source, after patterns were matched: a pattern gives as many as it has matches. */
export type SelectedSource =
  /** Anything but a directory: it goes to the destination under `name`, or is renamed to it. */
  | { readonly kind: 'file'; readonly name: RawPath; readonly entries: readonly [SelectedEntry] }
  /** What is in a directory; the directory itself only lends its mtime. */
  | {
      readonly kind: 'contents';
      readonly mtime: number;
      readonly entries: readonly SelectedEntry[];
    }
  /** `--parents`: entries with the directories that lead to them. */
  | { readonly kind: 'parents'; readonly entries: readonly SelectedEntry[] };

export interface SelectedEntry {
  /** Below the destination, without leading slash. Directories come before what is in them. */
  readonly path: RawPath;
  readonly hostPath: RawPath;
  /** In the tree, `/`-rooted; absent for a source that is no directory. */
  readonly treePath?: RawPath | undefined;
  readonly stats: FileStats;
  /** `path` of an earlier entry of the same source that is the same file. */
  readonly linkTo?: RawPath | undefined;
  /**
   * True for a directory that is only there because something in it was selected: where it exists
   * it is left as it is.
   */
  readonly implied?: boolean | undefined;
}
