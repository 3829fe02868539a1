import { hashFiles } from '../context/hash-files';
import type { Engine } from '../engine';
import { makersOf, type LayerMaker } from '../history/layer-makers';
import { layerRecords } from '../images/store/assemble';
import type { Image } from '../images/store/image-store';
import { toRaw, type RawPath } from '../linux/paths';
import { lstatOf, type FileStats } from '../linux/stat';
import { imageLayers, type ReportLayer } from './layers';

/** What of an image's bytes nobody needs. */
export interface Waste {
  /** Of the files of all layers. */
  readonly bytes: number;
  /**
   * In files that a later layer overwrites or deletes, and in further copies of files that are
   * seen.
   */
  readonly lost: number;
  readonly duplicated: number;
  /** Those with lost files, bottom first. */
  readonly layers: readonly WastefulLayer[];
  /** What wastes most first. */
  readonly duplicates: readonly Duplicates[];
}

/** A layer with files that are in the image and that no container sees. */
export interface WastefulLayer extends LayerMaker {
  /** From 1, bottom first. */
  readonly layer: number;
  readonly bytes: number;
  readonly lost: number;
  /** The largest first. */
  readonly files: readonly LostFile[];
}

export interface LostFile {
  readonly path: string;
  readonly bytes: number;
  readonly how: 'overwritten' | 'deleted';
  /** What did it. */
  readonly by: LayerMaker & { readonly layer: number };
}

/** Files with the same content that are not names of one file. */
export interface Duplicates {
  /** Of each. */
  readonly bytes: number;
  readonly files: readonly { readonly path: string; readonly layer: number }[];
}

/** A file that containers see, where it lies on the disk. */
interface SeenFile {
  readonly path: string;
  readonly layer: number;
  readonly hostPath: RawPath;
  readonly stats: FileStats;
}

/**
 * Finds what an image wastes. Instructions have their lines where this store has the record of the
 * image's build.
 */
export function findWaste(image: Image, engine: Engine): Waste {
  const layers = imageLayers(image, makersOf(image, engine.root), engine);
  const wasteful = layers.flatMap((layer, i): WastefulLayer[] =>
    layer.wasted === 0
      ? []
      : [
          {
            layer: i + 1,
            title: layer.title,
            line: layer.line,
            bytes: layer.bytes,
            lost: layer.wasted,
            files: lostFiles(layer, layers),
          },
        ],
  );
  const duplicates = findDuplicates(seenFiles(image, layers, engine));
  const sum = (numbers: readonly number[]): number =>
    numbers.reduce((total, number) => total + number, 0);
  return {
    bytes: sum(layers.map(({ bytes }) => bytes)),
    lost: sum(wasteful.map(({ lost }) => lost)),
    duplicated: sum(duplicates.map(wastedBy)),
    layers: wasteful,
    duplicates,
  };
}

/** Bytes of all copies but one. */
export function wastedBy({ bytes, files }: Duplicates): number {
  return bytes * (files.length - 1);
}

function lostFiles({ files }: ReportLayer, layers: readonly ReportLayer[]): LostFile[] {
  const lost = files.flatMap(({ path, bytes, lost: loss }): LostFile[] => {
    const by = loss === undefined ? undefined : layers[loss.layer];
    return loss === undefined || by === undefined || bytes === 0
      ? []
      : [
          {
            path,
            bytes,
            how: loss.how,
            by: { layer: loss.layer + 1, title: by.title, line: by.line },
          },
        ];
  });
  return lost.sort((a, b) => b.bytes - a.bytes);
}

/** Names that are not UTF-8 are left out: a report cannot show them. */
function seenFiles(image: Image, layers: readonly ReportLayer[], engine: Engine): SeenFile[] {
  const records = layerRecords(image.config, engine);
  return layers.flatMap(({ files }, i) =>
    files.flatMap(({ path, kind, bytes, lost }): SeenFile[] => {
      const record = records[i];
      if (record === undefined || kind !== 'file' || bytes === 0 || lost !== undefined) return [];
      const hostPath = `${toRaw(engine.snapshots.layerDir(record.id))}${toRaw(path)}`;
      const stats = lstatOf(hostPath);
      return stats?.isFile() === true ? [{ path, layer: i + 1, hostPath, stats }] : [];
    }),
  );
}

/** Only files of the same size are read. */
function findDuplicates(seen: readonly SeenFile[]): Duplicates[] {
  const files = [
    ...new Map(seen.map((file) => [`${file.stats.dev}:${file.stats.ino}`, file])).values(),
  ];
  const alike = [...groupBy(files, ({ stats }) => String(stats.size)).values()]
    .filter((group) => group.length > 1)
    .flat();
  const hashes = hashFiles(
    alike.map(({ hostPath, stats }) => ({
      hostPath,
      ino: stats.ino,
      size: stats.size,
      mtimeMs: stats.mtimeMs,
      ctimeMs: stats.ctimeMs,
    })),
  );
  const byContent = groupBy(
    alike.map((file, i) => ({ file, hash: hashes[i]?.hash ?? '' })),
    ({ hash }) => hash,
  );
  return [...byContent.values()]
    .filter((group) => group.length > 1)
    .map((group): Duplicates => ({
      bytes: group[0]?.file.stats.size ?? 0,
      files: group.map(({ file: { path, layer } }) => ({ path, layer })),
    }))
    .sort((a, b) => wastedBy(b) - wastedBy(a));
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
