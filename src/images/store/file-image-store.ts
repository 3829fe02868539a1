import { existsSync } from 'node:fs';
import path from 'node:path';
import { Aside } from '../../content/aside';
import { createFile, namesIn, readRecord, replaceFile } from '../../content/files';
import type { ContentStore } from '../../content/store';
import { isMbuildError } from '../../diagnostics/error';
import { removeFile } from '../../linux/remove-tree';
import { chainIds, hexOf, isDigest, type ChainID, type Digest } from '../../oci/digest';
import type { Descriptor, ImageConfig, Manifest } from '../../oci/image';
import { normalizePlatform, samePlatform, type Platform } from '../../oci/platform';
import { parseConfig, parseManifest } from '../../oci/read-image';
import { formatReference, parseReference } from '../../oci/reference';
import { ImageNames, type NameFile } from './image-names';
import type { Image, ImageStore } from './image-store';
import type { LayerIndex } from './layer-index';
import { LayoutIndex, type LayoutImage } from './layout-index';

/** `<root>/images/<hex of the id>.json`: never changed once it is there. */
interface ImageRecord {
  readonly id: Digest;
  readonly descriptor: Descriptor;
}

/** How images are kept. */
export interface ImageStoreOptions {
  /** Takes what is damaged. */
  readonly aside?: Aside | undefined;
  /**
   * False in a store that an older mbuild may write to at the same time: the lists of images' names
   * are then neither believed nor written. True when absent.
   */
  readonly hasNameLists?: boolean | undefined;
}

/**
 * Images as small files; manifests and configs are blobs of the content store. A name may stand for
 * one image of each platform. `index.json` lists the images whose blobs are all in the store, so
 * that other tools can read it as an OCI layout.
 */
export class FileImageStore implements ImageStore {
  readonly #images: string;
  readonly #names: ImageNames;
  readonly #aside: Aside;
  readonly #index: LayoutIndex;

