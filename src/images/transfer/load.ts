import { statSync } from 'node:fs';
import { MbuildError } from '../../diagnostics/error';
import type { DiffID, Digest } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { hostPlatform, type Platform } from '../../oci/platform';
import { MAX_DESCRIPTION } from '../../oci/read-image';
import { familiarName, formatReference, parseReference, type Reference } from '../../oci/reference';
import type { ImageOrigin } from '../../registry/policy';
import type { RawManifest } from '../../registry/registry';
import type { Image } from '../store/image-store';
import { dropDamaged } from '../store/trust';
import { describeImage, type DescribedImage } from './describe-image';
import { dockerCandidates, type Candidate } from './docker-archive';
import {
  blobName,
  directoryFiles,
  lacks,
  openFiles,
  type ImageFiles,
  type LoadSource,
} from './image-files';
import { chooseEntry, layoutEntries, type LayoutImage } from './layout';
import { withLease, type Transfer, type TransferSetting } from './transfer';
import { unpackLayers } from './unpack';

/** One image that came out of an archive. */
export interface Loaded {
  readonly image: Image;
  /** As docker prints them, e.g. `app:latest`; none for an image without a name. */
  readonly names: readonly string[];
}

/** An image of the files whose manifest and config were read. */
interface Found {
  readonly image: DescribedImage;
  readonly names: readonly string[];
  readonly layerFiles?: readonly string[] | undefined;
}

/**
 * Loads all images of an archive or OCI layout: unpacks them, names them as the archive says, keeps
 * their blobs. Every digest is verified. Of an index, the image of `platform` (the host's) is
 * taken.
 * @throws MbuildError ARCHIVE_INVALID, IMAGE_INVALID, DIGEST_MISMATCH, PLATFORM_NOT_FOUND,
 * NO_SPACE, CANCELED.
 */
export function loadImages(
  source: LoadSource,
  platform: Platform | undefined,
  setting: TransferSetting,
): Promise<Loaded[]> {
  return withLease(setting, async (transfer) => {
    const files = await openFiles(source, transfer);
    await transfer.services.admit?.(await originOf(source, files));
    const candidates =
      (await dockerCandidates(files, transfer.services.content)) ??
      (await layoutCandidates(files, transfer));
    if (candidates === undefined) throw await notAnImage(files);
    const found = await describeAll(candidates, platform ?? hostPlatform(), files, transfer);
    if (found.length === 0)
      throw new MbuildError('ARCHIVE_INVALID', `${files.label} holds no images`);
    const loaded: Loaded[] = [];
    for (const one of found) loaded.push(await loadOne(one, files, transfer));
    return loaded;
  });
}

/**
 * Brings one image of a layout's directory into the store, without a name.
 * @throws MbuildError as {@link loadImages}, IMAGE_NOT_FOUND.
 */
export function loadFromLayout(wanted: LayoutImage, setting: TransferSetting): Promise<Image> {
  return withLease(setting, async (transfer) => {
    const { directory, platform } = wanted;
    if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true)
      throw new MbuildError(
        'IMAGE_NOT_FOUND',
        `${directory} is not a directory with an image layout`,
      );
    await transfer.services.admit?.({ transport: 'oci', file: directory });
    const files = directoryFiles(directory, transfer.services.content);
    const top = await manifestFile(await chooseEntry(wanted, files), files, transfer);
    const image = await describe(top, platform, files, transfer);
    return (await loadOne({ image, names: [] }, files, transfer)).image;
  });
}

/** What containers' policy calls it. */
async function originOf(source: LoadSource, files: ImageFiles): Promise<ImageOrigin> {
  if ((await files.read('manifest.json')) !== undefined)
    return { transport: 'docker-archive', file: files.label };
  const isDirectory = 'path' in source && statSync(source.path).isDirectory();
  return { transport: isDirectory ? 'oci' : 'oci-archive', file: files.label };
}

async function layoutCandidates(
  files: ImageFiles,
  transfer: Transfer,
): Promise<Candidate[] | undefined> {
  const entries = await layoutEntries(files);
  if (entries === undefined) return undefined;
  const candidates: Candidate[] = [];
  for (const { entry, names } of entries)
    candidates.push({ top: await manifestFile(entry, files, transfer), names });
  return candidates;
}

