import { MbuildError } from '../../diagnostics/error';
import type { ChainID, Digest } from '../../oci/digest';
import { familiarName, formatReference, parseReference, type Reference } from '../../oci/reference';
import type { Image, ImageStore } from '../store/image-store';
import { shortDigest } from '../transfer/transfer';

/** What went, in docker's words: a name was taken away, or an image or a layer deleted. */
export type Removed =
  | { readonly kind: 'untagged'; readonly name: string }
  | { readonly kind: 'deleted'; readonly digest: Digest | ChainID };

/** A container that was made of an image. */
export interface ImageUser {
  /** As it is shown: twelve characters. */
  readonly id: string;
  readonly running: boolean;
}

/** How an image is removed. */
export interface RemoveOptions {
  /** Also what has several names, and what a stopped container was made of. */
  readonly force: boolean;
  /** The containers that were made of an image. */
  readonly users: (image: Image) => readonly ImageUser[];
}

/** What came of one removal. */
export interface Removal {
  readonly removed: readonly Removed[];
  /**
   * Images that are no more: their layers go with the next collection of garbage, unless something
   * else needs them.
   */
  readonly deleted: readonly Image[];
}

/**
 * Removes what a user names, by docker's rules (moby, daemon/images, ImageDelete). By name: the
 * name goes, with the last name of a repository its digests, and with the last name of all the
 * image. By id or digest: the image goes with its only name.
 * @throws MbuildError IMAGE_IN_USE for an image that has several names or a container (a running
 * one always wins).
 */
export function removeImage(
  text: string,
  image: Image,
  images: ImageStore,
  options: RemoveOptions,
): Removal {
  const name = nameMeant(image, text, images);
  if (name === undefined) return removeById(image, images, options);
  // A name may stand for an image of each platform: they all lose it.
  const named = images.named(name);
  const last = named.filter((candidate) => isSingleReference(candidate, images));
  if (!options.force) {
    for (const candidate of last) {
      const [user] = options.users(candidate);
      if (user !== undefined)
        throw inUse(
          `unable to remove repository reference ${JSON.stringify(text)} (must force) - container ${user.id} is using its referenced image ${shortDigest(candidate.id)}`,
        );
    }
  }
  const untagged = untag(name, images, named);
  const deleted = named
    .filter((candidate) => isNameless(candidate, images))
    .filter(
      (candidate) => !options.users(candidate).some((user) => user.running || !options.force),
    );
  return {
    removed: [...untagged, ...deleted.flatMap((candidate) => forget(candidate, images))],
    deleted,
  };
}

function removeById(image: Image, images: ImageStore, options: RemoveOptions): Removal {
  const short = shortDigest(image.id);
  const users = options.users(image);
  const running = users.find((user) => user.running);
  if (running !== undefined)
    throw inUse(
      `unable to delete ${short} (cannot be forced) - image is being used by running container ${running.id}`,
      `stop it first: mbuild stop ${running.id}`,
    );
  if (!options.force) {
    const [user] = users;
    if (user !== undefined)
      throw inUse(
        `unable to delete ${short} (must be forced) - image is being used by stopped container ${user.id}`,
      );
    if (!isNameless(image, images) && !isSingleReference(image, images)) {
      throw inUse(
        `unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
        `its names are ${image.names.map(shown).join(', ')}: remove them one by one, or use --force`,
      );
    }
  }
  return { removed: forget(image, images), deleted: [image] };
}

/**
 * Takes a name away, and with the last tag of its repository the digests that the repository was
 * pulled by.
 */
function untag(name: string, images: ImageStore, named: readonly Image[]): Removed[] {
  images.untag(name);
  const digests = digestsWithout(name, images, named);
  for (const digest of digests) images.untag(digest);
  return [name, ...digests].map((gone) => ({ kind: 'untagged', name: shown(gone) }));
}

/**
 * The digests in the repository of a name that is gone; none while another tag of it stands for one
 * of the images.
 */
function digestsWithout(name: string, images: ImageStore, named: readonly Image[]): string[] {
  if (name.includes('@')) return [];
  const repository = repositoryOf(name);
  const digests = new Set<string>();
  for (const { id } of named) {
    for (const other of images.namesOf(id, (text) => repositoryOf(text) === repository)) {
      if (!other.includes('@')) return [];
      digests.add(other);
    }
  }
  return [...digests];
}

function forget(image: Image, images: ImageStore): Removed[] {
  const names = namesOf(image);
  images.remove(image.id);
  return [
    ...names.map((name): Removed => ({ kind: 'untagged', name: shown(name) })),
    { kind: 'deleted', digest: image.id },
  ];
}

/** At most one tag, and all references in one repository: what an id may be removed with. */
function isSingleReference({ id }: Image, images: ImageStore): boolean {
  let tags = 0;
  const repositories = new Set<string>();
  for (const name of images.namesOf(id)) {
    if (!name.includes('@')) tags++;
    repositories.add(repositoryOf(name));
    if (tags > 1 || repositories.size > 1) return false;
  }
  return repositories.size === 1;
}

function isNameless({ id }: Image, images: ImageStore): boolean {
  for (const _ of images.namesOf(id)) return false;
  return true;
}

function namesOf(image: Image): string[] {
  return [...image.names, ...image.repoDigests];
}

/** The name of the image that the text is, if it is one and not an id. */
function nameMeant({ id }: Image, text: string, images: ImageStore): string | undefined {
  const ref = parseReference(text);
  if (ref === undefined) return undefined;
  // With a digest the tag says nothing more.
  const full = formatReference(ref.digest === undefined ? ref : { ...ref, tag: undefined });
  const [name] = images.namesOf(id, (known) => known === full);
  return name;
}

function repositoryOf(name: string): string {
  const ref: Reference | undefined = parseReference(name);
  return ref === undefined ? name : `${ref.registry}/${ref.repository}`;
}

function shown(name: string): string {
  const ref = parseReference(name);
  return ref === undefined ? name : familiarName(ref);
}

function inUse(what: string, hint = 'remove the containers first, or use --force'): MbuildError {
  return new MbuildError('IMAGE_IN_USE', `conflict: ${what}`, { hint });
}
