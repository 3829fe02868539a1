import { statSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';
import type { Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { MediaType, isIndexType, isManifestType } from '../../oci/media-types';
import type { Platform } from '../../oci/platform';
import { parseIndex } from '../../oci/read-image';
import { familiarRepository, parseReference } from '../../oci/reference';
import { isAttestation } from './docker-archive';
import { blobName, type ImageFiles } from './image-files';

/** One image of the directory of an OCI layout. */
export interface LayoutImage {
  readonly directory: string;
  /** As in its index; the only image when neither tag nor digest is given. */
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
  readonly platform: Platform;
}

/** An image that a layout's index lists, with the names that it has there. */
export interface LayoutEntry {
  readonly entry: Descriptor;
  readonly names: readonly string[];
}

const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';

/**
 * The images of a layout. `undefined` when it has no index.json. @throws MbuildError IMAGE_INVALID.
 */
export async function layoutEntries(files: ImageFiles): Promise<LayoutEntry[] | undefined> {
  const bytes = await files.read('index.json');
  if (bytes === undefined) return undefined;
  const images = imagesOf(bytes, files.label);
  return images.map((entry) => ({ entry, names: namesOf(entry, images) }));
}

/**
 * The entry of a layout that is asked for.
 * @throws MbuildError IMAGE_NOT_FOUND, ARCHIVE_INVALID, IMAGE_INVALID.
 */
export async function chooseEntry(
  { directory, tag, digest }: LayoutImage,
  files: ImageFiles,
): Promise<Descriptor> {
  const bytes = await files.read('index.json');
  if (bytes === undefined)
    throw new MbuildError(
      'ARCHIVE_INVALID',
      `${directory} has no index.json, so it is not an image layout`,
    );
  const images = imagesOf(bytes, directory);
  // A digest may name what an index of the layout lists rather than the layout itself.
  if (digest !== undefined)
    return images.find((entry) => entry.digest === digest) ?? unlisted(directory, digest);
  const tagged = images.filter((entry) => tagOf(entry) === (tag ?? 'latest'));
  const candidates = tagged.length > 0 || tag !== undefined ? tagged : images;
  const distinct = new Map(candidates.map((entry) => [entry.digest, entry]));
  const [first, ...others] = distinct.values();
  if (first !== undefined && others.length === 0) return first;
  const tags = [...new Set(images.flatMap((entry) => tagOf(entry) ?? []))].join(', ');
  throw new MbuildError(
    'IMAGE_NOT_FOUND',
    first === undefined
      ? `${directory} holds no image ${tag ?? ''}`.trim()
      : `${directory} holds several images`,
    {
      hint: tags === '' ? undefined : `its tags are ${tags}: write oci-layout://${directory}:TAG`,
    },
  );
}

function imagesOf(index: Buffer, label: string): Descriptor[] {
  return parseIndex(index, label).manifests.filter(
    (entry) =>
      (isIndexType(entry.mediaType) || isManifestType(entry.mediaType)) && !isAttestation(entry),
  );
}

function unlisted(directory: string, digest: Digest): Descriptor {
  const file = path.join(directory, blobName(digest));
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return { mediaType: MediaType.ociManifest, digest, size };
}

function tagOf({ annotations }: Descriptor): string | undefined {
  const name = annotations?.[REF_NAME] ?? annotations?.[CONTAINERD_NAME];
  return name?.slice(name.lastIndexOf(':') + 1);
}

/**
 * The full name where the writer left one; `ref.name` alone is often no more than a tag, which
 * names nothing. umoci copies an entry with all of its annotations when it gives a new tag: of
 * several with one full name, the tags are right.
 */
function namesOf(entry: Descriptor, all: readonly Descriptor[]): string[] {
  const full = entry.annotations?.[CONTAINERD_NAME];
  const short = entry.annotations?.[REF_NAME];
  const ref = full === undefined ? undefined : parseReference(full);
  if (full === undefined || ref === undefined)
    return short !== undefined && /[:/]/.test(short) && parseReference(short) !== undefined
      ? [short]
      : [];
  const tags = all
    .filter(({ annotations }) => annotations?.[CONTAINERD_NAME] === full)
    .map(({ annotations }) => annotations?.[REF_NAME]);
  const retagged = `${familiarRepository(ref)}:${short}`;
  const isCopied = short !== undefined && new Set(tags).size > 1;
  return [isCopied && parseReference(retagged) !== undefined ? retagged : full];
}
