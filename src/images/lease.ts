import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { namesIn, readJson, removeFile, replaceFile } from '../content/files';
import { isAlive, ownIdentity, type ProcessIdentity } from '../linux/process';
import type { Digest } from '../oci/digest';
import type { LayerId } from '../snapshot/snapshotter';

/** `<root>/leases/<id>.json`: what a running process needs of the store though no image names it. */
interface LeaseRecord {
  readonly owner: ProcessIdentity;
  readonly layers: readonly LayerId[];
  readonly blobs: readonly Digest[];
}

/** What leases keep from being collected. */
export interface Held {
  readonly layers: ReadonlySet<LayerId>;
  readonly blobs: ReadonlySet<Digest>;
}

/**
 * Keeps layers and blobs from garbage collection while a process works with them. Hold first, then look whether the
 * thing is (still) there: the collector takes a thing out of the index first, then looks at the leases, and puts back
 * what is held. So whichever comes first, nothing is deleted that somebody goes on to use. Ends with `release` or the process.
 */
export class Lease {
  readonly #file: string;
  readonly #layers = new Set<LayerId>();
  readonly #blobs = new Set<Digest>();

  constructor(private readonly root: string) {
    this.#file = path.join(root, 'leases', `${process.pid}-${randomBytes(6).toString('hex')}.json`);
  }

  /** Adds to what is held; on return it is safe. */
  hold(held: { readonly layers?: Iterable<LayerId> | undefined; readonly blobs?: Iterable<Digest> | undefined }): void {
    const before = this.#layers.size + this.#blobs.size;
    for (const id of held.layers ?? []) this.#layers.add(id);
    for (const digest of held.blobs ?? []) this.#blobs.add(digest);
    if (this.#layers.size + this.#blobs.size === before) return;
    const record: LeaseRecord = { owner: ownIdentity(), layers: [...this.#layers], blobs: [...this.#blobs] };
    replaceFile(this.root, this.#file, JSON.stringify(record));
  }

  /** Gives everything up; a second call does nothing. */
  release(): void {
    removeFile(this.#file);
    this.#layers.clear();
    this.#blobs.clear();
  }
}

/** What the leases of living processes hold. */
export function heldByLeases(root: string): Held {
  const records = leaseFiles(root).flatMap((file) => readJson<LeaseRecord>(file) ?? []).filter((record) => isAlive(record.owner));
  return { layers: new Set(records.flatMap((record) => record.layers)), blobs: new Set(records.flatMap((record) => record.blobs)) };
}

/** Deletes the leases of processes that have ended. */
export function dropDeadLeases(root: string): void {
  for (const file of leaseFiles(root)) {
    const record = readJson<LeaseRecord>(file);
    if (record !== undefined && !isAlive(record.owner)) removeFile(file);
  }
}

function leaseFiles(root: string): string[] {
  const folder = path.join(root, 'leases');
  return namesIn(folder).filter((name) => name.endsWith('.json')).map((name) => path.join(folder, name));
}