  constructor(
    private readonly root: string,
    private readonly content: ContentStore,
    private readonly layers: LayerIndex,
    options: ImageStoreOptions = {},
  ) {
    this.#aside = options.aside ?? new Aside(root);
    this.#images = path.join(root, 'images');
    this.#names = new ImageNames(root, this.#aside, options.hasNameLists ?? true);
    this.#index = new LayoutIndex(root, {
      named: (name) => this.#names.at(name).flatMap(({ id }) => this.#shown(id)),
      ofManifest: (digest) => {
        const id = this.#blob(digest, parseManifest)?.config.digest;
        const [image] = id === undefined ? [] : this.#shown(id);
        if (id === undefined || image === undefined) return undefined;
        return { ...image, names: () => this.#tagsOf(this.#namesNow(id)) };
      },
      all: () =>
        this.list().flatMap(({ id, names }) =>
          this.#shown(id).map((image) => ({ ...image, names: () => names })),
        ),
    });
  }

  find(nameOrId: string, platform?: Platform): Image | undefined {
    for (const id of this.#idsOf(nameOrId)) {
      const image = this.#load(id);
      if (image !== undefined && (platform === undefined || samePlatform(image.config, platform)))
        return image;
    }
    return undefined;
  }

  named(name: string): Image[] {
    return this.#names.at(name).flatMap(({ id }) => this.#load(id) ?? []);
  }

  list(): Image[] {
    const byImage = this.#names.byImage();
    return this.ids().flatMap((id) => this.#load(id, () => byImage.get(id) ?? []) ?? []);
  }

  put(
    image: Omit<Image, 'names' | 'repoDigests' | 'id'>,
    names: readonly string[],
    repoDigests: readonly string[] = [],
  ): Image {
    const id = image.manifest.config.digest;
    const record = JSON.stringify({ id, descriptor: image.descriptor } satisfies ImageRecord);
    this.#index.touch(names, image.descriptor.digest);
    let isNew = createFile(this.root, this.#imageFile(id), record);
    if (!isNew && !this.#isReadable(id, image.descriptor.digest))
      replaceFile(this.root, this.#imageFile(id), record);
    for (const name of [...names, ...repoDigests]) {
      this.#names.add(id, name, image.config, isNew);
      isNew = false;
    }
    // Who removed the image meanwhile may have missed the names.
    createFile(this.root, this.#imageFile(id), record);
    return withNames({ ...image, id }, () => this.#namesNow(id));
  }

  tag(id: Digest, name: string): void {
    const image = this.#load(id);
    if (image === undefined) return;
    this.#index.touch([name], image.descriptor.digest);
    const record = this.#names.add(id, name, image.config, false);
    // Removed meanwhile, by somebody who may have missed the name.
    if (this.manifestOf(id) === undefined) this.#names.forget(record);
    else this.#names.keepOnly(name, image.config);
  }

  addDigest(id: Digest, name: string, digest: Digest): void {
    const ref = parseReference(name);
    const image = ref === undefined ? undefined : this.#load(id);
    if (ref === undefined || image === undefined) return;
    const { registry, repository } = ref;
    this.#names.add(id, formatReference({ registry, repository, digest }), image.config, false);
  }

  untag(name: string): boolean {
    this.#index.touch([name]);
    return this.#names.removeAll(name);
  }

  remove(id: Digest): void {
    const manifest = this.manifestOf(id);
    this.#index.touch([], manifest);
    removeFile(this.#imageFile(id));
    for (const record of this.#names.of(id)) {
      this.#index.touch([record.name]);
      this.#names.forget(record);
    }
    this.#names.forgetImage(id);
  }

  /** Forgets a damaged image and its names; its record is kept until the next prune. */
  setAside(id: Digest): void {
    this.#aside.move(this.#imageFile(id));
    this.remove(id);
  }

  /**
   * Brings `index.json` up to date with what was done to this object: once, at the end of a
   * command.
   */
  flush(): void {
    this.#index.flush();
  }

  /**
   * Layers and blobs of all images but some, also of those that lack some: what garbage collection
   * keeps.
   */
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

  /**
   * The digest of an image's manifest; `undefined` when there is no such image, or its record
   * cannot be read.
   */
  manifestOf(id: Digest): Digest | undefined {
    return readRecord<ImageRecord>(this.#imageFile(id))?.descriptor.digest;
  }

  /** Whether an image has a record and a manifest; `written` has just been verified. */
  #isReadable(id: Digest, written?: Digest): boolean {
    const manifest = this.manifestOf(id);
    return manifest !== undefined && (manifest === written || this.#json(manifest) !== undefined);
  }

  /**
   * Sets images aside that have no name, and no manifest or config, or damaged ones: nobody can do
   * anything with them.
   */
  forgetBroken(): void {
    for (const id of this.ids()) {
      if (
        (!this.#isReadable(id) || this.#json(id) === undefined) &&
        this.namesOf(id).next().done === true
      )
        this.setAside(id);
    }
    this.#names.collect((id) => this.manifestOf(id) !== undefined);
  }

  *namesOf(id: Digest, wanted?: (name: string) => boolean): Generator<string, void> {
    for (const { name } of this.#names.of(id, wanted)) yield name;
  }

  /** Every record of a name, also damaged ones. */
  nameFiles(): NameFile[] {
    return this.#names.files();
  }

  /** The ids of all images, also of those that lack something. */
  ids(): Digest[] {
    return namesIn(this.#images)
      .map((name) => `sha256:${name.replace(/\.json$/, '')}`)
      .filter(isDigest);
  }

  /** Image ids behind a name, the host's platform first, or behind an id or a prefix of one. */
  #idsOf(nameOrId: string): Digest[] {
    const named = this.#namedIds(nameOrId);
    if (named.length > 0) return named;
    if (isDigest(nameOrId))
      return existsSync(this.#imageFile(nameOrId)) ? [nameOrId] : this.#idsByManifest(nameOrId);
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
    const ids = this.#names.at(name).map(({ id }) => id);
    return ids.length > 0 || ref.digest === undefined ? ids : this.#idsByManifest(ref.digest);
  }

  #idsByManifest(digest: Digest): Digest[] {
    return this.ids().filter((id) => this.manifestOf(id) === digest);
  }

  /** An image with its blobs and layers; `undefined` when any of them is not there any more. */
  #load(id: Digest, names: () => readonly string[] = () => this.#namesNow(id)): Image | undefined {
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

  /** An image as `index.json` shows it; nothing for one that lacks a blob. */
  #shown(id: Digest): LayoutImage[] {
    const image = this.#load(id);
    const isWhole = image?.manifest.layers.every(
      ({ digest }) => this.content.size(digest) !== undefined,
    );
    return image === undefined || isWhole === false
      ? []
      : [{ descriptor: image.descriptor, platform: normalizePlatform(image.config) }];
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

  #tagsOf(names: readonly string[]): string[] {
    return names.filter((name) => !name.includes('@')).sort();
  }

  #namesNow(id: Digest): string[] {
    return [...this.namesOf(id)];
  }

  #imageFile(id: Digest): string {
    return path.join(this.#images, `${hexOf(id)}.json`);
  }
}

/** Completes an image; the names are only read when somebody looks, for a build does not. */
function withNames(
  image: Omit<Image, 'names' | 'repoDigests'>,
  names: () => readonly string[],
): Image {
  return {
    ...image,
    get names() {
      return names()
        .filter((name) => !name.includes('@'))
        .sort();
    },
    get repoDigests() {
      return names()
        .filter((name) => name.includes('@'))
        .sort();
    },
  };
}
