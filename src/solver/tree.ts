import type { ResultId } from '../cache/key';
import type { ChainID, DiffID } from '../oci/digest';
import type { Stack } from '../snapshot/snapshotter';

/** A layer of a tree, as far as an image needs it. */
export interface TreeLayer {
  readonly diffId: DiffID;
  readonly chainId: ChainID;
}

/**
 * The tree that a step leaves. The directories of what was run are there at once; its digests come
 * when they are hashed.
 */
export interface Tree {
  /** What it holds, for the keys of what follows. */
  readonly result: ResultId;
  /**
   * Its directories, bottom first. Layers of a remote cache are fetched when this is called first,
   * and not before.
   */
  readonly stack: () => Promise<Stack>;
  /** Bottom first. Rejects when a layer could not be hashed or recorded. */
  readonly layers: Promise<readonly TreeLayer[]>;
}
