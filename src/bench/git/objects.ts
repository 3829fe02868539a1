import { MbuildError } from '../../diagnostics/error';
import type { RawPath } from '../../linux/paths';
import { ObjectReader } from './object-reader';

/** An entry of a tree object. */
export interface GitEntry {
  readonly name: RawPath;
  readonly kind: 'file' | 'executable' | 'symlink' | 'directory' | 'submodule';
  readonly id: string;
}

const KINDS: Readonly<Record<string, GitEntry['kind']>> = {
  40000: 'directory',
  100755: 'executable',
  120000: 'symlink',
  160000: 'submodule',
};
/** Largest file that is read as text: a Dockerfile, an ignore file, a lock file. */
const MAX_TEXT = 16 << 20;
/** How many objects of a kind are remembered at least; twice as many at most. */
const REMEMBERED = 1 << 16;
const REMEMBERED_TEXTS = 256;

/** Thrown where something is asked for that has to be read first: see {@link GitObjects.complete}. */
class NotRead extends Error {}

/** One for all: where it was thrown says nothing. */
const NOT_READ = new NotRead('an object is not read yet');

/**
 * A repository's objects as values that are there at once. Whoever needs some runs within {@link complete}: what is missing
 * is read in one go, and the run begins again.
 */
export class GitObjects {
  readonly #trees = new Remembered<readonly GitEntry[]>(REMEMBERED);
  readonly #sizes = new Remembered<number>(REMEMBERED);
  readonly #texts = new Remembered<string>(REMEMBERED_TEXTS);
  #wanted = new Wanted();
  /** What is not in the repository, or cannot be read: whoever asks for it again is told. */
  readonly #lacking = new Map<string, MbuildError>();
  /** Under way for what is in `#wanted`. */
  #reading: Promise<void> | undefined;
  /** Files of which not even the size is in the repository. */
  unsized = 0;
  #content: ObjectReader | undefined;
  #facts: ObjectReader | undefined;

  /** @param dir any directory of the repository. */
  constructor(private readonly dir: string) {}

  /**
   * Runs until all that was asked for is known. `run` has no effects but memory: it may be run several times.
   * @throws MbuildError GIT_FAILED for an object that the repository lacks.
   */
  async complete<T>(run: () => T): Promise<T> {
    for (;;) {
      const asked = this.#wanted.asked;
      const result = attempt(run);
      if (this.#wanted.asked === asked && result !== undefined) return result.value;
      await (this.#reading ??= this.#read());
    }
  }

  /** Reads what was asked for by all runs of this turn. */
  async #read(): Promise<void> {
    await Promise.resolve(); // the other runs of the turn
    const wanted = this.#wanted;
    this.#wanted = new Wanted();
    this.#reading = undefined;
    for (const remembered of [this.#trees, this.#sizes, this.#texts])
      remembered.makeRoom(wanted.asked);
    await Promise.all([
      this.#readTrees([...wanted.trees]),
      this.#readSizes([...wanted.sizes]),
      this.#readTexts([...wanted.texts], 'utf8'),
      this.#readTexts([...wanted.targets], 'latin1'),
    ]);
  }

  /** The entries of a tree, sorted by name; `undefined` until it is read. */
  peekTree(id: string): readonly GitEntry[] | undefined {
    return this.#trees.get(id) ?? this.#want('trees', id);
  }

  tree(id: string): readonly GitEntry[] {
    return this.peekTree(id) ?? notRead();
  }

  /** Bytes of a blob; `undefined` until they are known. */
  peekSize(id: string): number | undefined {
    return this.#sizes.get(id) ?? this.#want('sizes', id);
  }

  /** A small file, UTF-8; `undefined` until it is read. @throws MbuildError LIMIT_EXCEEDED for a large one. */
  peekText(id: string): string | undefined {
    return this.#texts.get(id) ?? this.#want('texts', id);
  }

  text(id: string): string {
    return this.peekText(id) ?? notRead();
  }

  /** The target of a symlink. */
  target(id: string): RawPath {
    return this.#texts.get(`raw ${id}`) ?? this.#want('targets', id) ?? notRead();
  }

  /** Begins again with what is missing: for what was only peeked at. */
  need<T>(value: T | undefined): T {
    return value ?? notRead();
  }

  /** Ends the programs behind it. */
  close(): void {
    this.#content?.close();
    this.#facts?.close();
  }

  #want(kind: WantedKind, id: string): undefined {
    const lacking = this.#lacking.get(id);
    if (lacking !== undefined) throw lacking;
    return this.#wanted.add(kind, id);
  }

  #readTrees(ids: readonly string[]): Promise<void> {
    return this.#objects().ask(ids, (id, answer) => {
      const tree =
        answer?.type === 'tree' && answer.content !== undefined
          ? parseTree(answer.content, id)
          : undefined;
      if (tree === undefined) this.#lacking.set(id, missing(id));
      else this.#trees.set(id, tree);
    });
  }

  #readSizes(ids: readonly string[]): Promise<void> {
    this.#facts ??= new ObjectReader(this.dir, 'facts');
    return this.#facts.ask(ids, (id, answer) => {
      // Where a partial clone lacks a file, all but its size is known by its id.
      if (answer === undefined) this.unsized++;
      this.#sizes.set(id, answer?.size ?? 0);
    });
  }

  async #readTexts(ids: readonly string[], encoding: 'utf8' | 'latin1'): Promise<void> {
    // Their sizes are asked first, so that a large file is not read to be refused.
    await this.#readSizes(ids);
    const small = ids.filter((id) => (this.#sizes.get(id) ?? 0) <= MAX_TEXT);
    for (const id of ids) if (!small.includes(id)) this.#lacking.set(id, tooLarge(id));
    await this.#objects().ask(small, (id, answer) => {
      const text = answer?.content?.toString(encoding);
      if (text === undefined) this.#lacking.set(id, missing(id));
      else this.#texts.set(encoding === 'utf8' ? id : `raw ${id}`, text);
    });
  }

  #objects(): ObjectReader {
    return (this.#content ??= new ObjectReader(this.dir, 'content'));
  }
}

