import path from 'node:path';
import { readRecord, replaceFile } from '../../content/files';
import type { Engine } from '../../engine';
import type { Image } from '../../images/store/image-store';
import { toRaw } from '../../linux/paths';
import { chainIds, type DiffID } from '../../oci/digest';
import { CATALOG_VERSION, scanLayer, type LayerCatalog } from './layer-catalog';

/** A layer of an image with its catalog. */
export interface CatalogedLayer {
  readonly diffId: DiffID;
  readonly catalog: LayerCatalog;
}

/** As it is written: one file a layer, `<root>/sbom/<hex of the DiffID>.json`. */
interface Stored extends LayerCatalog {
  readonly version: number;
}

/**
 * The catalogs of an image's layers, bottom first. A layer is read once: its catalog is kept in the store.
 * @throws MbuildError IMAGE_INVALID for an image whose layers are not in the store.
 */
export function catalogImage(
  image: Image,
  engine: Pick<Engine, 'root' | 'layers' | 'snapshots' | 'xattrs'>,
): CatalogedLayer[] {
  const diffIds = image.config.rootfs.diff_ids;
  return chainIds(diffIds).map((chainId, i) => {
    const diffId = diffIds[i] ?? ('' as DiffID);
    const file = path.join(engine.root, 'sbom', `${diffId.replace(/^.*:/, '')}.json`);
    const stored = readRecord<Stored>(file);
    if (stored?.version === CATALOG_VERSION) return { diffId, catalog: stored };
    const id = engine.layers.get(chainId)?.id ?? image.stack[i];
    const catalog =
      id === undefined
        ? {
            records: [],
            deleted: [],
            opaque: [],
            licenses: {},
            gaps: [{ path: '', reason: `layer ${diffId} is not in the store` }],
          }
        : scanLayer(toRaw(engine.snapshots.layerDir(id)), engine.xattrs);
    if (id !== undefined)
      replaceFile(engine.root, file, JSON.stringify({ version: CATALOG_VERSION, ...catalog }));
    return { diffId, catalog };
  });
}
