/**
 * A place in a text file. Lines and columns count from 1; `end` is the last line and the column
 * behind the last character.
 */
export interface SourceRange {
  readonly start: { readonly line: number; readonly column: number };
  readonly end: { readonly line: number; readonly column: number };
}

/** A text file that diagnostics point into. */
export interface SourceFile {
  /** As the user named it, e.g. `Dockerfile`, `-`. */
  readonly name: string;
  readonly text: string;
}
