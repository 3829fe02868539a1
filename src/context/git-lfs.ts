import { existsSync, lstatSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Diagnostic } from '../diagnostics/error';
import { git, tryGit, type GitCall } from './git-command';
import type { GitWork } from './git-repository';

/** What the pointers of Git LFS begin with. git-lfs, docs/spec.md. */
const POINTER = 'version https://git-lfs.github.com/spec/v1';

/** Attributes and pointers are smaller. */
const MAX_TEXT = 1024 * 1024;

/** True where git-lfs is installed: checkouts then hold what pointers stand for. */
export function hasGitLfs(
  env: Readonly<Record<string, string | undefined>> = process.env,
): boolean {
  return (env.PATH ?? '').split(':').some((folder) => existsSync(path.join(folder, 'git-lfs')));
}

/**
 * Puts the files in place that a checkout has as pointers of Git LFS, where git-lfs is there. They
 * are asked for at the repository's own address, whatever the repository says.
 * @returns what is to be said where pointers are left.
 */
export async function fetchLfs(
  directory: string,
  repository: string,
  work: GitWork,
): Promise<readonly Diagnostic[]> {
  const call: GitCall = { cwd: directory, signal: work.signal };
  const pointers = await pointersIn(call, work);
  const [first] = pointers;
  if (first === undefined) return [];
  const count =
    pointers.length === 1 ? `${first} is` : `${pointers.length} files (${first}, …) are`;
  const what = `${count} a pointer of Git LFS in ${work.resolved.address.display}`;
  if (!hasGitLfs()) return [warning(what, 'install git-lfs to get the files behind the pointers')];
  const { address } = work.resolved;
  const settings = [
    `lfs.url=${address.protocol === 'file' ? address.remote : `${address.remote}/info/lfs`}`,
    `lfs.storage=${path.join(repository, 'lfs')}`,
    'lfs.concurrenttransfers=4',
  ].flatMap((setting) => ['-c', setting]);
  await git(['config', 'remote.origin.url', address.remote], call, work.services);
  const from = { ...call, from: address };
  const pulled = await tryGit([...settings, 'lfs', 'pull', 'origin'], from, work.services);
  if (pulled.exitCode === 0) return [];
  const said = pulled.stderr.trim().split('\n').at(-1) ?? '';
  return [warning(`${what}, which could not be fetched: ${said}`, undefined)];
}

/** Only looked for where an attribute asks for LFS, for that takes a look into each file. */
async function pointersIn(call: GitCall, { services }: GitWork): Promise<readonly string[]> {
  const attributes = await git(
    ['ls-files', '-z', '--', '.gitattributes', ':(glob)**/.gitattributes'],
    call,
    services,
  );
  const asksForLfs = namesIn(attributes.stdout).some((name) =>
    hasFilter(path.join(call.cwd, name)),
  );
  if (!asksForLfs) return [];
  const grep = ['grep', '-z', '-l', '-I', '--fixed-strings', '--max-depth=-1', '-e', POINTER];
  const found = await tryGit(grep, call, services);
  return namesIn(found.stdout).filter((name) => isPointer(path.join(call.cwd, name)));
}

function hasFilter(file: string): boolean {
  return /\bfilter=lfs\b/.test(textOf(file));
}

function isPointer(file: string): boolean {
  return textOf(file).startsWith(`${POINTER}\n`);
}

/** A link leads anywhere, and is no pointer. */
function textOf(file: string): string {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  return stats?.isFile() === true && stats.size < MAX_TEXT ? readFileSync(file, 'utf8') : '';
}

function namesIn(list: string): string[] {
  return list.split('\0').filter((name) => name !== '');
}

function warning(message: string, hint: string | undefined): Diagnostic {
  return { severity: 'warning', code: 'GitLfsPointer', message, hint };
}
