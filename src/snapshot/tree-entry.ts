import type { RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import type { Xattrs } from '../linux/xattr';

/** What a file, directory or node is made with. */
export interface Attributes {
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch; absent: the time at which the writer began. */
  readonly mtime?: number | undefined;
  readonly xattrs?: Xattrs | undefined;
}

/**
 * What missing parents are made with: without an owner they are root's, and of the group of a
 * setgid directory that they are made in.
 */
export type ParentAttributes = Omit<Attributes, 'uid' | 'gid'> &
  Partial<Pick<Attributes, 'uid' | 'gid'>> & {
    /** They do not inherit the setgid bit itself, as after a chmod(2). */
    readonly isModeExact?: boolean | undefined;
  };

/**
 * Something in the tree as it is now: the parent's, or written already. A directory's stats may
 * lack what `finish` gives it.
 */
export interface TreeEntry {
  readonly hostPath: RawPath;
  readonly stats: FileStats;
}

/** A directory of the tree being written. Handles stay valid until the directory is removed. */
export interface TreeDirectory {
  /** In the tree, `/`-rooted, free of symlinks. */
  readonly path: RawPath;
}

/** The attributes of something that is there, without its extended ones. */
export function attributesOf(stats: FileStats): Attributes {
  return { mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, mtime: stats.mtimeMs / 1000 };
}
