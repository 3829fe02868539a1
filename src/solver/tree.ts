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
  /**
   * Of a result from a cache elsewhere that was made for another SOURCE_DATE_EPOCH: the layers that
   * it has there. Results on top of it stand on these.
   */
  readonly former?: readonly TreeLayer[] | undefined;
}

/** The same tree with other facts. Its layers are not asked for, which may have to be fetched. */
export function treeWith<F extends object>(tree: Tree, facts: F): Tree & F {
  const same: Tree = {
    result: tree.result,
    former: tree.former,
    stack: tree.stack,
    get layers() {
      return tree.layers;
    },
  };
  return Object.assign(same, facts);
}
