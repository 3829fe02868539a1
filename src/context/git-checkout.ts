import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { tempName } from '../content/files';
import { MbuildError, type Diagnostic } from '../diagnostics/error';
import { fsPath, toRaw, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { setTimes } from '../linux/times';
import type { ResolvedGit } from './git';
import { git, type GitCall, type GitServices } from './git-command';
import { fetchLfs } from './git-lfs';
import { KEPT, formatFlag, withRepository, type GitWork } from './git-repository';
import { LocalContext } from './local';

/** The files of a commit in a directory that is the caller's until `close`. */
export interface GitCheckout {
  readonly tree: LocalContext;
  /** What is to be said of the files. */
  readonly warnings?: readonly Diagnostic[] | undefined;
  /** Deletes the files. */
  readonly close: () => void;
}

/** Brings the files of a commit into a new directory of the store's. */
export async function checkoutGit(
  resolved: ResolvedGit,
  keepGitDir: boolean,
  services: GitServices,
  signal: AbortSignal,
): Promise<GitCheckout> {
  const { address } = resolved;
  const folder = tempName(services.root, 'git');
  const close = (): void => removeTree(folder);
  const work: GitWork = { resolved, services, signal };
  try {
    const directory = path.join(folder, 'work');
    let warnings: readonly Diagnostic[] = [];
    await withRepository(work, async (repository) => {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      warnings = await new Checkout(work, repository, directory).run(keepGitDir);
    });
    const tree = new LocalContext(subdirectory(directory, resolved), undefined, {
      title: `the git repository ${address.display}`,
    });
    return { tree, warnings, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Writes the files of a commit into a directory. */
class Checkout {
  readonly #call: GitCall;
  readonly #gitDir: string;

  /** @param directory to be made; beside it there may be files for the time of the work. */
  constructor(
    private readonly work: GitWork,
    private readonly repository: string,
    private readonly directory: string,
  ) {
    this.#call = { cwd: directory, signal: work.signal };
    this.#gitDir = path.join(directory, '.git');
  }

  /** Writes the files with git's modes, and its directory where that is wanted. */
  async run(keepGitDir: boolean): Promise<readonly Diagnostic[]> {
    const { address, commit: wanted, ref } = this.work.resolved;
    const flags = ['--quiet', '--template=', '--initial-branch=main', formatFlag(wanted)];
    const { signal, services } = this.work;
    const above = { cwd: path.dirname(this.directory), signal };
    await git(['init', ...flags, '--', this.directory], above, services);
    if (keepGitDir) await this.#copyRepository();
    else this.#borrowRepository();
    // What was asked for by its name may be a tag.
    const commit = await this.#told(['rev-parse', '--verify', `${wanted}^{commit}`]);
    // The index that is written along with the files knows their times; git's directory gets one
    // that is the same every time.
    const temporaryIndex = { GIT_INDEX_FILE: path.join(path.dirname(this.directory), 'index') };
    const read = { ...this.#call, env: temporaryIndex };
    await git(['read-tree', '--reset', '-u', commit], read, services);
    if (keepGitDir && ref?.startsWith('refs/heads/') === true)
      await this.#git('symbolic-ref', 'HEAD', ref);
    else await this.#git('update-ref', '--no-deref', 'HEAD', commit);
    await this.#git('read-tree', commit);
    if (address.submodules && existsSync(path.join(this.directory, '.gitmodules')))
      await this.#updateSubmodules();
    const warnings = await fetchLfs(this.directory, this.repository, this.work);
    const time = await this.#told(['show', '--no-patch', '--format=%ct', commit]);
    if (!keepGitDir) removeGitDirs(toRaw(this.directory));
    if (address.mtime === 'commit') dateAll(toRaw(this.directory), Number(time));
    return warnings;
  }

  /** Git's directory with the commit alone. */
  async #copyRepository(): Promise<void> {
    const { address, commit, ref } = this.work.resolved;
    const flags = [
      '--quiet',
      '--depth=1',
      '--no-tags',
      '--no-write-fetch-head',
      '--update-head-ok',
    ];
    const local = ['-c', 'protocol.file.allow=always', 'fetch', ...flags, '--', this.repository];
    await this.#git(...local, `+${KEPT}${commit}:${localRef(ref, commit)}`);
    await this.#git('config', 'remote.origin.url', address.display);
    await this.#git('config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*');
  }

  /** The objects stay where they are: git's directory goes again. */
  #borrowRepository(): void {
    appendFileSync(
      path.join(this.#gitDir, 'objects', 'info', 'alternates'),
      `${path.join(this.repository, 'objects')}\n`,
    );
    const shallow = path.join(this.repository, 'shallow');
    if (existsSync(shallow))
      writeFileSync(path.join(this.#gitDir, 'shallow'), readFileSync(shallow));
  }

  /**
   * Their commits are pinned by the tree; their addresses are the repository's choice, so that they
   * lead to the network only.
   */
  async #updateSubmodules(): Promise<void> {
    const { address } = this.work.resolved;
    const from =
      address.protocol === 'file' ? ({ ...address, protocol: 'https' } as const) : address;
    const call = { ...this.#call, from };
    const update = ['submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1'];
    await git(['config', 'remote.origin.url', address.display], call, this.work.services);
    await git(update, call, this.work.services);
  }

  async #git(...args: readonly string[]): Promise<void> {
    await git(args, this.#call, this.work.services);
  }

  async #told(args: readonly string[]): Promise<string> {
    return (await git(args, this.#call, this.work.services)).stdout.trim();
  }
}

/** Only for what is fetched by git's directory: names that stay in it. */
function localRef(ref: string | undefined, commit: string): string {
  return ref !== undefined && /^refs\/(?:heads|tags)\//.test(ref)
    ? ref
    : `refs/remotes/origin/${commit}`;
}

/**
 * Git's directories, and the files by which submodules find theirs. What a commit holds never has
 * that name.
 */
function removeGitDirs(directory: RawPath): void {
  removeTree(fsPath(`${directory}/.git`));
  for (const entry of readdirSync(fsPath(directory), { withFileTypes: true, encoding: 'latin1' }))
    if (entry.isDirectory()) removeGitDirs(`${directory}/${entry.name}`);
}

/** Gives all files one time, in seconds since the epoch; directories after what is in them. */
function dateAll(directory: RawPath, time: number): void {
  for (const entry of readdirSync(fsPath(directory), { withFileTypes: true, encoding: 'latin1' })) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) dateAll(path, time);
    else setTimes(path, time, time);
  }
  setTimes(directory, time, time);
}

/**
 * @throws MbuildError GIT_FAILED unless the wanted part is a directory of the repository: links are
 * followed inside it only.
 */
function subdirectory(directory: string, { address, commit }: ResolvedGit): string {
  if (address.subdir === undefined) return directory;
  const entry = new LocalContext(directory).stat(`/${toRaw(address.subdir)}`);
  if (entry?.stats.isDirectory() === true && !entry.path.split('/').includes('.git'))
    return toText(entry.hostPath);
  throw new MbuildError(
    'GIT_FAILED',
    `${address.display} has no directory ${address.subdir} at ${address.ref ?? commit}`,
  );
}
