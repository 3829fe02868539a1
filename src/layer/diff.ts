import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { MbuildError } from '../diagnostics/error';
import type { RawPath } from '../linux/paths';
import { throwIfStopped, type StopFlag } from '../linux/stop-flag';
import type { Workers } from '../linux/threads';
import { toDigest, type DiffID, type Digest } from '../oci/digest';
import { layOut, readContents, type Chunk, type TarCounts, type TreeBudget } from './chunks';
import { layerEntries, type Found, type TreeOptions } from './entries';
import type { TarSummary } from './layer';
import { NeedleSearch } from './needles';

/** A tree that hashes faster than a message to a worker takes. */
export const SMALL_TREE: TreeBudget = { entries: 64, bytes: 1024 * 1024 };

/** What of a layer directory becomes a tar. */
interface Tree {
  readonly dir: RawPath;
  readonly options: TreeOptions;
  /** False: all times are 0. */
  readonly mtimes: boolean;
}

/** The one of the tasks of worker threads that reads (see tasks.ts). */
type ReadingTasks = { readonly readContents: typeof readContents };

const CHUNK = 1024 * 1024;
/**
 * Chunks of a tree that are read here where no worker runs yet, and from which on it is worth
 * starting them: that takes as long as the others.
 */
const FIRST_CHUNKS = 48;
const WORTH_WORKERS = 24;
/** Chunks that are read at once, so that readers and the hash need not wait for each other. */
const MOST_AHEAD = 8;

/**
 * The DiffID of a layer directory: hash of the tar that {@link tarTree} streams. Synchronous, in
 * constant memory. Nothing may write to the directory meanwhile.
 * @throws MbuildError UNSUPPORTED for a name that a layer cannot hold, CANCELED when `stop` is set.
 */
export function hashTree(dir: RawPath, options: TreeOptions, stop?: StopFlag): TarSummary {
  return complete(hashHere({ dir, options, mtimes: true }, undefined, stop));
}

/** The same for a small tree; `undefined` as soon as it turns out not to be one. */
export function hashSmallTree(
  dir: RawPath,
  options: TreeOptions,
  budget: TreeBudget = SMALL_TREE,
): TarSummary | undefined {
  return hashHere({ dir, options, mtimes: true }, budget);
}

/**
 * The same for a large tree: it is walked and hashed here, while workers read its files. `take` may
 * read the tar on the way, to its end; a chunk is valid until the next is asked for.
 */
export async function hashLargeTree(
  dir: RawPath,
  options: TreeOptions,
  threads: Workers,
  take?: (tar: AsyncIterable<Buffer>) => Promise<void>,
): Promise<TarSummary> {
  return hashWith(threads, { dir, options, mtimes: true }, take);
}

/**
 * A digest of everything in a layer directory but its times: equal for two runs of a step that made
 * the same. `take` as for {@link hashLargeTree}.
 */
export async function treeDigest(
  dir: RawPath,
  options: TreeOptions,
  threads: Workers,
  take?: (tar: AsyncIterable<Buffer>) => Promise<void>,
): Promise<Digest> {
  const { diffId } = await hashWith(threads, { dir, options, mtimes: false }, take);
  return diffId as unknown as Digest;
}

/**
 * What {@link tarTree} streams, read ahead by workers. A chunk is valid until the next is asked
 * for.
 */
export async function* tarLargeTree(
  dir: RawPath,
  options: TreeOptions,
  threads: Workers,
): AsyncGenerator<Buffer, void> {
  yield* readAhead(threads, { dir, options, mtimes: true });
}

/**
 * The tar of a layer directory in OCI's form: entries sorted by name in each directory and each
 * directory before what is in it, deletions as `.wh.` entries, times in whole seconds. The same
 * tree gives the same bytes, always and everywhere. Chunks are the caller's; the next one is read
 * when it is asked for.
 */
export function tarTree(dir: RawPath, options: TreeOptions): AsyncGenerator<Buffer, void> {
  return tarEntries(layerEntries(dir, options, true));
}

/**
 * The same for entries that were found before; `unfinished` where others follow, so that the tars,
 * one behind the other, are one.
 */
export async function* tarEntries(
  found: Iterable<Found>,
  unfinished = false,
): AsyncGenerator<Buffer, void> {
  for (const chunk of layOut(found, { unfinished, buffer: () => Buffer.allocUnsafe(CHUNK) })) {
    readContents(chunk);
    yield chunk.bytes;
  }
}

