import {
  appendFileSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
} from 'node:fs';
import path from 'node:path';
import type { Aside } from '../../content/aside';
import {
  namesIn,
  readRecord,
  replaceFile,
  storeError,
  storing,
  tempName,
} from '../../content/files';
import { errnoOf, isMbuildError } from '../../diagnostics/error';
import { whileLocked } from '../../linux/flock';
import { bootId } from '../../linux/process';
import { removeFile } from '../../linux/remove-tree';
import { digestOf, hexOf, type Digest } from '../../oci/digest';
import { formatPlatform, hostPlatform, normalizePlatform, type Platform } from '../../oci/platform';

/**
 * `<root>/names/<hash of the name>/<platform>.json`: one file per name and platform, so that a
 * change of one name is one rename, and two processes that tag never undo each other's work.
 */
export interface NameRecord {
  readonly name: string;
  readonly id: Digest;
  readonly platform: string;
  /** Milliseconds since the Unix epoch. */
  readonly updated: number;
}

/** The file of a name. */
export interface NameFile {
  readonly file: string;
  /** `undefined` for one that is damaged. */
  readonly record: NameRecord | undefined;
  /** Takes the name away; its record is kept until the next prune. */
  readonly setAside: () => void;
}

/**
 * The names of images. Which names an image may have stands in `<root>/tags/<hex of its id>`, a
 * line each, so that nobody who looks at one image reads the names of all: what is appended there
 * is never taken back, and counts only where the name's own record says the same. The first line is
 * the boot in which the file was begun; after another one it is made anew, for it may have lost
 * lines. A store that an older mbuild may write to has no such lists: there the names are all read.
 */
export class ImageNames {
  readonly #names: string;
  readonly #tags: string;
  /** Every image that has names has a list of this boot. */
  #hasBegunAll = false;

  constructor(
    private readonly root: string,
    private readonly aside: Aside,
    private readonly hasLists: boolean,
  ) {
    this.#names = path.join(root, 'names');
    this.#tags = path.join(root, 'tags');
  }

  /** What a name stands for, the host's platform first. */
  at(name: string): NameRecord[] {
    const folder = this.#folder(name);
    const preferred = `${platformSlug(hostPlatform())}.json`;
    return namesIn(folder)
      .sort((a, b) => Number(b === preferred) - Number(a === preferred))
      .flatMap((file) => readRecord<NameRecord>(path.join(folder, file)) ?? []);
  }

