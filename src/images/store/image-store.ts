import type { Descriptor, ImageConfig, Manifest } from '../../oci/image';
import type { Digest } from '../../oci/digest';
import type { Platform } from '../../oci/platform';
import type { Stack } from '../../snapshot/snapshotter';

/** An image as the store knows it. Its id is the digest of its config. */
export interface Image {
  readonly id: Digest;
  readonly config: ImageConfig;
  readonly manifest: Manifest;
  /** Points at the manifest as it was pulled or made. */
  readonly descriptor: Descriptor;
  /** The unpacked layers, bottom first; as many as `config.rootfs.diff_ids`. */
  readonly stack: Stack;
  /** Names (`formatReference`), sorted; none for a dangling image. */
  readonly names: readonly string[];
  /** `repository@sha256:…` under which registries know it, sorted. */
  readonly repoDigests: readonly string[];
}

/**
 * Names → images. Every change is written to a temporary file and renamed; several processes may
 * work at once.
 */
export interface ImageStore {
  /**
   * By full name, digest, id or unambiguous id prefix (12 characters or more are never ambiguous in
   * practice).
   */
  find(nameOrId: string, platform?: Platform): Image | undefined;
  /** The images of all platforms behind a full name, the host's first. */
  named(name: string): Image[];
  /**
   * Names and repository digests of an image, in no order, also of one that lacks something; each
   * is looked up when it is asked for.
   * @param wanted asked before that; all when absent.
   */
  namesOf(id: Digest, wanted?: (name: string) => boolean): Iterable<string>;
  list(): Image[];
  /** Records an image whose layers are in the store; a second time only adds the names. */
  put(
    image: Omit<Image, 'names' | 'repoDigests' | 'id'>,
    names: readonly string[],
    repoDigests?: readonly string[],
  ): Image;
  /** Gives a further name; a name that pointed elsewhere moves. */
  tag(id: Digest, name: string): void;
  /** Remembers under which digest a registry knows the image in the repository of a name. */
  addDigest(id: Digest, name: string, digest: Digest): void;
  /** Takes a name away; true when it was there. */
  untag(name: string): boolean;
  /** Forgets the image and all its names. Its layers go by garbage collection. */
  remove(id: Digest): void;
}