function hashHere(
  { dir, options, mtimes }: Tree,
  budget: TreeBudget | undefined,
  stop?: StopFlag,
): TarSummary | undefined {
  const hash = new TarHash(options);
  const buffer = Buffer.allocUnsafe(budget === undefined ? CHUNK : Math.min(CHUNK, budget.bytes));
  const chunks = layOut(layerEntries(dir, options, mtimes), { budget, buffer: () => buffer });
  for (let step = chunks.next(); ; step = chunks.next()) {
    if (step.done === true) return step.value && hash.summary(step.value);
    throwIfStopped(stop);
    readContents(step.value);
    hash.update(step.value.bytes);
  }
}

async function hashWith(
  threads: Workers,
  tree: Tree,
  take: (tar: AsyncIterable<Buffer>) => Promise<void> = passOver,
): Promise<TarSummary> {
  const hash = new TarHash(tree.options);
  let counts: TarCounts | undefined;
  async function* hashed(): AsyncGenerator<Buffer, void> {
    const chunks = readAhead(threads, tree);
    for (let step = await chunks.next(); ; step = await chunks.next()) {
      if (step.done === true) {
        counts = step.value;
        return;
      }
      hash.update(step.value);
      yield step.value;
    }
  }
  await take(hashed());
  return complete(counts && hash.summary(counts));
}

async function passOver(tar: AsyncIterable<Buffer>): Promise<void> {
  const chunks = tar[Symbol.asyncIterator]();
  while ((await chunks.next()).done !== true);
}

/**
 * Chunks are laid out in shared memory, read by the workers in any order, and handed on in theirs;
 * each is valid until the next is asked for.
 */
async function* readAhead(
  threads: Workers,
  { dir, options, mtimes }: Tree,
): AsyncGenerator<Buffer, TarCounts | undefined> {
  const { readContents: read } = threads.remote<ReadingTasks>('layer');
  const mostAhead = Math.min(MOST_AHEAD, 2 * threads.size);
  const free: Buffer[] = [];
  const ahead: { readonly bytes: Buffer; readonly whole: Promise<void> }[] = [];
  async function* oldest(): AsyncGenerator<Buffer, void> {
    const chunk = ahead.shift();
    if (chunk === undefined) return;
    await chunk.whole;
    yield chunk.bytes;
    free.push(Buffer.from(chunk.bytes.buffer));
  }

  let count = 0;
  const fill = (chunk: Chunk): Promise<void> => {
    if (chunk.contents.length === 0) return Promise.resolve();
    return count++ < readHereUntil ? readHere(chunk) : read(chunk);
  };
  const readHereUntil = threads.started ? 0 : FIRST_CHUNKS;
  const chunks = layOut(layerEntries(dir, options, mtimes), {
    buffer: () => free.pop() ?? Buffer.from(new SharedArrayBuffer(CHUNK)),
  });
  for (let step = chunks.next(); ; step = chunks.next()) {
    if (step.done === true) {
      while (ahead.length > 0) yield* oldest();
      return step.value;
    }
    const whole = fill(step.value);
    if (count === WORTH_WORKERS) threads.start();
    whole.catch(() => undefined); // told of when its turn comes
    ahead.push({ bytes: step.value.bytes, whole });
    if (ahead.length === mostAhead) yield* oldest();
  }
}

/** In its turn, so that what else is to be done here is. */
async function readHere(chunk: Chunk): Promise<void> {
  await setImmediate();
  readContents(chunk);
}

/** The hash of a tar, and what else is found out from its bytes. */
class TarHash {
  readonly #hash = createHash('sha256');
  readonly #search: NeedleSearch | undefined;

  constructor({ needles }: TreeOptions) {
    this.#search = needles === undefined ? undefined : new NeedleSearch(needles);
  }

  update(bytes: Buffer): void {
    this.#hash.update(bytes);
    this.#search?.push(bytes);
  }

  summary(counts: TarCounts): TarSummary {
    return {
      ...counts,
      diffId: toDigest(this.#hash) as string as DiffID,
      ...(this.#search === undefined ? {} : { found: this.#search.found }),
    };
  }
}

function complete(summary: TarSummary | undefined): TarSummary {
  if (summary === undefined)
    throw new MbuildError('INTERNAL', 'a hash without a budget exceeded it');
  return summary;
}
