/**
 * A field that two things have different values in; the value is absent where one has no such
 * field.
 */
export interface FieldDifference {
  /** `mode`, `xattr security.capability`, `history[3].created_by`. */
  readonly field: string;
  readonly first?: string | undefined;
  readonly second?: string | undefined;
  /** Where the contents of a file begin to differ, and what stands there. */
  readonly at?:
    { readonly offset: number; readonly first: string; readonly second: string } | undefined;
}

/** A path that two layers do not have alike. */
export interface FileDifference {
  /** As text, with a leading slash; deletions have the names of their marks (`.wh.`). */
  readonly path: string;
  readonly kind: 'changed' | 'only in the first' | 'only in the second';
  /** Content first; none for a path that only one has. */
  readonly fields: readonly FieldDifference[];
}

/** How the tars of two layers differ. */
export interface TarDifference {
  /** In the order of the tars. */
  readonly files: readonly FileDifference[];
  /** Files that have other times and nothing else, where times do not count. */
  readonly timesAlone: number;
  /**
   * Of tars with the same entries: whether those come in another order, or are written in another
   * form (dialect, padding, end).
   */
  readonly written?: 'in another order' | 'in another form' | undefined;
}

/** What to make of times: those of files, and those of the image and of its history. */
export interface CompareOptions {
  /** They do not count, and are only numbered. */
  readonly ignoreTimes: boolean;
}

/** True when something differs that counts. */
export function differs({ files, written }: TarDifference): boolean {
  return files.length > 0 || written !== undefined;
}
