import { readFileSync } from 'node:fs';
import type { Engine } from '../../engine';
import type { Image } from '../../images/store/image-store';
import { fsPath, toRaw } from '../../linux/paths';
import { makersOf, type LayerMaker } from '../../history/layer-makers';
import { catalogImage } from './catalogs';
import type { Gap } from './layer-catalog';
import { mergeCatalogs, type FoundPackage } from './merge';

/** What an image is made of, by the records in its layers. */
export interface Sbom {
  /** The name that the image was asked for by. */
  readonly name: string;
  readonly digest: string;
  readonly distribution: Distribution | undefined;
  readonly packages: readonly SbomPackage[];
  /** Records that could not be read: what they tell of is missing. */
  readonly gaps: readonly Gap[];
}

export interface SbomPackage extends FoundPackage {
  readonly diffId: string;
  /** What made its layer, and its line in the Dockerfile where this store built the image. */
  readonly instruction: string;
  readonly line?: number | undefined;
}

/** Out of os-release(5). */
export interface Distribution {
  readonly id: string;
  readonly version: string | undefined;
  readonly name: string | undefined;
}

/**
 * Finds the packages of an image. @param makerOf what made each layer; by default as this store's
 * records of builds have it.
 * @throws MbuildError IMAGE_INVALID.
 */
export function sbomOf(
  image: Image,
  name: string,
  engine: Engine,
  makerOf: (diffId: string, index: number) => LayerMaker = makersOf(image, engine.root),
): Sbom {
  const layers = catalogImage(image, engine);
  const { packages, gaps } = mergeCatalogs(layers);
  return {
    name,
    digest: image.descriptor.digest,
    distribution: distributionOf(image, engine),
    packages: packages.map((found) => {
      const diffId = layers[found.layer]?.diffId ?? '';
      const { title, line } = makerOf(diffId, found.layer);
      return { ...found, diffId, instruction: title, line };
    }),
    gaps,
  };
}

function distributionOf(image: Image, engine: Engine): Distribution | undefined {
  const view = engine.snapshots.view(image.stack);
  const entry = view.stat(toRaw('/etc/os-release')) ?? view.stat(toRaw('/usr/lib/os-release'));
  if (entry === undefined || !entry.stats.isFile() || entry.stats.size > 64 * 1024)
    return undefined;
  const text = readFileSync(fsPath(entry.hostPath), 'utf8');
  const value = (key: string): string | undefined =>
    new RegExp(`^${key}=["']?([^"'\\n]*)["']?$`, 'm').exec(text)?.[1];
  const id = value('ID');
  if (id === undefined) return undefined;
  return { id, version: value('VERSION_ID'), name: value('PRETTY_NAME') };
}