  /** Every record of a name, also damaged ones. */
  files(): NameFile[] {
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

  /** All names by the image that they stand for. */
  byImage(): ReadonlyMap<Digest, readonly string[]> {
    const found = new Map<Digest, string[]>();
    for (const { record } of this.files()) {
      if (record === undefined) continue;
      const names = found.get(record.id);
      if (names === undefined) found.set(record.id, [record.name]);
      else names.push(record.name);
    }
    return found;
  }

  /** The names of one image, each looked up when it is asked for. */
  *of(id: Digest, wanted: (name: string) => boolean = () => true): Generator<NameRecord, void> {
    for (const name of new Set(this.#candidates(id))) {
      if (!wanted(name)) continue;
      const record = this.at(name).find((candidate) => candidate.id === id);
      if (record !== undefined) yield record;
    }
  }

  /**
   * Gives a name to an image of a platform.
   * @param isNew that image was recorded just now, and has no other.
   */
  add(id: Digest, name: string, platform: Platform, isNew: boolean): NameRecord {
    this.#note(id, name, isNew);
    const record: NameRecord = {
      name,
      id,
      platform: formatPlatform(platform),
      updated: Date.now(),
    };
    const file = path.join(this.#folder(name), `${platformSlug(platform)}.json`);
    replaceFile(this.root, file, JSON.stringify(record));
    return record;
  }

  /** Takes a name away from images of other platforms. */
  keepOnly(name: string, platform: Platform): void {
    const folder = this.#folder(name);
    for (const other of namesIn(folder))
      if (other !== `${platformSlug(platform)}.json`) removeFile(path.join(folder, other));
  }

  /** Takes a name away; true when it was there. */
  removeAll(name: string): boolean {
    const folder = this.#folder(name);
    const files = namesIn(folder);
    for (const file of files) removeFile(path.join(folder, file));
    removeFolder(folder);
    return files.length > 0;
  }

  /** Takes a name from an image; when it was moved to another image meanwhile it stays. */
  forget(record: NameRecord): void {
    const slug = record.platform.replaceAll('/', '-');
    const file = path.join(this.#folder(record.name), `${slug}.json`);
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

  /** Says that an image is gone, and all its names with it. */
  forgetImage(id: Digest): void {
    removeFile(this.#tagFile(id));
  }

  /** Takes away what is kept of images that are gone. */
  collect(isThere: (id: Digest) => boolean): void {
    for (const hex of namesIn(this.#tags)) {
      const id = `sha256:${hex}` as Digest;
      if (!isThere(id)) this.forgetImage(id);
    }
  }

  /** Names that an image has, or had. */
  #candidates(id: Digest): string[] {
    if (!this.hasLists) return this.#search(id, []);
    const noted = this.#noted(id);
    if (noted.isWhole) return noted.names;
    try {
      this.#locked(() => this.#begin(id));
      return this.#noted(id).names;
    } catch (error) {
      // A store that is full or read-only is looked at all the same.
      if (!isMbuildError(error, 'NO_SPACE') && !isMbuildError(error, 'PERMISSION_DENIED'))
        throw error;
      return this.#search(id, noted.names);
    }
  }

  /** What has the name already was noted when it was given. */
  #note(id: Digest, name: string, isNew: boolean): void {
    if (!this.hasLists) return;
    const file = this.#tagFile(id);
    const hasName = (): boolean => this.at(name).some((record) => record.id === id);
    if (isOfThisBoot(file) && hasName()) return;
    this.#locked(() => {
      if (isNew && !isOfThisBoot(file)) this.#write(id, this.#noted(id).names);
      this.#begin(id);
      // What was written before may end in the midst of a line.
      storing(file, () => appendFileSync(file, `\n${name}\n`, { mode: 0o600 }));
    });
  }

  /**
   * Begins the list of an image where it has none of this boot, while the lists are locked. All
   * names are read for that, once: the lists of all other images are begun with it, so that an
   * image without one has no names then.
   */
  #begin(id: Digest): void {
    if (isOfThisBoot(this.#tagFile(id))) return;
    if (!this.#hasBegunAll) {
      for (const [other, names] of this.byImage()) {
        if (!isOfThisBoot(this.#tagFile(other)))
          this.#write(other, [...new Set([...this.#noted(other).names, ...names])]);
      }
      this.#hasBegunAll = true;
    }
    if (!isOfThisBoot(this.#tagFile(id))) this.#write(id, this.#noted(id).names);
  }

  #noted(id: Digest): { readonly isWhole: boolean; readonly names: string[] } {
    const [boot, ...names] = readText(this.#tagFile(id)).split('\n');
    return { isWhole: boot === bootId(), names: names.filter((name) => name !== '') };
  }

  /** Reads all names. */
  #search(id: Digest, known: readonly string[]): string[] {
    return [...new Set([...known, ...(this.byImage().get(id) ?? [])])];
  }

  #write(id: Digest, names: readonly string[]): void {
    replaceFile(this.root, this.#tagFile(id), `${[bootId(), ...names].join('\n')}\n`);
  }

  #locked(act: () => void): void {
    storing(this.#tags, () => {
      mkdirSync(this.#tags, { recursive: true, mode: 0o700 });
      whileLocked(this.#tags, act);
    });
  }

  #tagFile(id: Digest): string {
    return path.join(this.#tags, hexOf(id));
  }

  #folder(name: string): string {
    return path.join(this.#names, hexOf(digestOf(name)));
  }
}

/** Whether a list of names was begun in this boot: only its first line is read. */
function isOfThisBoot(file: string): boolean {
  const wanted = Buffer.from(`${bootId()}\n`);
  const found = Buffer.alloc(wanted.length);
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw storeError(error, file);
  }
  try {
    return readSync(fd, found) === wanted.length && found.equals(wanted);
  } finally {
    closeSync(fd);
  }
}

function platformSlug(platform: Platform): string {
  return formatPlatform(normalizePlatform(platform)).replaceAll('/', '-');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw storeError(error, file);
  }
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY', 'EEXIST'].includes(errnoOf(error) ?? '')) throw error;
  }
}
