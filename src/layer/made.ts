import type { RawPath } from '../linux/paths';
import { parentOf } from './marks';
import type { TarEntry } from './tar/entry';

/** What this layer made at a path. */
export type Made =
  | {
      readonly kind: 'directory';
      attributes: TarEntry | undefined;
      opaque: boolean;
      /** Nothing of the layers below shows in it. */ cut: boolean;
      readonly children: RawPath[];
    }
  | { readonly kind: 'symlink'; readonly target: RawPath }
  | { readonly kind: 'foreign'; readonly target: RawPath }
  | { readonly kind: 'other' | 'whiteout' };

/** A directory among it. */
export type MadeDirectory = Extract<Made, { kind: 'directory' }>;

/** A file, a node, or a further name of one. */
export const OTHER: Made = { kind: 'other' };
/** A name that the layer deletes. */
export const WHITEOUT: Made = { kind: 'whiteout' };

/** What a layer has made so far, by path; its root is at `''`. */
export class MadeTable {
  readonly root: MadeDirectory = {
    kind: 'directory',
    attributes: undefined,
    opaque: false,
    cut: false,
    children: [],
  };
  readonly #made = new Map<RawPath, Made>([['', this.root]]);

  get(path: RawPath): Made | undefined {
    return this.#made.get(path);
  }

  /** The directory at a path, where it is one. */
  directory(path: RawPath): MadeDirectory | undefined {
    const made = this.#made.get(path);
    return made?.kind === 'directory' ? made : undefined;
  }

  [Symbol.iterator](): Iterator<[RawPath, Made]> {
    return this.#made[Symbol.iterator]();
  }

  note(path: RawPath, made: Made): void {
    this.#made.set(path, made);
    this.directory(parentOf(path))?.children.push(path);
  }

  /** Forgets what is at a path, and all below it. */
  forget(path: RawPath): void {
    const made = this.directory(path);
    this.#made.delete(path);
    for (const child of made?.children ?? []) this.forget(child);
  }
}
