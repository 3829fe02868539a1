import { readdirSync } from 'node:fs';
import type { Engine } from '../engine';
import { errnoOf } from '../diagnostics/error';
import { isWhiteout } from '../linux/mknod';
import { fsPath, toRaw, toText, type RawPath } from '../linux/paths';
import { lstatOf } from '../linux/stat';
import { chainIds } from '../oci/digest';
import { childPath, isOpaque } from '../snapshot/marks';
import type { BuildRecord } from '../history/build-record';
import { stepOf, type LayerMaker } from '../history/layer-makers';
import type { Image } from '../images/store/image-store';

/** A layer of an image with its files. */
export interface ReportLayer extends LayerMaker {
  readonly diffId: string;
  /** Bytes of its files. */
  readonly bytes: number;
  readonly files: readonly ReportFile[];
  /** Bytes of its files that a later layer overwrites or deletes. */
  readonly wasted: number;
}

export interface ReportFile {
  readonly path: string;
  readonly bytes: number;
  readonly kind: 'file' | 'directory' | 'deleted';
  /** What a later layer did to it, and which (index). */
  readonly lost?: { readonly how: 'overwritten' | 'deleted'; readonly layer: number } | undefined;
}

/** A file while layers are put on top of each other. */
interface Standing {
  readonly layer: number;
  readonly at: number;
}

/**
 * The layers of the image that a build made, bottom first; none when the image is not in the store
 * any more.
 */
export function reportLayers(
  record: BuildRecord,
  engine: Pick<Engine, 'images' | 'layers' | 'snapshots' | 'xattrs'>,
): ReportLayer[] {
  const image =
    record.result?.imageId === undefined ? undefined : engine.images.find(record.result.imageId);
  return image === undefined
    ? []
    : imageLayers(image, (diffId) => stepOf(record, diffId) ?? { title: 'base image' }, engine);
}

/** The layers of an image, bottom first. */
export function imageLayers(
  image: Image,
  makerOf: (diffId: string, index: number) => LayerMaker,
  engine: Pick<Engine, 'layers' | 'snapshots' | 'xattrs'>,
): ReportLayer[] {
  const diffIds = image.config.rootfs.diff_ids;
  const layers = chainIds(diffIds).map((chainId, index) => {
    const id = engine.layers.get(chainId)?.id;
    const diffId = diffIds[index] ?? '';
    const found: FoundFiles = { files: [], opaque: [], inodes: new Set() };
    if (id !== undefined) walk(toRaw(engine.snapshots.layerDir(id)), '', engine.xattrs, found);
    return { diffId, ...makerOf(diffId, index), files: found.files, opaque: found.opaque };
  });
  const lost = findLost(layers);
  return layers.map(({ opaque: _opaque, ...layer }, index): ReportLayer => {
    const files = layer.files.map((file, at): ReportFile => ({
      ...file,
      lost: lost.get(`${index}:${at}`),
    }));
    return {
      ...layer,
      files,
      bytes: sum(files),
      wasted: sum(files.filter((file) => file.lost !== undefined)),
    };
  });
}

/** What later layers overwrite or delete, by `layer:file`. */
function findLost(
  layers: readonly { readonly files: readonly ReportFile[]; readonly opaque: readonly string[] }[],
): ReadonlyMap<string, NonNullable<ReportFile['lost']>> {
  const lost = new Map<string, NonNullable<ReportFile['lost']>>();
  const standing = new Map<string, Standing>();
  const lose = (path: string, how: 'overwritten' | 'deleted', layer: number): void => {
    const below = standing.get(path);
    if (below === undefined) return;
    lost.set(`${below.layer}:${below.at}`, { how, layer });
    standing.delete(path);
  };
  const loseBelow = (folder: string, layer: number): void => {
    for (const [path, { layer: from }] of standing)
      if (from < layer && path.startsWith(`${folder}/`)) lose(path, 'deleted', layer);
  };
  layers.forEach(({ files, opaque }, layer) => {
    for (const folder of opaque) loseBelow(folder, layer);
    files.forEach((file, at) => {
      if (file.kind === 'directory') return;
      lose(file.path, file.kind === 'deleted' ? 'deleted' : 'overwritten', layer);
      if (file.kind === 'deleted') loseBelow(file.path, layer);
      else standing.set(file.path, { layer, at });
    });
  });
  return lost;
}

/** What a layer directory was found to hold. */
interface FoundFiles {
  readonly files: ReportFile[];
  readonly opaque: string[];
  /** Of files with several names, which count once. */
  readonly inodes: Set<number>;
}

function walk(dir: RawPath, prefix: string, xattrs: Engine['xattrs'], found: FoundFiles): void {
  for (const name of namesOf(dir)) {
    const place = childPath(dir, name);
    const stats = lstatOf(place);
    if (stats === undefined) continue;
    const path = `${prefix}/${toText(name)}`;
    if (isWhiteout(stats)) found.files.push({ path, bytes: 0, kind: 'deleted' });
    else if (!stats.isDirectory()) {
      const isKnown = stats.nlink > 1 && found.inodes.has(stats.ino);
      found.inodes.add(stats.ino);
      found.files.push({ path, bytes: stats.isFile() && !isKnown ? stats.size : 0, kind: 'file' });
    } else {
      if (isOpaque(place, xattrs)) found.opaque.push(path);
      found.files.push({ path, bytes: 0, kind: 'directory' });
      walk(place, path, xattrs, found);
    }
  }
}

function namesOf(dir: RawPath): RawPath[] {
  try {
    return readdirSync(fsPath(dir), { encoding: 'latin1' }).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function sum(files: readonly ReportFile[]): number {
  return files.reduce((total, file) => total + file.bytes, 0);
}
