import { createReadStream, existsSync, statSync } from 'node:fs';
import path from 'node:path';
import type { ContentStore } from '../../content/store';
import { storeError } from '../../content/files';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { toText } from '../../linux/paths';
import { hexOf, isDigest, type DiffID, type Digest } from '../../oci/digest';
import type { Descriptor, Manifest } from '../../oci/image';
import { MediaType, isIndexType, isManifestType } from '../../oci/media-types';
import { hostPlatform, type Platform } from '../../oci/platform';
import { familiarName, formatReference, parseReference } from '../../oci/reference';
import type { BuildScope, VertexId } from '../../progress/events';
import { readArchive } from './archive';
import type { Image } from '../store/image-store';
import { Lease } from '../store/lease';
import { parseConfig, parseIndex, parseManifest, selectPlatform } from './manifest';
import type { ImageServices } from '../store/services';
import { checkCanceled } from './transfer';
import { dropDamaged } from '../store/trust';
import { unpackLayers } from './unpack';

/** Where images are loaded from: an archive (docker or OCI, compressed or not) or an OCI layout folder, or an archive's bytes. */
export type LoadSource = { readonly path: string } | { readonly stream: AsyncIterable<Uint8Array> };

/** One image that came out of an archive. */
export interface Loaded {
  readonly image: Image;
  /** As docker prints them, e.g. `app:latest`; none for an image without a name. */
  readonly names: readonly string[];
}

/** The files of an archive or folder, all of whose bytes are in the content store when `blob` has returned. */
interface ImageFiles {
  /** Bytes of a small file; `undefined` when there is none of that name. */
  read(name: string): Promise<Buffer | undefined>;
  /** Brings a file into the content store, verified; `undefined` when there is none of that name. */
  blob(
    name: string,
    expected?: { readonly digest: Digest; readonly size?: number },
  ): Promise<{ readonly digest: Digest; readonly size: number } | undefined>;
}

/** An image found in the files, not yet read. */
interface Candidate {
  readonly manifest: Manifest;
  readonly descriptor: Descriptor;
  readonly names: readonly string[];
  /** Where the layers' files are, when not under `blobs/`. */
  readonly layerFiles?: readonly string[];
}

/** The `manifest.json` of `docker save`: Docker image-spec v1.2, "Combined Image JSON + Filesystem Changeset Format". */
interface DockerArchiveEntry {
  readonly Config: string;
  readonly RepoTags?: readonly string[] | null;
  readonly Layers?: readonly string[] | null;
}

/** Members of an archive: one layer or blob each. */
const MAX_MEMBERS = 10_000;
const MAX_SMALL_FILE = 32 << 20;
const REF_NAME = 'org.opencontainers.image.ref.name';
const CONTAINERD_NAME = 'io.containerd.image.name';

/**
 * Loads all images of an archive or OCI layout: unpacks them, names them as the archive says, keeps their blobs.
 * Every digest is verified. Of an index, the image of `platform` (the host's) is taken.
 * @throws MbuildError ARCHIVE_INVALID, IMAGE_INVALID, DIGEST_MISMATCH, PLATFORM_NOT_FOUND, NO_SPACE, CANCELED.
 */
export async function loadImages(
  source: LoadSource,
  services: ImageServices,
  vertex: VertexId,
  scope: BuildScope,
  platform: Platform = hostPlatform(),
): Promise<Loaded[]> {
  const lease = new Lease(services.root);
  const label = 'path' in source ? source.path : 'the archive';
  try {
    const files = await openFiles(source, services.content, lease, scope);
    const candidates =
      (await dockerCandidates(files, services.content, label)) ??
      (await ociCandidates(files, platform, label));
    if (candidates === undefined)
      throw new MbuildError(
        'ARCHIVE_INVALID',
        `${label} holds neither manifest.json nor index.json, so it is no image`,
        { hint: 'a root file system is made an image with: mbuild import' },
      );
    if (candidates.length === 0)
      throw new MbuildError('ARCHIVE_INVALID', `${label} holds no images`);
    const loaded: Loaded[] = [];
    for (const candidate of candidates)
      loaded.push(await loadOne(candidate, files, services, lease, label, vertex, scope));
    return loaded;
  } finally {
    lease.release();
  }
}

