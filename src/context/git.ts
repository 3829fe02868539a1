import { mkdirSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { git, reposOf, type GitServices } from './git-command';
import { isCommit, type GitAddress } from './git-url';

/** A repository at a commit. */
export interface ResolvedGit {
  readonly address: GitAddress;
  readonly commit: string;
  /** The full name of the ref that led to it. */
  readonly ref: string | undefined;
}

/**
 * Finds out which commit is meant; the repository is asked unless the address names a full commit.
 * @throws MbuildError GIT_FAILED, CHECKSUM_MISMATCH, EXEC_NOT_FOUND (no git), CANCELED.
 */
export async function resolveGit(
  address: GitAddress,
  services: GitServices,
  signal: AbortSignal,
): Promise<ResolvedGit> {
  const { ref, commit } = address;
  if (address.fetchByCommit && commit !== undefined)
    return { address, commit, ref: ref === undefined ? undefined : fullName(ref) };
  if (ref !== undefined && isCommit(ref))
    return confirmed({ address, commit: ref, ref: undefined }, []);
  if (ref === undefined && commit !== undefined && isCommit(commit))
    return { address, commit, ref: undefined };
  mkdirSync(reposOf(services), { recursive: true, mode: 0o700 });
  const patterns = ref === undefined ? ['HEAD'] : [ref, `${ref}^{}`];
  const { stdout } = await git(
    ['ls-remote', '--symref', '--', address.remote, ...patterns],
    { cwd: reposOf(services), from: address, signal },
    services,
  );
  const found = chooseRef(stdout, ref);
  if (found === undefined) {
    throw new MbuildError(
      'GIT_FAILED',
      `${address.display} has no ${ref === undefined ? 'default branch' : `branch or tag ${ref}`}`,
      { hint: 'write the full commit id: 40 characters' },
    );
  }
  return confirmed({ address, commit: found.commit, ref: found.ref }, found.others);
}

/**
 * git-checkout's order: a branch before a tag; a full name is that name. Annotated tags stand for
 * their commits (`^{}`).
 */
function chooseRef(
  listing: string,
  ref: string | undefined,
):
  | {
      readonly commit: string;
      readonly ref: string | undefined;
      readonly others: readonly string[];
    }
  | undefined {
  const refs = new Map<string, string>();
  let head: string | undefined;
  for (const line of listing.split('\n')) {
    const [id = '', name = ''] = line.split('\t');
    if (id.startsWith('ref: ')) head = id.slice('ref: '.length);
    else if (isCommit(id)) refs.set(name, id);
  }
  const name = namesOf(ref).find((candidate) => refs.has(candidate));
  const object = name === undefined ? undefined : refs.get(name);
  if (name === undefined || object === undefined) return undefined;
  const peeled = refs.get(`${name}^{}`);
  return {
    commit: peeled ?? object,
    ref: name === 'HEAD' ? head : name,
    others: peeled === undefined ? [] : [object],
  };
}

/** The full names that a ref may stand for, the likeliest first. */
function namesOf(ref: string | undefined): string[] {
  if (ref === undefined) return ['HEAD'];
  if (ref.startsWith('refs/')) return [ref];
  return [`refs/heads/${ref}`, `refs/tags/${ref}`, `refs/${ref}`];
}

/** A name that nobody is asked about is a branch's, as in BuildKit; a commit is none. */
function fullName(ref: string): string | undefined {
  if (isCommit(ref)) return undefined;
  return ref.startsWith('refs/') ? ref : `refs/heads/${ref}`;
}

/** @param others further objects whose names are as good: an annotated tag's own. */
function confirmed(resolved: ResolvedGit, others: readonly string[]): ResolvedGit {
  const {
    address: { commit, display, ref },
    commit: found,
  } = resolved;
  if (commit === undefined || [found, ...others].some((name) => name.startsWith(commit)))
    return resolved;
  throw new MbuildError(
    'CHECKSUM_MISMATCH',
    `${ref ?? 'HEAD'} of ${display} is the commit ${found}, not ${commit}`,
    { hint: 'the ref has moved, or the checksum is wrong' },
  );
}
