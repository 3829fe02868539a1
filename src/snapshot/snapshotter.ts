import type { Owner } from '../linux/owner';
import type { Rootfs } from '../sandbox/sandbox';
import type { MergedView } from './view';

/** Names one layer directory in the store; short, for overlay's mount options end at one page. */
export type LayerId = string & { readonly __brand: 'LayerId' };

/**
 * A frozen tree: a stack of layer directories, bottom first. The empty stack is `scratch`. A layer
 * directory holds what an overlay upper directory holds: whiteouts as 0:0 character devices, opaque
 * directories marked by xattr (kernel, filesystems/overlayfs.rst, "whiteouts and opaque
 * directories").
 */
export type Stack = readonly LayerId[];

/** A tree being written over a frozen one. */
export interface ActiveSnapshot {
  readonly id: LayerId;
  readonly parent: Stack;
  /** The directory that takes what differs from the parent, in overlay's form. */
  readonly dir: string;
}

/**
 * Keeps trees. The life of a tree: `prepare` an active one over a stack, write into its `dir` or
 * run a process on its `rootfs` and `collect`, then `commit` (it becomes a layer that nothing
 * writes any more) or `discard`. A snapshot that was neither is garbage of a dead process, and
 * collected.
 */
export interface Snapshotter {
  prepare(parent: Stack): ActiveSnapshot;
  /** What a sandbox mounts so that a process sees the parent and its own writes. */
  rootfs(active: ActiveSnapshot): Rootfs;
  /**
   * Takes what a process left on the `rootfs` into `dir`; it must have ended. What is as in the
   * parent is no difference.
   * @param user whom the process ran as: where the kernel cannot tell whose its files are, they are
   * that user's.
   */
  collect(active: ActiveSnapshot, user: Owner): void;
  /**
   * Freezes the tree; returns the stack with the new layer on top. Work directories are gone
   * afterwards.
   */
  commit(active: ActiveSnapshot): Stack;
  discard(active: ActiveSnapshot): void;
  /** The tree as a process would see it. */
  view(stack: Stack): MergedView;
  /** The directory of one layer. */
  layerDir(id: LayerId): string;
  /** Deletes one layer directory; a second call does nothing. */
  remove(id: LayerId): void;
}
