import path from 'node:path';
import type { ContentStore } from '../../content/store';
import { MbuildError } from '../../diagnostics/error';
import { digestOf, isDigest, type Digest } from '../../oci/digest';
import type { Descriptor, Manifest } from '../../oci/image';
import { JsonError, isObject, list, object, parseJson, text } from '../../oci/json';
import { MediaType, isIndexType, isManifestType } from '../../oci/media-types';
import { parseIndex, parseManifest } from '../../oci/read-image';
import type { RawManifest } from '../../registry/registry';
import { blobName, lacks, type ImageFiles, type StoredFile } from './image-files';

/** An image found in an archive, not yet read. */
export interface Candidate {
  readonly top: RawManifest;
  readonly names: readonly string[];
  /** Where the layers' files are, when not under `blobs/`. */
  readonly layerFiles?: readonly string[] | undefined;
}

/**
 * An entry of the `manifest.json` of `docker save`: Docker image-spec v1.2, "Combined Image JSON +
 * Filesystem Changeset Format".
 */
const ENTRY = object({ Config: text, RepoTags: list(text), Layers: list(text) });
type DockerEntry = ReturnType<typeof ENTRY> & { readonly Config: string };

/** Indexes inside of indexes that are searched for an image's own manifest. */
const MAX_INDEXES = 4;

/**
 * What `docker save` and others with `manifest.json` wrote; layers may lie under any name.
 * `undefined` when it has no such file.
 * @throws MbuildError ARCHIVE_INVALID, IMAGE_INVALID.
 */
export async function dockerCandidates(
  files: ImageFiles,
  content: ContentStore,
): Promise<Candidate[] | undefined> {
  const bytes = await files.read('manifest.json');
  if (bytes === undefined) return undefined;
  const original = await originalManifests(files);
  const candidates: Candidate[] = [];
  for (const entry of readEntries(bytes, files.label)) {
    const config = await files.blob(entry.Config, digestInName(entry.Config));
    if (config === undefined) throw lacks(files, entry.Config);
    candidates.push({
      top: original.get(config.digest) ?? (await makeManifest(entry, config, files, content)),
      names: entry.RepoTags ?? [],
      layerFiles: entry.Layers ?? [],
    });
  }
  return candidates;
}

function readEntries(bytes: Buffer, label: string): DockerEntry[] {
  try {
    const value = parseJson(bytes);
    if (isObject(value) && 'layers' in value)
      throw new MbuildError('ARCHIVE_INVALID', `${label} is in skopeo's dir: format`, {
        hint: 'convert it to a layout: skopeo copy dir:DIRECTORY oci:LAYOUT:TAG',
      });
    return list(ENTRY)(value, 'manifest').map((entry) => {
      if (entry.Config === undefined) throw new JsonError('has an entry without "Config"');
      return { ...entry, Config: entry.Config };
    });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError(
      'ARCHIVE_INVALID',
      `the manifest.json of ${label} does not have the form that docker save writes: it ${error.message}`,
    );
  }
}

/**
 * The manifests that an archive has besides, as docker from 25 on writes them: by their config.
 * They keep the image's digest.
 */
async function originalManifests(files: ImageFiles): Promise<Map<Digest, RawManifest>> {
  const found = new Map<Digest, RawManifest>();
  const walk = async (index: Buffer, depth: number): Promise<void> => {
    for (const entry of parseIndex(index, files.label).manifests) {
      const bytes = await files.read(blobName(entry.digest));
      if (bytes === undefined) continue;
      if (isIndexType(entry.mediaType) && depth < MAX_INDEXES) await walk(bytes, depth + 1);
      if (!isManifestType(entry.mediaType) || isAttestation(entry)) continue;
      if ((await files.blob(blobName(entry.digest), entry)) === undefined) continue;
      const { mediaType, digest, size } = entry;
      const { config } = parseManifest(bytes, files.label);
      found.set(config.digest, { descriptor: { mediaType, digest, size }, bytes });
    }
  };
  const index = await files.read('index.json');
  if (index !== undefined) await walk(index, 0);
  return found;
}

/** Attestations lie in the same index; they are not images. */
export function isAttestation({ annotations }: Descriptor): boolean {
  return annotations?.['vnd.docker.reference.type'] !== undefined;
}

/** Docker names a config by its digest. */
function digestInName(name: string): { readonly digest: Digest } | undefined {
  const digest = `sha256:${path.posix.basename(name).replace(/\.json$/, '')}`;
  return isDigest(digest) ? { digest } : undefined;
}

/** Makes the manifest of an archive that has none: its layers are plain tars. */
async function makeManifest(
  entry: DockerEntry,
  config: StoredFile,
  files: ImageFiles,
  content: ContentStore,
): Promise<RawManifest> {
  const layers: Descriptor[] = [];
  for (const name of entry.Layers ?? []) {
    const blob = await files.blob(name);
    if (blob === undefined) throw lacks(files, name);
    layers.push({ mediaType: await layerType(content, blob.digest), ...blob });
  }
  const manifest: Manifest = {
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: { mediaType: MediaType.ociConfig, digest: config.digest, size: config.size },
    layers,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  content.write(bytes);
  return {
    descriptor: { mediaType: manifest.mediaType, digest: digestOf(bytes), size: bytes.length },
    bytes,
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