type WantedKind = 'trees' | 'sizes' | 'texts' | 'targets';

/** What runs have asked for in vain. */
class Wanted {
  readonly trees = new Set<string>();
  readonly sizes = new Set<string>();
  readonly texts = new Set<string>();
  readonly targets = new Set<string>();
  /** How often something was asked for. */
  asked = 0;

  add(kind: WantedKind, id: string): undefined {
    this.asked++;
    this[kind].add(id);
    return undefined;
  }
}

function attempt<T>(run: () => T): { readonly value: T } | undefined {
  try {
    return { value: run() };
  } catch (error) {
    if (error instanceof NotRead) return undefined;
    throw error;
  }
}

function notRead(): never {
  throw NOT_READ;
}

/** Remembers the latest: what was not asked for while as many others came is forgotten. */
class Remembered<T> {
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  constructor(private most: number) {}

  /** What is needed at one time must not drive itself out. */
  makeRoom(count: number): void {
    this.most = Math.max(this.most, 2 * count);
  }

  get(name: string): T | undefined {
    const young = this.#young.get(name);
    if (young !== undefined) return young;
    const old = this.#old.get(name);
    if (old !== undefined) this.set(name, old);
    return old;
  }

  set(name: string, value: T): void {
    if (this.#young.size >= this.most) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(name, value);
  }
}

/** gitformat-tree: `mode name\0` and the bytes of the id, as many as the tree's own id has; `undefined` for anything else. */
function parseTree(bytes: Buffer, id: string): GitEntry[] | undefined {
  const idBytes = id.length / 2;
  const entries: GitEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    if (space < 0 || end < 0 || end + 1 + idBytes > bytes.length) return undefined;
    entries.push({
      name: bytes.toString('latin1', space + 1, end),
      kind: KINDS[bytes.toString('latin1', at, space)] ?? 'file',
      id: bytes.toString('hex', end + 1, end + 1 + idBytes),
    });
    at = end + 1 + idBytes;
  }
  // git sorts directories as if their names ended in a slash.
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function missing(id: string): MbuildError {
  return new MbuildError('GIT_FAILED', `the repository has no object ${id}`, {
    hint: 'a shallow or partial clone lacks a part of its history: git fetch --unshallow, git fetch --refetch',
  });
}

function tooLarge(id: string): MbuildError {
  return new MbuildError('LIMIT_EXCEEDED', `the git object ${id} is too large for a text`, {
    hint: `a Dockerfile, an ignore file or a lock file has at most ${MAX_TEXT >> 20} MiB`,
  });
}
