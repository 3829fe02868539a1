import { linkSync, renameSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { Aside } from '../../content/aside';
import { createFile, namesIn, readRecord, replaceFile, tempName } from '../../content/files';
import type { ContentStore } from '../../content/store';
import { errnoOf, isMbuildError } from '../../diagnostics/error';
import { removeFile } from '../../linux/remove-tree';
import { chainIds, digestOf, hexOf, isDigest, type ChainID, type Digest } from '../../oci/digest';
import type { Descriptor, ImageConfig, Index, Manifest } from '../../oci/image';
import { MediaType } from '../../oci/media-types';
import {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  samePlatform,
  type Platform,
} from '../../oci/platform';
import { parseConfig, parseManifest } from '../../oci/read-image';
import { formatReference, parseReference } from '../../oci/reference';
import type { Image, ImageStore } from './image-store';
import type { LayerIndex } from './layer-index';

/** `<root>/images/<hex of the id>.json`: never changed once it is there. */
interface ImageRecord {
  readonly id: Digest;
  readonly descriptor: Descriptor;
}

/**
 * `<root>/names/<hash of the name>/<platform>.json`: one file per name and platform, so that a change of one name is
 * one rename, and two processes that tag never undo each other's work.
 */
export interface NameRecord {
  readonly name: string;
  readonly id: Digest;
  readonly platform: string;
  /** Milliseconds since the Unix epoch. */
  readonly updated: number;
}

/**
 * Images as small files; manifests and configs are blobs of the content store. A name may stand for one image of each
 * platform. `index.json` lists the images whose blobs are all in the store, so that other tools can read it as an OCI layout.
 */
export class FileImageStore implements ImageStore {
  readonly #images: string;
  readonly #names: string;

  constructor(
    private readonly root: string,
    private readonly content: ContentStore,
    private readonly layers: LayerIndex,
    private readonly aside: Aside = new Aside(root),
  ) {
    this.#images = path.join(root, 'images');
    this.#names = path.join(root, 'names');
  }

  find(nameOrId: string, platform?: Platform): Image | undefined {
    const ids = this.#idsOf(nameOrId);
    for (const id of ids) {
      const image = this.#load(id);
      if (image !== undefined && (platform === undefined || samePlatform(image.config, platform)))
        return image;
    }
    return undefined;
  }

  list(): Image[] {
    const records = this.#nameRecords();
    return this.ids().flatMap((id) => this.#load(id, () => records) ?? []);
  }

  put(
    image: Omit<Image, 'names' | 'repoDigests' | 'id'>,
    names: readonly string[],
    repoDigests: readonly string[] = [],
  ): Image {
    const id = image.manifest.config.digest;
    const record = JSON.stringify({ id, descriptor: image.descriptor } satisfies ImageRecord);
    if (
      !createFile(this.root, this.#imageFile(id), record) &&
      !this.#isReadable(id, image.descriptor.digest)
    )
      replaceFile(this.root, this.#imageFile(id), record);
    for (const name of [...names, ...repoDigests]) this.#name(id, name, image.config);
    // Who removed the image meanwhile may have missed the names.
    createFile(this.root, this.#imageFile(id), record);
    this.#refreshIndex(image.manifest, names);
    return withNames({ ...image, id }, () => this.#nameRecords());
  }

  tag(id: Digest, name: string): void {
    const image = this.#load(id, () => []);
    if (image === undefined) return;
    const platform = platformSlug(image.config);
    const record = this.#name(id, name, image.config);
    // Removed meanwhile, by somebody who may have missed the name.
    if (this.manifestOf(id) === undefined) return this.#forgetName(record);
    for (const other of namesIn(this.#nameFolder(name))) {
      if (other !== `${platform}.json`) removeFile(path.join(this.#nameFolder(name), other));
    }
    this.#refreshIndex(image.manifest, [name]);
  }

  addDigest(id: Digest, name: string, digest: Digest): void {
    const ref = parseReference(name);
    const image = ref === undefined ? undefined : this.#load(id, () => []);
    if (ref !== undefined && image !== undefined)
      this.#name(
        id,
        formatReference({ registry: ref.registry, repository: ref.repository, digest }),
        image.config,
      );
  }

  untag(name: string): boolean {
    const folder = this.#nameFolder(name);
    const files = namesIn(folder);
    for (const file of files) removeFile(path.join(folder, file));
    removeFolder(folder);
    this.#refreshIndex(undefined, [name]);
    return files.length > 0;
  }

  remove(id: Digest): void {
    const manifest = this.manifestOf(id);
    removeFile(this.#imageFile(id));
    for (const record of this.#nameRecords()) {
      if (record.id === id) this.#forgetName(record);
    }
    this.#refreshIndex(undefined, manifest === undefined ? [] : [manifest]);
  }

  /** Forgets a damaged image and its names; its record is kept until the next prune. */
  setAside(id: Digest): void {
    this.aside.move(this.#imageFile(id));
    this.remove(id);
  }

  /** Layers and blobs of all images but some, also of those that lack some: what garbage collection keeps. */
  needs(except: ReadonlySet<Digest> = new Set()): {
    readonly chains: readonly ChainID[];
    readonly blobs: readonly Digest[];
  } {
    const chains: ChainID[] = [];
    const blobs: Digest[] = [];
    for (const id of this.ids()) {
      if (except.has(id)) continue;
      const manifest = this.manifestOf(id);
      blobs.push(id, ...(manifest === undefined ? [] : [manifest]));
      blobs.push(
        ...(
          (manifest === undefined ? undefined : this.#json<Manifest>(manifest))?.layers ?? []
        ).map((layer) => layer.digest),
      );
      chains.push(...chainIds(this.#json<ImageConfig>(id)?.rootfs.diff_ids ?? []));
    }
    return { chains, blobs };
  }

  /** The digest of an image's manifest; `undefined` when there is no such image, or its record cannot be read. */
  manifestOf(id: Digest): Digest | undefined {
    return readRecord<ImageRecord>(this.#imageFile(id))?.descriptor.digest;
  }

  /** Whether an image has a record and a manifest; `written` has just been verified. */
  #isReadable(id: Digest, written?: Digest): boolean {
    const manifest = this.manifestOf(id);
    return manifest !== undefined && (manifest === written || this.#json(manifest) !== undefined);
  }

  /** Sets images aside that have no name, and no manifest or config, or damaged ones: nobody can do anything with them. */
  forgetBroken(): void {
    for (const id of this.ids()) {
      if ((!this.#isReadable(id) || this.#json(id) === undefined) && this.namesOf(id).length === 0)
        this.setAside(id);
    }
  }

  /** Names and repository digests of an image, sorted, also of one that lacks something. */
  namesOf(id: Digest): string[] {
    return this.#nameRecords()
      .filter((record) => record.id === id)
      .map((record) => record.name)
      .sort();
  }

  /** Every record of a name, also those that cannot be read. */
  nameFiles(): {
    readonly file: string;
    readonly record: NameRecord | undefined;
    /** Takes the name away; its record is kept until the next prune. */
    readonly setAside: () => void;
  }[] {
    return namesIn(this.#names).flatMap((folder) =>
      namesIn(path.join(this.#names, folder)).map((name) => {
        const file = path.join(this.#names, folder, name);
        return {
          file,
          record: readRecord<NameRecord>(file),
          setAside: () => {
            this.aside.move(file);
            removeFolder(path.dirname(file));
          },
        };
      }),
    );
  }

  /** Image ids behind a name, the host's platform first, or behind an id or a prefix of one. */
  #idsOf(nameOrId: string): Digest[] {
    const named = this.#namedIds(nameOrId);
    if (named.length > 0) return named;
    if (isDigest(nameOrId))
      return this.ids().includes(nameOrId) ? [nameOrId] : this.#idsByManifest(nameOrId);
    const hex = nameOrId.replace(/^sha256:/, '');
    if (!/^[0-9a-f]{1,64}$/.test(hex)) return [];
    const ids = this.ids().filter((id) => hexOf(id).startsWith(hex));
    return ids.length === 1 ? ids : [];
  }

  #namedIds(text: string): Digest[] {
    const ref = parseReference(text);
    if (ref === undefined) return [];
    // With a digest the tag says nothing more: docker, distribution/reference, "TrimNamed".
    const name = formatReference(ref.digest === undefined ? ref : { ...ref, tag: undefined });
    const folder = this.#nameFolder(name);
    const preferred = `${platformSlug(hostPlatform())}.json`;
    const files = namesIn(folder).sort((a, b) => Number(b === preferred) - Number(a === preferred));
    const ids = files.flatMap((file) => readRecord<NameRecord>(path.join(folder, file))?.id ?? []);
    return ids.length > 0 || ref.digest === undefined ? ids : this.#idsByManifest(ref.digest);
  }

  #idsByManifest(digest: Digest): Digest[] {
    return this.ids().filter((id) => this.manifestOf(id) === digest);
  }

  /** An image with its blobs and layers; `undefined` when any of them is not there any more. */
  #load(
    id: Digest,
    names: () => readonly NameRecord[] = () => this.#nameRecords(),
  ): Image | undefined {
    const record = readRecord<ImageRecord>(this.#imageFile(id));
    const manifest =
      record === undefined ? undefined : this.#blob(record.descriptor.digest, parseManifest);
    const config =
      manifest === undefined
        ? undefined
        : this.#blob(id, (bytes, name) => parseConfig(bytes, manifest.layers.length, name));
    const stack = config === undefined ? undefined : this.layers.stack(config.rootfs.diff_ids);
    if (
      record === undefined ||
      manifest === undefined ||
      config === undefined ||
      stack === undefined
    )
      return undefined;
    return withNames({ id, config, manifest, descriptor: record.descriptor, stack }, names);
  }

  /** A manifest or config, made whole; `undefined` when it is not there, damaged, or not valid. */
  #blob<T>(digest: Digest, parse: (bytes: Buffer, name: string) => T): T | undefined {
    if (this.content.size(digest) === undefined) return undefined;
    try {
      return parse(this.content.read(digest), digest);
    } catch (error) {
      if (isMbuildError(error, 'STORE_CORRUPT') || isMbuildError(error, 'IMAGE_INVALID'))
        return undefined;
      throw error;
    }
  }

  /** A blob of JSON as it is; `undefined` when it is not there, or damaged. */
  #json<T>(digest: Digest): T | undefined {
    if (this.content.size(digest) === undefined) return undefined;
    try {
      return JSON.parse(this.content.read(digest).toString('utf8')) as T;
    } catch (error) {
      if (isMbuildError(error, 'STORE_CORRUPT')) return undefined;
      throw error;
    }
  }

  #name(id: Digest, name: string, config: Platform): NameRecord {
    const record: NameRecord = { name, id, platform: formatPlatform(config), updated: Date.now() };
    replaceFile(
      this.root,
      path.join(this.#nameFolder(name), `${platformSlug(config)}.json`),
      JSON.stringify(record),
    );
    return record;
  }

  /** Takes a name from an image; when it was moved to another image meanwhile it stays. */
  #forgetName(record: NameRecord): void {
    const file = path.join(
      this.#nameFolder(record.name),
      `${record.platform.replaceAll('/', '-')}.json`,
    );
    const aside = tempName(this.root, 'name');
    try {
      renameSync(file, aside);
      if (readRecord<NameRecord>(aside)?.id !== record.id) linkSync(aside, file);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EEXIST') throw error;
    } finally {
      removeFile(aside);
      removeFolder(path.dirname(file));
    }
  }

  /** The ids of all images, also of those that lack something. */
  ids(): Digest[] {
    return namesIn(this.#images)
      .map((name) => `sha256:${name.replace(/\.json$/, '')}`)
      .filter(isDigest);
  }

  #nameRecords(): NameRecord[] {
    return this.nameFiles().flatMap(({ record }) => record ?? []);
  }

  /**
   * Brings `index.json` up to date, unless it has nothing to do with what changed: an image whose blobs are not all
   * there, under names that it does not mention. What another process changed meanwhile is seen on the second look.
   */
  #refreshIndex(manifest: Manifest | undefined, mentions: readonly string[]): void {
    const file = path.join(this.root, 'index.json');
    const present = JSON.stringify(readRecord<Index>(file) ?? {});
    if (
      !(manifest !== undefined && this.#hasBlobs(manifest)) &&
      !mentions.some((text) => present.includes(JSON.stringify(text)))
    )
      return;
    for (let text = this.#index(), written = ''; text !== written; text = this.#index()) {
      if (JSON.stringify(readRecord<Index>(file)) !== text) replaceFile(this.root, file, text);
      written = text;
    }
  }

  #index(): string {
    const manifests = this.list()
      .filter((image) => this.#hasBlobs(image.manifest))
      .flatMap((image) => {
        const platform = normalizePlatform(image.config);
        const base = {
          mediaType: image.descriptor.mediaType,
          digest: image.descriptor.digest,
          size: image.descriptor.size,
          platform,
        };
        return image.names.length === 0
          ? [base]
          : image.names.map((name) => ({
              ...base,
              annotations: { 'org.opencontainers.image.ref.name': name },
            }));
      });
    return JSON.stringify({ schemaVersion: 2, mediaType: MediaType.ociIndex, manifests });
  }

  #hasBlobs(manifest: Manifest): boolean {
    return manifest.layers.every((layer) => this.content.size(layer.digest) !== undefined);
  }

  #imageFile(id: Digest): string {
    return path.join(this.#images, `${hexOf(id)}.json`);
  }

  #nameFolder(name: string): string {
    return path.join(this.#names, hexOf(digestOf(name)));
  }
}

/** Completes an image; the names are only read when somebody looks, for a build does not. */
function withNames(
  image: Omit<Image, 'names' | 'repoDigests'>,
  records: () => readonly NameRecord[],
): Image {
  const sorted = (): string[] =>
    records()
      .filter((record) => record.id === image.id)
      .map((record) => record.name)
      .sort();
  return {
    ...image,
    get names() {
      return sorted().filter((name) => !name.includes('@'));
    },
    get repoDigests() {
      return sorted().filter((name) => name.includes('@'));
    },
  };
}

function platformSlug(platform: Platform): string {
  return formatPlatform(normalizePlatform(platform)).replaceAll('/', '-');
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '')) throw error;
  }
}