/** Entries that lead to the same manifest are one image with several names. */
async function describeAll(
  candidates: readonly Candidate[],
  platform: Platform,
  files: ImageFiles,
  transfer: Transfer,
): Promise<Found[]> {
  const found = new Map<Digest, Found>();
  for (const { top, names, layerFiles } of candidates) {
    const image = await describe(top, platform, files, transfer);
    const { digest } = image.descriptor;
    const before = found.get(digest)?.names ?? [];
    found.set(digest, { image, names: [...before, ...names], layerFiles });
  }
  return [...found.values()];
}

function describe(
  top: RawManifest,
  platform: Platform,
  files: ImageFiles,
  transfer: Transfer,
): Promise<DescribedImage> {
  return describeImage(top, platform, {
    name: files.label,
    manifest: (entry) => manifestFile(entry, files, transfer),
    config: (blob) => configFile(blob, files, transfer),
  });
}

async function manifestFile(
  { mediaType, digest, size }: Descriptor,
  files: ImageFiles,
  { services: { content }, lease }: Transfer,
): Promise<RawManifest> {
  if (size > MAX_DESCRIPTION)
    throw new MbuildError('LIMIT_EXCEEDED', `the manifest ${digest} has ${size} bytes`);
  lease.hold({ blobs: [digest] });
  if ((await files.blob(blobName(digest), { digest, size })) === undefined)
    throw lacks(files, digest);
  return { descriptor: { mediaType, digest, size }, bytes: content.read(digest) };
}

async function configFile(
  blob: Descriptor,
  files: ImageFiles,
  { services, lease }: Transfer,
): Promise<Buffer> {
  lease.hold({ blobs: [blob.digest] });
  await dropDamaged(blob.digest, services);
  const isThere =
    services.content.size(blob.digest) !== undefined ||
    (await files.blob(blobName(blob.digest), blob)) !== undefined;
  if (!isThere) throw lacks(files, blob.digest);
  return services.content.read(blob.digest);
}

async function loadOne(
  { image: { manifest, config, descriptor }, names, layerFiles }: Found,
  files: ImageFiles,
  transfer: Transfer,
): Promise<Loaded> {
  const { services, lease, scope } = transfer;
  lease.hold({ blobs: manifest.layers.map((layer) => layer.digest) });
  const layers = manifest.layers.map((blob, i) => ({
    blob,
    diffId: config.rootfs.diff_ids[i] ?? (blob.digest as string as DiffID),
    fetch: async () => {
      if (services.content.size(blob.digest) !== undefined) return;
      if ((await files.blob(layerFiles?.[i] ?? blobName(blob.digest), blob)) === undefined)
        throw lacks(files, blob.digest);
    },
  }));
  const stack = await unpackLayers(layers, transfer);
  const refs = names.flatMap((name) => {
    const ref = nameToGive(name);
    if (ref === undefined)
      scope.events({
        kind: 'warning',
        diagnostic: {
          severity: 'warning',
          code: 'ImageName',
          message: `${files.label} gives an image the name ${JSON.stringify(name)}, which is not valid; the image is loaded without it`,
        },
      });
    return ref ?? [];
  });
  const image = services.images.put(
    { config, manifest, descriptor, stack },
    refs.map(formatReference),
  );
  return { image, names: refs.map(familiarName) };
}

/** A name with a digest is what a registry says of an image; an archive cannot. */
function nameToGive(name: string): Reference | undefined {
  const ref = parseReference(name);
  return ref?.digest === undefined ? ref : undefined;
}

async function notAnImage(files: ImageFiles): Promise<MbuildError> {
  if ((await files.read('repositories')) !== undefined)
    return new MbuildError(
      'ARCHIVE_INVALID',
      `${files.label} is in the format of docker before version 1.10, which mbuild does not support`,
      { hint: 'load it into a newer docker and save it again' },
    );
  return new MbuildError(
    'ARCHIVE_INVALID',
    `${files.label} holds neither manifest.json nor index.json, so it is not an image`,
    { hint: 'to make an image from a root file system: mbuild import' },
  );
}