/** One image of an OCI layout folder. */
export interface LayoutImage {
  readonly folder: string;
  /** As in its index; the only image when neither tag nor digest is given. */
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
  readonly platform: Platform;
}

/** Brings one image of a layout folder into the store, without a name. @throws MbuildError as {@link loadImages}, IMAGE_NOT_FOUND. */
export async function loadFromLayout(
  { folder, tag, digest, platform }: LayoutImage,
  services: ImageServices,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Image> {
  const lease = new Lease(services.root);
  try {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
      throw new MbuildError('IMAGE_NOT_FOUND', `there is no folder ${folder} with an image layout`);
    const files = folderFiles(folder, services.content);
    const index = await files.read('index.json');
    if (index === undefined)
      throw new MbuildError(
        'ARCHIVE_INVALID',
        `${folder} holds no index.json, so it is no image layout`,
      );
    const images = parseIndex(index, folder).manifests.filter(
      (entry) =>
        (isIndexType(entry.mediaType) || isManifestType(entry.mediaType)) &&
        entry.annotations?.['vnd.docker.reference.type'] === undefined,
    );
    const entry = chooseEntry(images, folder, tag, digest);
    const chosen = await descend(entry, files, platform, folder, 0);
    const bytes = await files.read(blobName(chosen.digest));
    if (bytes === undefined || (await files.blob(blobName(chosen.digest), chosen)) === undefined)
      throw lacks(folder, chosen.digest);
    const descriptor = { mediaType: chosen.mediaType, digest: chosen.digest, size: chosen.size };
    return (
      await loadOne(
        { manifest: parseManifest(bytes, folder), descriptor, names: [] },
        files,
        services,
        lease,
        folder,
        vertex,
        scope,
      )
    ).image;
  } finally {
    lease.release();
  }
}

function chooseEntry(
  images: readonly Descriptor[],
  folder: string,
  tag: string | undefined,
  digest: Digest | undefined,
): Descriptor {
  const tagOf = (entry: Descriptor): string | undefined => {
    const name = entry.annotations?.[REF_NAME] ?? entry.annotations?.[CONTAINERD_NAME];
    return name === undefined ? undefined : name.slice(name.lastIndexOf(':') + 1);
  };
  // A digest may name what an index of the layout lists rather than the layout itself.
  if (digest !== undefined)
    return (
      images.find((entry) => entry.digest === digest) ?? {
        mediaType: MediaType.ociManifest,
        digest,
        size: statSync(path.join(folder, blobName(digest)), { throwIfNoEntry: false })?.size ?? 0,
      }
    );
  const tagged = images.filter((entry) => tagOf(entry) === (tag ?? 'latest'));
  const candidates = tagged.length > 0 || tag !== undefined ? tagged : images;
  const [first, ...others] = [
    ...new Map(candidates.map((entry) => [entry.digest, entry])).values(),
  ];
  if (first !== undefined && others.length === 0) return first;
  const tags = [...new Set(images.flatMap((entry) => tagOf(entry) ?? []))].join(', ');
  throw new MbuildError(
    'IMAGE_NOT_FOUND',
    first === undefined
      ? `${folder} holds no image ${tag ?? ''}`.trim()
      : `${folder} holds several images`,
    { hint: tags === '' ? undefined : `its tags are ${tags}: write oci-layout://${folder}:TAG` },
  );
}

async function loadOne(
  candidate: Candidate,
  files: ImageFiles,
  services: ImageServices,
  lease: Lease,
  label: string,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Loaded> {
  const { manifest } = candidate;
  const name = candidate.names[0] ?? label;
  lease.hold({
    blobs: [
      candidate.descriptor.digest,
      manifest.config.digest,
      ...manifest.layers.map((layer) => layer.digest),
    ],
  });
  await dropDamaged(manifest.config.digest, services);
  if (
    services.content.size(manifest.config.digest) === undefined &&
    (await files.blob(blobName(manifest.config.digest), manifest.config)) === undefined
  )
    throw lacks(label, manifest.config.digest);
  const config = parseConfig(
    services.content.read(manifest.config.digest),
    manifest.layers.length,
    name,
  );
  const stack = await unpackLayers(
    manifest.layers.map((blob, i) => ({
      blob,
      diffId: config.rootfs.diff_ids[i] ?? (blob.digest as string as DiffID),
      fetch: async () => {
        if (services.content.size(blob.digest) !== undefined) return;
        if (
          (await files.blob(candidate.layerFiles?.[i] ?? blobName(blob.digest), blob)) === undefined
        )
          throw lacks(label, blob.digest);
      },
    })),
    services,
    lease,
    vertex,
    scope,
  );
  const refs = candidate.names
    .flatMap((text) => parseReference(text) ?? [])
    .filter((ref) => ref.digest === undefined);
  const image = services.images.put(
    { config, manifest, descriptor: candidate.descriptor, stack },
    refs.map(formatReference),
  );
  return { image, names: refs.map(familiarName) };
}

/** What `docker save` and others with `manifest.json` wrote; layers may lie under any name. `undefined` when it has no such file. */
async function dockerCandidates(
  files: ImageFiles,
  content: ContentStore,
  label: string,
): Promise<Candidate[] | undefined> {
  const text = await files.read('manifest.json');
  if (text === undefined) return undefined;
  const entries = parseJson(text, `${label}: manifest.json`);
  if (!Array.isArray(entries) || !entries.every(isDockerEntry))
    throw new MbuildError(
      'ARCHIVE_INVALID',
      `the manifest.json of ${label} is not what docker save writes`,
    );
  const original = await originalManifests(files, label);
  const candidates: Candidate[] = [];
  for (const entry of entries) {
    const names = entry.RepoTags ?? [];
    const config = await files.blob(entry.Config, digestInName(entry.Config));
    if (config === undefined) throw lacks(label, entry.Config);
    const known = original.get(config.digest);
    if (known !== undefined) {
      candidates.push({ ...known, names, layerFiles: entry.Layers ?? [] });
      continue;
    }
    candidates.push({
      ...(await dockerManifest(entry, config, files, content, label)),
      names,
      layerFiles: entry.Layers ?? [],
    });
  }
  return candidates;
}

/** The manifests that an archive has besides, as docker from 25 on writes them: by their config. They keep the image's digest. */
async function originalManifests(
  files: ImageFiles,
  label: string,
): Promise<Map<Digest, Omit<Candidate, 'names'>>> {
  const found = new Map<Digest, Omit<Candidate, 'names'>>();
  const index = await files.read('index.json');
  if (index === undefined) return found;
  const walk = async (bytes: Buffer, depth: number): Promise<void> => {
    for (const entry of parseIndex(bytes, label).manifests) {
      const inner = await files.read(blobName(entry.digest));
      if (inner === undefined) continue;
      if (isIndexType(entry.mediaType) && depth < 4) await walk(inner, depth + 1);
      if (
        !isManifestType(entry.mediaType) ||
        (await files.blob(blobName(entry.digest), entry)) === undefined
      )
        continue;
      const parsed: unknown = parseJson(inner, label);
      // Attestations lie in the same index; they are no images.
      if (
        entry.annotations?.['vnd.docker.reference.type'] !== undefined ||
        typeof parsed !== 'object'
      )
        continue;
      const manifest = parseManifest(inner, label);
      found.set(manifest.config.digest, {
        manifest,
        descriptor: { mediaType: entry.mediaType, digest: entry.digest, size: entry.size },
      });
    }
  };
  await walk(index, 0);
  return found;
}

/** Docker names a config by its digest. */
function digestInName(name: string): { readonly digest: Digest } | undefined {
  const digest = `sha256:${path.posix.basename(name).replace(/\.json$/, '')}`;
  return isDigest(digest) ? { digest } : undefined;
}

/** Makes the manifest of an archive that has none: its layers are plain tars. */
async function dockerManifest(
  entry: DockerArchiveEntry,
  config: { digest: Digest; size: number },
  files: ImageFiles,
  content: ContentStore,
  label: string,
): Promise<Pick<Candidate, 'manifest' | 'descriptor'>> {
  const layers: Descriptor[] = [];
  for (const name of entry.Layers ?? []) {
    const blob = await files.blob(name);
    if (blob === undefined) throw lacks(label, name);
    layers.push({
      mediaType: await layerType(content, blob.digest),
      digest: blob.digest,
      size: blob.size,
    });
  }
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: { mediaType: MediaType.ociConfig, digest: config.digest, size: config.size },
    layers,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  return {
    manifest: parseManifest(bytes, label),
    descriptor: { mediaType: manifest.mediaType, digest: content.write(bytes), size: bytes.length },
  };
}

/** `docker load` takes compressed layers too, and goes by their first bytes. */
async function layerType(content: ContentStore, digest: Digest): Promise<string> {
  for await (const chunk of content.open(digest)) {
    const head = (chunk as Buffer).toString('hex', 0, 4);
    if (head.startsWith('1f8b')) return MediaType.ociLayerGzip;
    return head === '28b52ffd' ? MediaType.ociLayerZstd : MediaType.ociLayerTar;
  }
  return MediaType.ociLayerTar;
}

/** What an OCI layout's index.json lists. `undefined` when there is none. */
async function ociCandidates(
  files: ImageFiles,
  platform: Platform,
  label: string,
): Promise<Candidate[] | undefined> {
  const text = await files.read('index.json');
  if (text === undefined) return undefined;
  const candidates: Candidate[] = [];
  const byDigest = new Map<Digest, Candidate>();
  for (const entry of parseIndex(text, label).manifests) {
    if (!isIndexType(entry.mediaType) && !isManifestType(entry.mediaType)) continue;
    if (entry.annotations?.['vnd.docker.reference.type'] !== undefined) continue;
    const name = nameOf(entry);
    const chosen = await descend(entry, files, platform, label, 0);
    const bytes = await files.read(blobName(chosen.digest));
    if (bytes === undefined || (await files.blob(blobName(chosen.digest), chosen)) === undefined)
      throw lacks(label, chosen.digest);
    const before = byDigest.get(chosen.digest);
    const candidate: Candidate = {
      manifest: parseManifest(bytes, name ?? label),
      descriptor: { mediaType: chosen.mediaType, digest: chosen.digest, size: chosen.size },
      names: [...(before?.names ?? []), ...(name === undefined ? [] : [name])],
    };
    if (before === undefined) candidates.push(candidate);
    else candidates[candidates.indexOf(before)] = candidate;
    byDigest.set(chosen.digest, candidate);
  }
  return candidates;
}

async function descend(
  entry: Descriptor,
  files: ImageFiles,
  platform: Platform,
  label: string,
  depth: number,
): Promise<Descriptor> {
  if (!isIndexType(entry.mediaType)) return entry;
  if (depth >= 4) throw new MbuildError('LIMIT_EXCEEDED', `${label} has indexes inside of indexes`);
  if ((await files.blob(blobName(entry.digest), entry)) === undefined)
    throw lacks(label, entry.digest);
  const bytes = await files.read(blobName(entry.digest));
  if (bytes === undefined) throw lacks(label, entry.digest);
  return descend(
    selectPlatform(parseIndex(bytes, label), platform, nameOf(entry) ?? label),
    files,
    platform,
    label,
    depth + 1,
  );
}

/** The full name where the writer left one; `ref.name` alone is often no more than a tag, which names nothing. */
function nameOf(entry: Descriptor): string | undefined {
  const full = entry.annotations?.[CONTAINERD_NAME];
  if (full !== undefined && parseReference(full) !== undefined) return full;
  const name = entry.annotations?.[REF_NAME];
  return name !== undefined && /[:/]/.test(name) && parseReference(name) !== undefined
    ? name
    : undefined;
}

function openFiles(
  source: LoadSource,
  content: ContentStore,
  lease: Lease,
  scope: BuildScope,
): Promise<ImageFiles> {
  if ('stream' in source) return archiveFiles(source.stream, content, lease, scope);
  const stats = statSync(source.path, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new MbuildError('ARCHIVE_INVALID', `there is no file ${source.path}`, {
      hint: 'it takes what docker save writes, an OCI archive, or the folder of an OCI layout',
    });
  if (!stats.isDirectory())
    return archiveFiles(
      createReadStream(source.path, { highWaterMark: 1 << 20 }),
      content,
      lease,
      scope,
    );
  return Promise.resolve(folderFiles(source.path, content));
}

function folderFiles(folder: string, content: ContentStore): ImageFiles {
  const find = (name: string): string | undefined => {
    const file = path.join(folder, path.posix.join('/', name));
    return existsSync(file) ? file : undefined;
  };
  return {
    read: (name) => {
      const file = find(name);
      return file === undefined
        ? Promise.resolve(undefined)
        : collect(createReadStream(file), name);
    },
    blob: async (name, expected) => {
      const file = find(name);
      if (file === undefined) return undefined;
      if (expected !== undefined && content.size(expected.digest) === expected.size)
        return { digest: expected.digest, size: expected.size ?? 0 };
      return content.ingest(createReadStream(file, { highWaterMark: 1 << 20 }), expected);
    },
  };
}

/**
 * Reads an archive once, from front to end, as it may come through a pipe: every file becomes a blob. What turns out not
 * to belong to an image is deleted by the next collection of garbage.
 */
async function archiveFiles(
  source: AsyncIterable<Uint8Array>,
  content: ContentStore,
  lease: Lease,
  scope: BuildScope,
): Promise<ImageFiles> {
  const found = new Map<string, { digest: Digest; size: number }>();
  const links = new Map<string, string>();
  for await (const { entry, body } of readArchive(source)) {
    checkCanceled(scope.signal);
    const name = path.posix.normalize(toText(entry.path)).replace(/^\/+/, '');
    if (found.size + links.size >= MAX_MEMBERS)
      throw new MbuildError(
        'LIMIT_EXCEEDED',
        `the archive has more than ${MAX_MEMBERS} files, so it is not one of images`,
        { hint: 'a root file system is made an image with: mbuild import' },
      );
    if (entry.type === 'symlink')
      links.set(name, path.posix.join(path.posix.dirname(name), toText(entry.linkPath)));
    else if (entry.type === 'link') links.set(name, path.posix.normalize(toText(entry.linkPath)));
    else if (entry.type === 'file') {
      const digest = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1];
      const named = digest === undefined ? undefined : `sha256:${digest}`;
      const blob = await content.ingest(
        body,
        named !== undefined && isDigest(named) ? { digest: named, size: entry.size } : undefined,
        (made) => lease.hold({ blobs: [made] }),
      );
      found.set(name, blob);
    }
  }
  const resolve = (name: string): { digest: Digest; size: number } | undefined => {
    let at = path.posix.normalize(name);
    for (let hops = 0; hops < 8; hops++) {
      const target = links.get(at);
      if (target === undefined) break;
      at = target;
    }
    return found.get(at);
  };
  return {
    read: (name) => {
      const blob = resolve(name);
      if (blob === undefined) return Promise.resolve(undefined);
      if (blob.size > MAX_SMALL_FILE)
        throw new MbuildError('LIMIT_EXCEEDED', `${name} has ${blob.size} bytes`);
      return Promise.resolve(content.read(blob.digest));
    },
    blob: (name, expected) => {
      const blob = resolve(name);
      if (blob !== undefined && expected !== undefined && blob.digest !== expected.digest) {
        throw new MbuildError(
          'DIGEST_MISMATCH',
          `${name} should be ${expected.digest}, but is ${blob.digest}`,
          { hint: 'the archive is damaged or was tampered with' },
        );
      }
      return Promise.resolve(blob);
    },
  };
}

async function collect(source: AsyncIterable<unknown>, name: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of source) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).length;
      if (size > MAX_SMALL_FILE)
        throw new MbuildError(
          'LIMIT_EXCEEDED',
          `${name} is larger than an image's description can be`,
        );
    }
  } catch (error) {
    throw errnoOf(error) === undefined ? error : storeError(error, name);
  }
  return Buffer.concat(chunks);
}

function isDockerEntry(value: unknown): value is DockerArchiveEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { Config, Layers, RepoTags } = value as Record<string, unknown>;
  const strings = (list: unknown): boolean =>
    Array.isArray(list) && list.every((item) => typeof item === 'string');
  return (
    typeof Config === 'string' &&
    strings(Layers ?? []) &&
    (RepoTags === undefined || RepoTags === null || strings(RepoTags))
  );
}

function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new MbuildError('ARCHIVE_INVALID', `${what} is not valid JSON`, { cause });
  }
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function lacks(label: string, what: string): MbuildError {
  return new MbuildError('ARCHIVE_INVALID', `${label} lacks ${what}, which it should hold`);
}
