import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { namesIn, removeFile, storing } from '../content/files';
import { errnoOf } from '../diagnostics/error';
import { isAlive, ownIdentity, startTimeOf, type ProcessIdentity } from '../linux/process';
import type { Digest } from '../oci/digest';
import type { LayerId } from '../snapshot/snapshotter';

/** First line of `<root>/leases/<id>`: whose it is. */
interface LeaseHead {
  readonly owner: ProcessIdentity;
}

/** Every further line: what the process needs of the store though no image names it. */
interface LeaseLine {
  readonly layers: readonly LayerId[];
  readonly blobs: readonly Digest[];
}

/** Who is not alive. */
const NOBODY: ProcessIdentity = { pid: 0, startTime: 0, boot: '' };

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
  readonly #held = new Set<LayerId | Digest>();
  #fd: number | undefined;

  constructor(root: string) {
    this.#file = path.join(root, 'leases', `${process.pid}-${randomBytes(6).toString('hex')}`);
  }

  /** Adds to what is held; on return it is safe. */
  hold(held: { readonly layers?: Iterable<LayerId> | undefined; readonly blobs?: Iterable<Digest> | undefined }): void {
    const line: LeaseLine = { layers: this.#fresh(held.layers), blobs: this.#fresh(held.blobs) };
    if (line.layers.length + line.blobs.length > 0) storing(this.#file, () => writeSync(this.#open(), `${JSON.stringify(line)}\n`));
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
    mkdirSync(path.dirname(this.#file), { recursive: true, mode: 0o700 });
    const fd = openSync(this.#file, 'ax', 0o600);
    writeSync(fd, `${JSON.stringify({ owner: ownIdentity() } satisfies LeaseHead)}\n`);
    return (this.#fd = fd);
  }
}

/** What the leases of living processes hold. */
export function heldByLeases(root: string): Held {
  const lines = leaseFiles(root).flatMap((file) => {
    const lease = readLease(file);
    return lease !== undefined && isAlive(lease.owner) ? lease.lines : [];
  });
  return { layers: new Set(lines.flatMap((line) => line.layers)), blobs: new Set(lines.flatMap((line) => line.blobs)) };
}

/** Whether a lease's process has ended. */
export function isDeadLease(file: string): boolean {
  const lease = readLease(file);
  // Without a first line its name tells the process that was about to write it.
  return lease === undefined ? startTimeOf(Number.parseInt(path.basename(file), 10)) === undefined : !isAlive(lease.owner);
}

/** A lease; `undefined` while its first line is being written. A last line that is not whole yet holds nothing yet. */
function readLease(file: string): { readonly owner: ProcessIdentity; readonly lines: readonly LeaseLine[] } | undefined {
  const [head, ...lines] = readText(file).split('\n').slice(0, -1);
  if (head === undefined) return undefined;
  try {
    return { ...(JSON.parse(head) as LeaseHead), lines: lines.map((line) => JSON.parse(line) as LeaseLine) };
  } catch (error) {
    // Zeros where there was text: the machine lost its power, and the process with it.
    if (error instanceof SyntaxError) return { owner: NOBODY, lines: [] };
    throw error;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

/** The files of all leases. */
export function leaseFiles(root: string): string[] {
  const folder = path.join(root, 'leases');
  return namesIn(folder).map((name) => path.join(folder, name));
}
