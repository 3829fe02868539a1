import { readdirSync } from 'node:fs';
import type { Engine } from '../engine';
import { errnoOf } from '../diagnostics/error';
import { isWhiteout } from '../linux/mknod';
import { fsPath, toRaw, toText, type RawPath } from '../linux/paths';
import { lstatOf } from '../linux/stat';
import { chainIds } from '../oci/digest';
import { childPath, isOpaque } from '../snapshot/marks';
import type { BuildRecord } from '../history/build-record';

/** A layer of an image with its files. */
export interface ReportLayer {
  readonly diffId: string;
  /** What made it: an instruction with its line, or the base image. */
  readonly title: string;
  readonly line?: number | undefined;
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

/** The layers of the image that a build made, bottom first; none when the image is not in the store any more. */
export function reportLayers(record: BuildRecord, engine: Pick<Engine, 'images' | 'layers' | 'snapshots' | 'xattrs'>): ReportLayer[] {
  const image = record.result?.imageId === undefined ? undefined : engine.images.find(record.result.imageId);
  if (image === undefined) return [];
  const diffIds = image.config.rootfs.diff_ids;
  const layers = chainIds(diffIds).map((chainId, index) => {
    const id = engine.layers.get(chainId)?.id;
    const step = record.steps.findLast((candidate) => candidate.layer?.diffId === diffIds[index]);
    const files: ReportFile[] = [];
    const opaque: string[] = [];
    if (id !== undefined) walk(toRaw(engine.snapshots.layerDir(id)), '', engine.xattrs, files, opaque);
    return { diffId: diffIds[index] ?? '', title: step?.text ?? 'base image', line: step?.line, files, opaque };
  });
  const lost = findLost(layers);
  return layers.map(({ opaque: _opaque, ...layer }, index): ReportLayer => {
    const files = layer.files.map((file, at): ReportFile => ({ ...file, lost: lost.get(`${index}:${at}`) }));
    return { ...layer, files, bytes: sum(files), wasted: sum(files.filter((file) => file.lost !== undefined)) };
  });
}

/** What later layers overwrite or delete, by `layer:file`. */
function findLost(layers: readonly { readonly files: readonly ReportFile[]; readonly opaque: readonly string[] }[]): ReadonlyMap<string, NonNullable<ReportFile['lost']>> {
  const lost = new Map<string, NonNullable<ReportFile['lost']>>();
  const standing = new Map<string, Standing>();
  const lose = (path: string, how: 'overwritten' | 'deleted', layer: number): void => {
    const below = standing.get(path);
    if (below === undefined) return;
    lost.set(`${below.layer}:${below.at}`, { how, layer });
    standing.delete(path);
  };
  const loseBelow = (folder: string, layer: number): void => {
    for (const [path, { layer: from }] of standing) if (from < layer && path.startsWith(`${folder}/`)) lose(path, 'deleted', layer);
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

function walk(dir: RawPath, prefix: string, xattrs: Engine['xattrs'], files: ReportFile[], opaque: string[]): void {
  for (const name of namesOf(dir)) {
    const place = childPath(dir, name);
    const stats = lstatOf(place);
    if (stats === undefined) continue;
    const path = `${prefix}/${toText(name)}`;
    if (isWhiteout(stats)) files.push({ path, bytes: 0, kind: 'deleted' });
    else if (!stats.isDirectory()) files.push({ path, bytes: stats.isFile() ? stats.size : 0, kind: 'file' });
    else {
      if (isOpaque(place, xattrs)) opaque.push(path);
      files.push({ path, bytes: 0, kind: 'directory' });
      walk(place, path, xattrs, files, opaque);
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
