import { createHash } from 'node:crypto';
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { lock } from '../linux/flock';
import { removeTree } from '../linux/remove-tree';
import type { ResolvedGit } from './git';
import { git, reposOf, tryGit, type GitCall, type GitServices } from './git-command';

/** A commit that is wanted, and what git works with. */
export interface GitWork {
  readonly resolved: ResolvedGit;
  readonly services: GitServices;
  readonly signal: AbortSignal;
}

/**
 * Refs of the store's own repositories: each fetched commit has one, which keeps it from being
 * pruned.
 */
export const KEPT = 'refs/mbuild/';

/** Does something with a repository of the store that has the commit; one process at a time. */
export async function withRepository(
  work: GitWork,
  use: (repository: string) => Promise<void>,
): Promise<void> {
  const { remote, display } = work.resolved.address;
  const repos = reposOf(work.services);
  mkdirSync(repos, { recursive: true, mode: 0o700 });
  const repository = path.join(
    repos,
    createHash('sha256').update(`${remote}\0${work.resolved.commit.length}`).digest('hex'),
  );
  const fd = openSync(`${repository}.lock`, 'a', 0o600);
  try {
    await lock(fd, 'exclusive', work.signal);
    // Says what is locked, and by its time when it was used.
    ftruncateSync(fd);
    writeSync(fd, display);
    if (!existsSync(path.join(repository, 'HEAD'))) await makeRepository(repository, work);
    if (!(await hasCommit(repository, work))) await fetchCommit(repository, work);
    await use(repository);
  } finally {
    closeSync(fd);
  }
}

/** The flag for repositories whose objects are named as a commit is. */
export function formatFlag(commit: string): string {
  return `--object-format=${commit.length === 64 ? 'sha256' : 'sha1'}`;
}

async function makeRepository(
  repository: string,
  { resolved, services, signal }: GitWork,
): Promise<void> {
  removeTree(repository);
  const flags = ['--quiet', '--bare', '--template=', formatFlag(resolved.commit)];
  const call = { cwd: path.dirname(repository), signal };
  await git(['init', ...flags, '--', repository], call, services);
}

async function hasCommit(
  repository: string,
  { resolved, services, signal }: GitWork,
): Promise<boolean> {
  const name = `${KEPT}${resolved.commit}^{commit}`;
  const call = { cwd: repository, signal };
  const { exitCode } = await tryGit(['rev-parse', '--quiet', '--verify', name], call, services);
  return exitCode === 0;
}

const FETCH = [
  'fetch',
  '--quiet',
  '--no-tags',
  '--force',
  '--no-write-fetch-head',
  '--no-recurse-submodules',
];

/**
 * The commit alone, without its history; where a server does not give commits by name, all branches
 * and tags.
 */
async function fetchCommit(repository: string, work: GitWork): Promise<void> {
  const { resolved, services, signal } = work;
  const { address, commit } = resolved;
  const call: GitCall = { cwd: repository, from: address, signal };
  const direct = [...FETCH, '--depth=1', '--', address.remote, `+${commit}:${KEPT}${commit}`];
  if (address.fetchByCommit) {
    await git(direct, call, services);
    return;
  }
  const { exitCode } = await tryGit(direct, call, services);
  if (exitCode !== 0) await fetchByName(repository, call, work);
}

async function fetchByName(
  repository: string,
  call: GitCall,
  { resolved: { address, commit, ref }, services, signal }: GitWork,
): Promise<void> {
  const all =
    ref === undefined
      ? ['+refs/heads/*:refs/remotes/all/*', '+refs/tags/*:refs/remotes/tags/*']
      : [`+${ref}:refs/remotes/one`];
  const deepen = existsSync(path.join(repository, 'shallow')) ? ['--unshallow'] : [];
  const depth = ref === undefined ? deepen : ['--depth=1'];
  await git([...FETCH, ...depth, '--', address.remote, ...all], call, services);
  // An object that is not there makes no ref; neither does one that is not, or does not lead to, a
  // commit.
  const own = { cwd: repository, signal };
  const found = await tryGit(['cat-file', '-e', `${commit}^{commit}`], own, services);
  if (found.exitCode === 0) {
    await git(['update-ref', `${KEPT}${commit}`, commit], own, services);
    return;
  }
  throw new MbuildError('GIT_FAILED', `${address.display} has no commit ${commit}`, {
    hint:
      ref === undefined ? 'has its branch been pushed?' : `${ref} has moved meanwhile; build again`,
  });
}
