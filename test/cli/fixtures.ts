import type { Image } from '../../src/images/store/image-store';
import type { LayerIndex, LayerRecord } from '../../src/images/store/layer-index';
import { chainIds, digestOf, type DiffID, type Digest } from '../../src/oci/digest';
import type { ImageConfig } from '../../src/oci/image';
import { MediaType } from '../../src/oci/media-types';
import type { LayerId } from '../../src/snapshot/snapshotter';

/** The moment at which the listings are asked for. */
export const NOW = Date.parse('2026-11-21T02:00:00Z');

export function diffId(character: string): DiffID {
  return `sha256:${character.repeat(64)}` as DiffID;
}

/** An image with a layer of the given size per entry of `sizes`. */
export function makeImage(
  id: string,
  config: Partial<ImageConfig>,
  names: readonly string[] = [],
  repoDigests: readonly string[] = [],
): Image {
  const full: ImageConfig = {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
    ...config,
  };
  const descriptor = { mediaType: MediaType.ociManifest, digest: digestOf(id), size: 2 };
  return {
    id: `sha256:${id.padEnd(64, '0')}` as Digest,
    config: full,
    names,
    repoDigests,
    stack: [],
    descriptor,
    manifest: {
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      config: descriptor,
      layers: [],
    },
  };
}

/** An index that knows the sizes of the layers of one stack. */
export function makeLayers(diffIds: readonly DiffID[], sizes: readonly number[]): LayerIndex {
  const records = new Map<string, LayerRecord>(
    chainIds(diffIds).map((chainId, i) => [
      chainId,
      {
        chainId,
        id: String(i) as LayerId,
        diffId: diffIds[i] ?? diffId('0'),
        size: (sizes[i] ?? 0) + 1024,
        contentSize: sizes[i] ?? 0,
        blobs: [],
        boot: '',
        synced: true,
      },
    ]),
  );
  const refuse = (): never => {
    throw new Error('read only');
  };
  return {
    get: (chain) => records.get(chain),
    stack: refuse,
    put: refuse,
    replace: refuse,
    addBlob: refuse,
    list: () => [...records.values()],
    delete: refuse,
    setAside: refuse,
  };
}
