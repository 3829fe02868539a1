import { sourceResult } from '../cache/key';
import type { BaseImage } from '../graph/graph';
import { chainIds } from '../oci/digest';
import type { Tree } from './tree';

/** The tree of `FROM scratch`. */
export const SCRATCH: Tree = {
  result: sourceResult(undefined),
  stack: () => Promise.resolve([]),
  layers: Promise.resolve([]),
};

/** The tree of an image. */
export function imageTree(image: BaseImage): Tree {
  const { diff_ids: diffIds } = image.config.rootfs;
  const chains = chainIds(diffIds);
  const layers = diffIds.flatMap((diffId, i) =>
    chains[i] === undefined ? [] : [{ diffId, chainId: chains[i] }],
  );
  return {
    result: sourceResult(chains.at(-1)),
    stack: image.stack,
    layers: Promise.resolve(layers),
  };
}
