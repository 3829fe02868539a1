import type { Engine } from '../engine';
import { layerRecords } from '../images/store/assemble';
import type { Image } from '../images/store/image-store';
import { openLayerTar } from '../images/store/layer-blobs';
import type { LayerRecord } from '../images/store/layer-index';
import type { ImageServices } from '../images/store/services';
import type { HistoryEntry, ImageConfig, Manifest } from '../oci/image';
import { compareTars, compareWithNone, type OpenTar } from './compare-tars';
import { compareValues } from './compare-values';
import {
  differs,
  type CompareOptions,
  type FieldDifference,
  type TarDifference,
} from './difference';

/** An image and the store that it is in. */
export interface PlacedImage {
  readonly image: Image;
  readonly services: Engine;
}

/** A layer that two images do not have alike. */
export interface LayerDifference extends TarDifference {
  /** From 1, bottom first. */
  readonly layer: number;
  readonly first?: LayerSide | undefined;
  readonly second?: LayerSide | undefined;
}

/** A layer in one of the images. */
export interface LayerSide {
  readonly diffId: string;
  /** The line of history that made it. */
  readonly madeBy?: string | undefined;
}

/** Why two images are not the same. */
export interface ImageDifference {
  /** Nothing differs that counts. */
  readonly same: boolean;
  /** Whether the ids, and the digests of the manifests, are the same. */
  readonly sameId: boolean;
  readonly sameDigest: boolean;
  /** Bottom first. */
  readonly layers: readonly LayerDifference[];
  /** Of the config, but for the layers; then of the history. */
  readonly config: readonly FieldDifference[];
  readonly history: readonly FieldDifference[];
  /** Of the manifest, but for what follows from the above. */
  readonly manifest: readonly FieldDifference[];
  /** Times that differ and do not count: of files, and of config and history. */
  readonly ignoredTimes: number;
}

/** Compares two images: layers (files and their fields), config, history, manifest. */
export async function compareImages(
  first: PlacedImage,
  second: PlacedImage,
  options: CompareOptions,
): Promise<ImageDifference> {
  const layers = await compareLayers(first, second, options);
  const created = compareTimes(first.image.config, second.image.config);
  const config = [
    ...compareValues(plainConfig(first.image.config), plainConfig(second.image.config), ''),
    ...(options.ignoreTimes ? [] : created.filter(({ field }) => field === 'created')),
  ];
  const history = [
    ...compareValues(
      plainHistory(first.image.config),
      plainHistory(second.image.config),
      'history',
    ),
    ...(options.ignoreTimes ? [] : created.filter(({ field }) => field !== 'created')),
  ];
  const sameId = first.image.id === second.image.id;
  const sameDigest = first.image.descriptor.digest === second.image.descriptor.digest;
  const counted = layers.filter(differs);
  const ignoredTimes = options.ignoreTimes
    ? created.length + layers.reduce((sum, { timesAlone }) => sum + timesAlone, 0)
    : 0;
  const nothingInside = counted.length + config.length + history.length + ignoredTimes === 0;
  const bytesOfConfig: FieldDifference[] =
    nothingInside && !sameId
      ? [{ field: 'the bytes of the config', first: first.image.id, second: second.image.id }]
      : [];
  const manifest = compareManifests(
    first.image,
    second.image,
    nothingInside && sameId && !sameDigest,
  );
  return {
    same:
      counted.length + config.length + history.length + bytesOfConfig.length + manifest.length ===
      0,
    sameId,
    sameDigest,
    layers: counted,
    config: [...config, ...bytesOfConfig],
    history,
    manifest,
    ignoredTimes,
  };
}

/** The tar of a layer of a store. */
export function tarOf(record: LayerRecord, services: ImageServices): OpenTar {
  return () => openLayerTar(record, services);
}

/** Layers by their place; also those that differ in times alone, where those do not count. */
async function compareLayers(
  first: PlacedImage,
  second: PlacedImage,
  options: CompareOptions,
): Promise<LayerDifference[]> {
  const [firsts, seconds] = [
    layerRecords(first.image.config, first.services),
    layerRecords(second.image.config, second.services),
  ];
  const differences: LayerDifference[] = [];
  for (let i = 0; i < Math.max(firsts.length, seconds.length); i++) {
    const [a, b] = [firsts[i], seconds[i]];
    if (a?.diffId === b?.diffId) continue;
    differences.push({
      layer: i + 1,
      first: sideOf(a, i, first.image.config),
      second: sideOf(b, i, second.image.config),
      ...(await compareRecords(
        a === undefined ? undefined : tarOf(a, first.services),
        b === undefined ? undefined : tarOf(b, second.services),
        options,
      )),
    });
  }
  return differences;
}

/** How two layers differ, of which one may be missing. */
export async function compareRecords(
  first: OpenTar | undefined,
  second: OpenTar | undefined,
  options: CompareOptions,
): Promise<TarDifference> {
  if (first !== undefined && second !== undefined) return compareTars(first, second, options);
  if (first !== undefined) return compareWithNone(first, 'only in the first');
  return second === undefined
    ? { files: [], timesAlone: 0 }
    : compareWithNone(second, 'only in the second');
}

function sideOf(
  record: LayerRecord | undefined,
  index: number,
  config: ImageConfig,
): LayerSide | undefined {
  return record === undefined
    ? undefined
    : { diffId: record.diffId, madeBy: historyOfLayers(config)[index]?.created_by };
}

/** The lines of history that made a layer, in their order. */
function historyOfLayers({ history = [] }: ImageConfig): HistoryEntry[] {
  return history.filter((entry) => entry.empty_layer !== true);
}

/** Of the image, and of the lines of history that both have. */
function compareTimes(first: ImageConfig, second: ImageConfig): FieldDifference[] {
  const both = Math.min(first.history?.length ?? 0, second.history?.length ?? 0);
  const timesOf = ({ created, history = [] }: ImageConfig): unknown => ({
    created,
    history: history.slice(0, both).map((entry) => ({ created: entry.created })),
  });
  return compareValues(timesOf(first), timesOf(second), '');
}

function plainConfig({
  created: _created,
  history: _history,
  rootfs: _rootfs,
  ...config
}: ImageConfig): unknown {
  return config;
}

function plainHistory({ history = [] }: ImageConfig): unknown {
  return history.map(({ created: _created, ...entry }) => entry);
}

/**
 * Layers that differ have other blobs, and other configs another descriptor: what follows is not
 * told again.
 */
function compareManifests(first: Image, second: Image, bytesDiffer: boolean): FieldDifference[] {
  const both = Math.min(first.manifest.layers.length, second.manifest.layers.length);
  const shown = ({ manifest, config }: Image, other: Image): unknown => ({
    ...withoutParts(manifest),
    config: { mediaType: manifest.config.mediaType },
    layers: manifest.layers
      .slice(0, both)
      .map((blob, i) =>
        config.rootfs.diff_ids[i] === other.config.rootfs.diff_ids[i]
          ? blob
          : { mediaType: blob.mediaType },
      ),
  });
  const fields = compareValues(shown(first, second), shown(second, first), '');
  return fields.length > 0 || !bytesDiffer
    ? fields
    : [
        {
          field: 'the bytes of the manifest',
          first: first.descriptor.digest,
          second: second.descriptor.digest,
        },
      ];
}

function withoutParts({ config: _config, layers: _layers, ...rest }: Manifest): object {
  return rest;
}
