import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import { removeTree } from '../linux/remove-tree';
import { namesIn, readRecord, storeError } from './files';

/** Told what was moved, and where it is now. Both are absolute paths. */
export type AsideListener = (from: string, to: string) => void;

/**
 * Where damaged files of a store go: `<root>/damaged/<path with dashes>.<random>`. Nothing that is
 * found damaged is deleted at once, so that a wrong finding costs nothing; `mbuild prune` empties
 * the directory.
 */
export class Aside {
  readonly #root: string;

  /** @param told hears of everything that is moved. */
  constructor(
    root: string,
    private readonly told: AsideListener = () => undefined,
  ) {
    this.#root = path.resolve(root);
  }

  /**
   * Moves a file or directory of the store away from its place. Nothing happens when it is not
   * there any more.
   * @returns where it is now.
   * @throws MbuildError NO_SPACE, PERMISSION_DENIED or IO_FAILED; it is then still in its place.
   */
  move(file: string): string | undefined {
    const directory = asideDirectory(this.#root);
    const name = path.relative(this.#root, path.resolve(file)).replaceAll('/', '-');
    const to = path.join(directory, `${name}.${randomBytes(4).toString('hex')}`);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      renameSync(file, to);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw storeError(error, file);
    }
    this.told(file, to);
    return to;
  }
}

/** What is kept aside, absolute paths. */
export function listAside(root: string): string[] {
  const directory = asideDirectory(root);
  return namesIn(directory).map((name) => path.join(directory, name));
}

/**
 * Records that were moved aside out of a directory of the store; those that cannot be read are left
 * out.
 */
export function recordsAside<T>(root: string, directory: string): T[] {
  return listAside(root)
    .filter((file) => path.basename(file).startsWith(`${directory}-`))
    .flatMap((file) => readRecord<T>(file) ?? []);
}

/** Deletes for good what was moved aside. */
export function emptyAside(root: string): void {
  for (const file of listAside(root)) removeTree(file);
}

function asideDirectory(root: string): string {
  return path.join(root, 'damaged');
}
