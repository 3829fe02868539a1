import { createHash } from 'node:crypto';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { MbuildError } from '../diagnostics/error';
import type { RawPath } from '../linux/paths';
import { runCommand } from '../sandbox/command';

/** A commit to look at. */
export interface GitCommit {
  readonly id: string;
  readonly tree: string;
  readonly parents: number;
  /** Seconds since the epoch: when it was committed. */
  readonly time: number;
  readonly subject: string;
}

/** An entry of a tree object. */
export interface GitEntry {
  readonly name: RawPath;
  readonly kind: 'file' | 'executable' | 'symlink' | 'directory' | 'submodule';
  readonly id: string;
}

/** A file's bytes, as far as they are asked for. */
export interface GitBlob {
  readonly size: number;
  /** sha256 of the bytes, hex. */
  readonly hash: string;
}

const KINDS: Readonly<Record<string, GitEntry['kind']>> = {
  40000: 'directory',
  100755: 'executable',
  120000: 'symlink',
  160000: 'submodule',
};

/** A repository's objects, read by one `git cat-file --batch` and remembered: nothing is checked out. */
export class GitObjects {
  readonly #trees = new Map<string, readonly GitEntry[]>();
  readonly #links = new Map<string, RawPath>();
  readonly #blobs = new Map<string, GitBlob>();
  readonly #texts = new Map<string, string>();
  readonly #complete = new Set<string>();
  #reader: ObjectReader | undefined;

  /** @param dir any folder of the repository. */
  constructor(private readonly dir: string) {}

  /** The repository's folder, and the path from there to `dir`. @throws MbuildError GIT_FAILED where there is no repository. */
  async place(): Promise<{ readonly top: string; readonly prefix: string }> {
    const [top = '', prefix = ''] = (
      await this.#git('rev-parse', '--show-toplevel', '--show-prefix')
    ).split('\n');
    return { top, prefix: prefix.replace(/\/$/, '') };
  }

  /** The commits of a range as git has it, the oldest first; of a merge the first parent's line alone is followed, unless `all`. */
  async commits(range: string, all: boolean): Promise<GitCommit[]> {
    if (range.startsWith('-'))
      throw new MbuildError('USAGE', `${range} is no range of commits`, {
        hint: 'write for example HEAD~50.. or v1.0..main',
      });
    const text = await this.#git(
      'log',
      '--reverse',
      '--topo-order',
      ...(all ? [] : ['--first-parent']),
      '--format=%H%x00%T%x00%P%x00%ct%x00%s',
      '--end-of-options',
      range,
      '--',
    );
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [id = '', tree = '', parents = '', time = '0', subject = ''] = line.split('\0');
        return {
          id,
          tree,
          parents: parents === '' ? 0 : parents.split(' ').length,
          time: Number(time),
          subject,
        };
      });
  }

  /** Reads a tree with all below it, so that {@link entries} and {@link target} can be asked without waiting. */
  async load(tree: string): Promise<void> {
    if (this.#complete.has(tree)) return;
    const entries = await this.#tree(tree);
    await Promise.all(
      entries.map(async ({ kind, id }) => {
        if (kind === 'directory') await this.load(id);
        else if (kind === 'symlink' && !this.#links.has(id))
          this.#links.set(id, (await this.#objects().read(id)).toString('latin1'));
      }),
    );
    this.#complete.add(tree);
  }

  /** The entries of a loaded tree, sorted by name. */
  entries(tree: string): readonly GitEntry[] {
    return this.#trees.get(tree) ?? [];
  }

  /** The target of a symlink of a loaded tree. */
  target(blob: string): RawPath {
    return this.#links.get(blob) ?? '';
  }

  /** Sizes and hashes of blobs. */
  async blobs(ids: readonly string[]): Promise<readonly GitBlob[]> {
    return Promise.all(
      ids.map(async (id) => {
        const known = this.#blobs.get(id);
        if (known !== undefined) return known;
        const blob = await this.#objects().hash(id);
        this.#blobs.set(id, blob);
        return blob;
      }),
    );
  }

  /** A small file as text. */
  async text(blob: string): Promise<string> {
    const text = this.#texts.get(blob) ?? (await this.#objects().read(blob)).toString('utf8');
    this.#texts.set(blob, text);
    return text;
  }

  /** Ends the program behind it. */
  close(): void {
    this.#reader?.close();
  }

  async #tree(id: string): Promise<readonly GitEntry[]> {
    const known = this.#trees.get(id);
    if (known !== undefined) return known;
    const entries = parseTree(await this.#objects().read(id));
    this.#trees.set(id, entries);
    return entries;
  }

  #objects(): ObjectReader {
    return (this.#reader ??= new ObjectReader(this.dir));
  }

  async #git(...args: string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await runCommand('git', ['-C', this.dir, ...args]);
    if (exitCode !== 0)
      throw new MbuildError('GIT_FAILED', `git ${args[0] ?? ''} in ${this.dir}: ${stderr.trim()}`);
    return stdout;
  }
}

