import type { RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';

/** Something found in a view. */
export interface ViewEntry {
  /** Path inside the view, `/`-rooted, no symlink in it but perhaps the last part. */
  readonly path: RawPath;
  /** Path on the host: the topmost layer's file. */
  readonly hostPath: RawPath;
  readonly stats: FileStats;
}

/**
 * A stack of layer directories seen as one tree, without a mount: whiteouts hide, opaque
 * directories cut off, symlinks are resolved inside the root and never leave it.
 */
export interface MergedView {
  /**
   * The entry at a path whose parents' symlinks are followed inside the root; a last symlink is not
   * followed.
   */
  lstat(path: RawPath): ViewEntry | undefined;
  /** The same, with the last symlink followed too. @throws MbuildError COPY_FAILED on a loop. */
  stat(path: RawPath): ViewEntry | undefined;
  /**
   * Where a path ends up when all symlinks in it are followed, missing parts kept as they are;
   * `/`-rooted.
   */
  resolve(path: RawPath): RawPath;
  /** Names in a directory, sorted by byte; empty for what is no directory. */
  readdir(path: RawPath): RawPath[];
}
