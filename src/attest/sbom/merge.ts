import type { CatalogedLayer } from './catalogs';
import type { Gap } from './layer-catalog';
import { identityOf, type Package } from './package';

/** A package of an image. */
export interface FoundPackage extends Package {
  /** The layer since which it is in the image: its place from the bottom, from 0. */
  readonly layer: number;
  /** The files that tell of it, sorted. */
  readonly paths: readonly string[];
}

/** What an image's layers come to together. */
export interface MergedCatalog {
  /** Sorted by type, name and version. */
  readonly packages: readonly FoundPackage[];
  readonly gaps: readonly Gap[];
}

/** A file of records as containers see it, and since when each of its packages is there. */
type Standing = Map<string, ReadonlyMap<string, Since>>;
interface Since {
  readonly found: Package;
  readonly layer: number;
}

/**
 * Puts the catalogs of layers on top of each other, bottom first. A package that a file names in one layer and
 * still names in later ones came with the first of them.
 */
export function mergeCatalogs(layers: readonly CatalogedLayer[]): MergedCatalog {
  const standing: Standing = new Map();
  const gaps = new Map<string, Gap>();
  const licenses = new Map<string, readonly string[]>();
  layers.forEach(({ catalog }, layer) => {
    for (const directory of catalog.opaque) hide(standing, gaps, `${directory}/`);
    for (const path of catalog.deleted) {
      standing.delete(path);
      gaps.delete(path);
      hide(standing, gaps, `${path}/`);
    }
    for (const { path, packages } of catalog.records) {
      standing.set(path, sinceWhen(packages, standing.get(path), layer));
      gaps.delete(path);
    }
    for (const gap of catalog.gaps) {
      standing.delete(gap.path);
      gaps.set(gap.path, gap);
    }
    for (const [name, names] of Object.entries(catalog.licenses)) licenses.set(name, names);
  });
  return { packages: withLicenses(collect(standing), licenses), gaps: [...gaps.values()] };
}

function hide(standing: Standing, gaps: Map<string, Gap>, prefix: string): void {
  for (const path of standing.keys()) if (path.startsWith(prefix)) standing.delete(path);
  for (const path of gaps.keys()) if (path.startsWith(prefix)) gaps.delete(path);
}

function sinceWhen(
  packages: readonly Package[],
  before: ReadonlyMap<string, Since> | undefined,
  layer: number,
): ReadonlyMap<string, Since> {
  return new Map(
    packages.map((found) => {
      const identity = identityOf(found);
      return [identity, { found, layer: before?.get(identity)?.layer ?? layer }];
    }),
  );
}

/** A package that several files tell of is one, since the first of them. */
function collect(standing: Standing): FoundPackage[] {
  const all = new Map<string, FoundPackage>();
  for (const [path, packages] of standing)
    for (const [identity, { found, layer }] of packages) {
      const known = all.get(identity);
      all.set(identity, {
        ...found,
        ...known,
        layer: Math.min(layer, known?.layer ?? layer),
        paths: [...(known?.paths ?? []), path].sort(),
      });
    }
  return [...all.values()].sort(byName);
}

function byName(a: Package, b: Package): number {
  const left = `${a.type} ${a.namespace ?? ''}/${a.name} ${a.version}`;
  const right = `${b.type} ${b.namespace ?? ''}/${b.name} ${b.version}`;
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function withLicenses(
  packages: readonly FoundPackage[],
  licenses: ReadonlyMap<string, readonly string[]>,
): FoundPackage[] {
  return packages.map((found) => {
    const own = found.type === 'deb' ? licenses.get(found.name) : undefined;
    return own === undefined || own.length === 0 ? found : { ...found, licenses: own };
  });
}
