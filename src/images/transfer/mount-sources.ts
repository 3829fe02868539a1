import { chainIds, type Digest } from '../../oci/digest';
import { parseReference } from '../../oci/reference';
import type { ImageStore } from '../store/image-store';
import type { LayerIndex } from '../store/layer-index';

/**
 * The repositories of a registry that are known to have a blob: a push mounts it from one of them
 * rather than to send it.
 */
export type MountSources = (registry: string, blob: Digest) => readonly string[];

/**
 * What the store knows of registries: each image that was pulled from one or pushed to it is there
 * with all of its blobs.
 */
export function mountSources({
  images,
  layers,
}: {
  readonly images: ImageStore;
  readonly layers: LayerIndex;
}): MountSources {
  let known: Map<string, Set<string>> | undefined;
  const collect = (): Map<string, Set<string>> => {
    const found = new Map<string, Set<string>>();
    for (const { repoDigests, manifest, config } of images.list()) {
      if (repoDigests.length === 0) continue;
      const compressed = chainIds(config.rootfs.diff_ids).flatMap(
        (chain) => layers.get(chain)?.blobs ?? [],
      );
      for (const { digest } of [manifest.config, ...manifest.layers, ...compressed]) {
        for (const ref of repoDigests.flatMap((name) => parseReference(name) ?? [])) {
          const key = `${ref.registry}\n${digest}`;
          found.set(key, (found.get(key) ?? new Set()).add(ref.repository));
        }
      }
    }
    return found;
  };
  return (registry, blob) => [...((known ??= collect()).get(`${registry}\n${blob}`) ?? [])];
}
