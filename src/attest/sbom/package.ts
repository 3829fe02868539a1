/** The kinds of packages, by the types of package URLs (purl specification, "known types"). */
export type PackageType =
  | 'deb'
  | 'apk'
  | 'rpm'
  | 'npm'
  | 'pypi'
  | 'gem'
  | 'golang'
  | 'cargo'
  | 'maven'
  | 'composer'
  | 'nuget';

/** A package, as a package manager's records have it. */
export interface Package {
  readonly type: PackageType;
  /** The part of the name before the last slash: a vendor, a scope, a group. */
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly version: string;
  /** The machine that it is built for, where the records say so. */
  readonly architecture?: string | undefined;
  /** As the records have them: SPDX expressions where these are such. */
  readonly licenses?: readonly string[] | undefined;
  /** The source package that it was built from, where it has another name or version. */
  readonly source?: { readonly name: string; readonly version?: string | undefined } | undefined;
  /** Of rpm: what goes before the version. */
  readonly epoch?: string | undefined;
}

/** A file of a layer that may hold records of packages. */
export interface LayerFile {
  /** In the image, without a slash at its start. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly executable: boolean;
  /** All of it. @throws MbuildError LIMIT_EXCEEDED for a file that is larger than records are. */
  read(): Buffer;
  /** Some bytes of it: fewer than asked for where it ends. */
  readAt(position: number, length: number): Buffer;
}

/** One package manager: which files are its records, and what these say. One file in ecosystems/, one line in its table. */
export interface Ecosystem {
  readonly name: string;
  /** Told by the path alone, and by what a directory's entry says. */
  claims(file: Pick<LayerFile, 'path' | 'size' | 'executable'>): boolean;
  /**
   * The packages that the file tells of.
   * @throws what cannot be read: the file is named as a gap then, and nothing is taken from it.
   */
  read(file: LayerFile): readonly Package[];
}

/** Two packages with one identity are one. */
export function identityOf({
  type,
  namespace = '',
  name,
  version,
  epoch = '',
  architecture = '',
}: Package): string {
  return [type, namespace, name, epoch, version, architecture].join('\0');
}

/** A text that is not empty, or nothing: for members of foreign JSON. */
export function textIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
