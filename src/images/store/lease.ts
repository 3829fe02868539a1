import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { namesIn, ownName, storeError, storing } from '../../content/files';
import { isAbandoned } from '../../content/presence';
import { errnoOf } from '../../diagnostics/error';
import { removeFile } from '../../linux/remove-tree';
import type { Digest } from '../../oci/digest';
import type { LayerId } from '../../snapshot/snapshotter';

/**
 * A line of `<root>/leases/lease.<random>.<owner>`: what the process needs of the store though no
 * image names it.
 */
interface LeaseLine {
  readonly layers: readonly LayerId[];
  readonly blobs: readonly Digest[];
}

/** What leases keep from being collected. */
export interface Held {
  readonly layers: ReadonlySet<LayerId>;
  readonly blobs: ReadonlySet<Digest>;
}

/**
 * Keeps layers and blobs from garbage collection while a process works with them. Hold first, then
 * look whether the thing is (still) there: the collector takes a thing out of the index first, then
 * looks at the leases, and puts back what is held. So whichever comes first, nothing is deleted
 * that somebody goes on to use. Ends with `release` or the process.
 */
export class Lease {
  readonly #file: string;
  readonly #held = new Set<LayerId | Digest>();
  #fd: number | undefined;

  constructor(root: string) {
    this.#file = ownName(path.join(root, 'leases'), 'lease');
  }

  /** Adds to what is held; on return it is safe. */
  hold(held: {
    readonly layers?: Iterable<LayerId> | undefined;
    readonly blobs?: Iterable<Digest> | undefined;
  }): void {
    const line: LeaseLine = { layers: this.#fresh(held.layers), blobs: this.#fresh(held.blobs) };
    if (line.layers.length + line.blobs.length === 0) return;
    try {
      const fd = this.#open();
      storing(this.#file, () => writeSync(fd, `${JSON.stringify(line)}\n`));
    } catch (error) {
      // In a store that is read-only nothing goes.
      if (errnoOf(error) !== 'EROFS') throw error;
    }
  }

  /** Gives everything up; a second call does nothing. */
  release(): void {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    this.#fd = undefined;
    removeFile(this.#file);
    this.#held.clear();
  }

  #fresh<T extends LayerId | Digest>(items: Iterable<T> = []): T[] {
    const fresh = [...items].filter((item) => !this.#held.has(item));
    for (const item of fresh) this.#held.add(item);
    return fresh;
  }

  #open(): number {
    if (this.#fd !== undefined) return this.#fd;
    try {
      mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
      return (this.#fd = openSync(this.#file, 'ax', 0o600));
    } catch (error) {
      if (errnoOf(error) === 'EROFS') throw error;
      throw storeError(error, this.#file);
    }
  }
}

/** What the leases of living processes hold. */
export function heldByLeases(root: string): Held {
  const lines = leaseFiles(root)
    .filter((file) => !isAbandoned(root, path.basename(file)))
    .flatMap(readLease);
  return {
    layers: new Set(lines.flatMap((line) => line.layers)),
    blobs: new Set(lines.flatMap((line) => line.blobs)),
  };
}

/** A last line that is not whole yet holds nothing yet. */
function readLease(file: string): LeaseLine[] {
  return readText(file)
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as LeaseLine);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

function leaseFiles(root: string): string[] {
  const folder = path.join(root, 'leases');
  return namesIn(folder).map((name) => path.join(folder, name));
}
