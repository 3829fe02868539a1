import path from 'node:path';
import { namesIn, readJson, replaceFile } from '../../content/files';
import { MbuildError } from '../../diagnostics/error';
import { removeFile } from '../../linux/remove-tree';
import { digestOf, hexOf, type Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { isIndexType } from '../../oci/media-types';
import { formatPlatform, hostPlatform, normalizePlatform, type Platform } from '../../oci/platform';
import { parseIndex } from '../../oci/read-image';
import { familiarName, formatReference, type Reference } from '../../oci/reference';
import type { ImageSource } from '../../registry/registry';
import type { Image } from '../store/image-store';
import { describeRemote } from './describe-image';

/** One manifest of a list that is being put together. */
export interface ListedManifest {
  /** Full name under which it was found. */
  readonly source: string;
  /** With its platform, and what it is annotated with. */
  readonly descriptor: Descriptor;
  /** The image of the store that it is; absent for one that a registry has. */
  readonly image?: Digest | undefined;
}

/**
 * `<root>/manifest-lists/<hash of the name>.json`: a list before it is pushed, as
 * `docker manifest create` makes them.
 */
export interface ManifestList {
  /** Full name (`formatReference`). */
  readonly name: string;
  readonly manifests: readonly ListedManifest[];
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** Manifest lists that are being put together, by name. */
export class ManifestLists {
  readonly #folder: string;

  constructor(private readonly root: string) {
    this.#folder = path.join(root, 'manifest-lists');
  }

  get(name: string): ManifestList | undefined {
    return readJson<ManifestList>(this.#file(name));
  }

  put(list: ManifestList): void {
    replaceFile(this.root, this.#file(list.name), JSON.stringify(list));
  }

  delete(name: string): void {
    removeFile(this.#file(name));
  }

  list(): ManifestList[] {
    return namesIn(this.#folder).flatMap(
      (file) => readJson<ManifestList>(path.join(this.#folder, file)) ?? [],
    );
  }

  #file(name: string): string {
    return path.join(this.#folder, `${hexOf(digestOf(name))}.json`);
  }
}

/**
 * What a name adds to a list: the manifest that a registry has under it, or each of an index's,
 * with their platforms.
 * @throws MbuildError IMAGE_NOT_FOUND, IMAGE_INVALID, and what {@link ImageSource} throws.
 */
export async function listedManifests(
  ref: Reference,
  registry: ImageSource,
  signal: AbortSignal,
): Promise<ListedManifest[]> {
  const found = await registry.manifest(ref, signal);
  const source = (digest: Digest): string =>
    formatReference({ registry: ref.registry, repository: ref.repository, digest });
  if (isIndexType(found.descriptor.mediaType)) {
    return parseIndex(found.bytes, familiarName(ref)).manifests.map((descriptor) => ({
      source: source(descriptor.digest),
      descriptor,
    }));
  }
  const { config } = await describeRemote(found, ref, hostPlatform(), { registry, signal });
  const platform = shortPlatform(config);
  return [
    {
      source: ref.digest === undefined ? formatReference(ref) : source(ref.digest),
      descriptor: { ...found.descriptor, platform },
    },
  ];
}

/** The same for images of the store under a name. */
export function listedImages(images: readonly Image[], name: string): ListedManifest[] {
  return images.map((image) => ({
    source: name,
    image: image.id,
    descriptor: { ...image.descriptor, platform: shortPlatform(image.config) },
  }));
}

/** Adds manifests; one that is there already, or is for a platform that has one, is replaced. */
export function withManifests(list: ManifestList, added: readonly ListedManifest[]): ManifestList {
  const keys = new Set(added.map(keyOf));
  return {
    ...list,
    manifests: [...list.manifests.filter((entry) => !keys.has(keyOf(entry))), ...added],
  };
}

/**
 * Finds one manifest of a list: by its name, its digest or its platform.
 * @throws MbuildError IMAGE_NOT_FOUND listing what there is.
 */
export function entryOf(list: ManifestList, text: string, full: string | undefined): number {
  const at = list.manifests.findIndex(
    ({ source, descriptor }) =>
      source === full ||
      descriptor.digest === text ||
      (descriptor.platform !== undefined && formatPlatform(descriptor.platform) === text),
  );
  if (at >= 0) return at;
  throw new MbuildError(
    'IMAGE_NOT_FOUND',
    `manifest for image ${text} does not exist in ${list.name}`,
    { hint: `the list has ${list.manifests.map(({ source }) => source).join(', ')}` },
  );
}

function keyOf({ descriptor: { digest, platform } }: ListedManifest): string {
  return platform === undefined || platform.os === 'unknown'
    ? digest
    : formatPlatform(normalizePlatform(platform));
}

function shortPlatform(platform: Platform): Platform {
  const version = platform['os.version'];
  return {
    ...normalizePlatform(platform),
    ...(version === undefined ? {} : { 'os.version': version }),
  };
}
