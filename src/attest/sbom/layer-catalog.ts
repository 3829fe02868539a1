import { closeSync, openSync, readFileSync, readSync, readdirSync } from 'node:fs';
import { MbuildError } from '../../diagnostics/error';
import { isWhiteout } from '../../linux/mknod';
import { fsPath, toText, type RawPath } from '../../linux/paths';
import { lstatOf, type FileStats } from '../../linux/stat';
import { childPath, isOpaque, type OverlayXattrs } from '../../snapshot/marks';
import { copyrightLicenses, copyrightOf } from './copyright';
import { ECOSYSTEMS } from './ecosystems';
import type { LayerFile, Package } from './package';

/** What one layer says of packages, without the layers below it. */
export interface LayerCatalog {
  readonly records: readonly PackageRecord[];
  /** Paths that the layer deletes, and directories of which it hides what is below. */
  readonly deleted: readonly string[];
  readonly opaque: readonly string[];
  /** Licenses of Debian's packages by name, out of their copyright files. */
  readonly licenses: Readonly<Record<string, readonly string[]>>;
  /** Files that should have been read and could not be. */
  readonly gaps: readonly Gap[];
}

/** The packages that one file tells of. */
export interface PackageRecord {
  /** In the image, without a slash at its start. */
  readonly path: string;
  readonly packages: readonly Package[];
}

/** A file of records that cannot be read, and why: what it tells of is missing. */
export interface Gap {
  readonly path: string;
  readonly reason: string;
}

/** Raised when catalogs of earlier versions say too little. */
export const CATALOG_VERSION = 1;

/** Larger files are no records: a hostile one does not fill the memory. */
const MAX_RECORD = 512 * 1024 * 1024;
/** Packages of one layer. */
const MAX_PACKAGES = 1_000_000;

/** Reads all records of packages in a layer's directory. */
export function scanLayer(directory: RawPath, xattrs: OverlayXattrs): LayerCatalog {
  const scan: Scan = { records: [], deleted: [], opaque: [], licenses: {}, gaps: [], packages: 0 };
  scanDirectory(directory, '', xattrs, scan);
  const { packages: _packages, ...catalog } = scan;
  return catalog;
}

interface Scan {
  readonly records: PackageRecord[];
  readonly deleted: string[];
  readonly opaque: string[];
  readonly licenses: Record<string, readonly string[]>;
  readonly gaps: Gap[];
  packages: number;
}

function scanDirectory(
  directory: RawPath,
  prefix: string,
  xattrs: OverlayXattrs,
  scan: Scan,
): void {
  for (const name of readdirSync(fsPath(directory), { encoding: 'latin1' }).sort()) {
    const place = childPath(directory, name);
    const stats = lstatOf(place);
    if (stats === undefined) continue;
    const path = `${prefix}${toText(name)}`;
    if (isWhiteout(stats)) scan.deleted.push(path);
    else if (stats.isFile()) scanFile(place, path, stats, scan);
    else if (stats.isDirectory()) {
      if (isOpaque(place, xattrs)) scan.opaque.push(path);
      scanDirectory(place, `${path}/`, xattrs, scan);
    }
  }
}

function scanFile(place: RawPath, path: string, stats: FileStats, scan: Scan): void {
  const executable = (stats.mode & 0o111) !== 0;
  const claim = { path, size: stats.size, executable };
  const owner = copyrightOf(path);
  const readers = ECOSYSTEMS.filter((ecosystem) => ecosystem.claims(claim));
  if (readers.length === 0 && owner === undefined) return;
  const file = fileAt(place, claim);
  try {
    if (owner !== undefined) scan.licenses[owner] = copyrightLicenses(file.read());
    const packages = readers.flatMap((ecosystem) => ecosystem.read(file));
    scan.packages += packages.length;
    if (scan.packages > MAX_PACKAGES)
      throw new MbuildError('LIMIT_EXCEEDED', `the layer has more than ${MAX_PACKAGES} packages`);
    // An empty record counts, too: it takes the place of one below.
    if (packages.length > 0 || !executable) scan.records.push({ path, packages });
  } catch (error) {
    scan.gaps.push({ path, reason: error instanceof Error ? error.message : String(error) });
  }
}

function fileAt(place: RawPath, claim: Pick<LayerFile, 'path' | 'size' | 'executable'>): LayerFile {
  return {
    ...claim,
    read() {
      if (claim.size > MAX_RECORD)
        throw new MbuildError(
          'LIMIT_EXCEEDED',
          `it has ${claim.size} bytes, more than records have`,
        );
      return readFileSync(fsPath(place));
    },
    readAt(position, length) {
      const bytes = Buffer.alloc(Math.max(0, Math.min(length, claim.size - position)));
      const file = openSync(fsPath(place), 'r');
      try {
        return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, position));
      } finally {
        closeSync(file);
      }
    },
  };
}