/** gitformat-tree: `mode name\0` and the 20 (sha1) or 32 (sha256) bytes of the id. Which it is shows in whether the parts fit. */
function parseTree(bytes: Buffer): GitEntry[] {
  const entries = readEntries(bytes, 20) ?? readEntries(bytes, 32);
  if (entries === undefined)
    throw new MbuildError('GIT_FAILED', 'git gave a tree that cannot be read');
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readEntries(bytes: Buffer, idBytes: number): GitEntry[] | undefined {
  const entries: GitEntry[] = [];
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    const mode = bytes.toString('latin1', at, space);
    if (space < 0 || end < 0 || !/^[0-7]{5,6}$/.test(mode) || end + 1 + idBytes > bytes.length)
      return undefined;
    entries.push({
      name: bytes.toString('latin1', space + 1, end),
      kind: KINDS[mode] ?? 'file',
      id: bytes.toString('hex', end + 1, end + 1 + idBytes),
    });
    at = end + 1 + idBytes;
  }
  return entries;
}

/** An object that was asked for. */
interface Wanted {
  readonly id: string;
  readonly take: (chunk: Buffer) => void;
  readonly done: (size: number) => void;
  readonly fail: (error: Error) => void;
}

/** `git cat-file --batch`: ids in, objects out, in order. The dialogue is why it is not run as other programs are. */
class ObjectReader {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #wanted: Wanted[] = [];
  #head: Buffer = Buffer.alloc(0);
  /** Bytes left of the current object, its closing line feed included; 0 between objects. */
  #left = 0;
  #size = 0;

  constructor(dir: string) {
    this.#process = spawn('git', ['-C', dir, 'cat-file', '--batch'], { stdio: 'pipe' });
    this.#process.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    const lose = (error: Error): void => {
      for (const wanted of this.#wanted.splice(0))
        wanted.fail(
          new MbuildError('GIT_FAILED', `git cat-file ended: ${error.message}`, { cause: error }),
        );
    };
    this.#process.on('error', lose);
    this.#process.on('close', (code) => lose(new Error(`exit code ${code ?? 'unknown'}`)));
    this.#process.stdin.on('error', () => undefined); // its end is reported by `close`
  }

  read(id: string): Promise<Buffer> {
    const chunks: Buffer[] = [];
    return this.#ask(id, (chunk) => chunks.push(Buffer.from(chunk))).then(() =>
      Buffer.concat(chunks),
    );
  }

  hash(id: string): Promise<GitBlob> {
    const hash = createHash('sha256');
    return this.#ask(id, (chunk) => hash.update(chunk)).then((size) => ({
      size,
      hash: hash.digest('hex'),
    }));
  }

  close(): void {
    this.#process.stdin.end();
  }

  #ask(id: string, take: Wanted['take']): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ id, take, done: resolve, fail: reject });
      this.#process.stdin.write(`${id}\n`);
    });
  }

  #take(chunk: Buffer): void {
    let rest = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
    this.#head = Buffer.alloc(0);
    while (rest.length > 0) {
      const [wanted] = this.#wanted;
      if (wanted === undefined) return;
      if (this.#left === 0) {
        const end = rest.indexOf(0x0a);
        if (end < 0) {
          this.#head = rest;
          return;
        }
        const [, type, size] = /^\S+ (\S+) (\d+)$/.exec(rest.toString('latin1', 0, end)) ?? [];
        rest = rest.subarray(end + 1);
        if (type === undefined || size === undefined) {
          this.#wanted.shift();
          wanted.fail(
            new MbuildError('GIT_FAILED', `the repository lacks the object ${wanted.id}`, {
              hint: 'a shallow or partial clone has not all of its history: git fetch --unshallow',
            }),
          );
          continue;
        }
        this.#size = Number(size);
        this.#left = this.#size + 1;
      }
      const part = rest.subarray(0, this.#left);
      const content = this.#left - part.length >= 1 ? part : part.subarray(0, part.length - 1);
      if (content.length > 0) wanted.take(content);
      this.#left -= part.length;
      rest = rest.subarray(part.length);
      if (this.#left === 0) {
        this.#wanted.shift();
        wanted.done(this.#size);
      }
    }
  }
}
