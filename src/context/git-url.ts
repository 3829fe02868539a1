import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { didYouMean } from '../diagnostics/suggest';

/**
 * A git repository, and what of it is wanted, as an address says it. BuildKit, "Git URL fragments"
 * and "URL queries".
 */
export interface GitAddress {
  /**
   * As git is given it: without user and password where git would send them over http, without
   * query and fragment.
   */
  readonly remote: string;
  /** For messages: without credentials. */
  readonly display: string;
  readonly protocol: 'http' | 'https' | 'ssh' | 'git' | 'file';
  /** Of an http(s) address. */
  readonly host: string | undefined;
  readonly credentials: { readonly username: string; readonly password: string } | undefined;
  /** A branch, tag, full ref name or full commit; the default branch when absent. */
  readonly ref: string | undefined;
  /** Below the repository's root, normalised, without a slash at either end; absent: all of it. */
  readonly subdir: string | undefined;
  /** The commit that the ref must turn out to be, perhaps its beginning only. */
  readonly commit: string | undefined;
  readonly keepGitDir: boolean | undefined;
  readonly submodules: boolean;
  /** The time of the files: when they are checked out, or when the commit was made. */
  readonly mtime: 'checkout' | 'commit';
  /** The full commit is fetched as it is; nobody is asked what the ref stands for. */
  readonly fetchByCommit: boolean;
}

type Wanted = Omit<GitAddress, 'remote' | 'display' | 'protocol' | 'host' | 'credentials'>;

/** `user@host:path`, as scp and git have it. */
const SCP = /^([A-Za-z0-9._~+][A-Za-z0-9._~+-]*)@([A-Za-z0-9][A-Za-z0-9.-]*):(?!\/\/|:)(.+)$/;
const SCHEMES = ['http:', 'https:', 'ssh:', 'git:', 'file:'];
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True', ''];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];
/** Full object names of SHA-1 and SHA-256 repositories. */
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
/**
 * git-check-ref-format(1), and nothing that a shell or git's option parser could take for something
 * else.
 */
const REF = /^(?![-/.])[\p{L}\p{M}\p{N}._/+@=,%!#&'()-]+$/u;
const MAX_REF = 1024;

/**
 * True for a context that is a repository: by its scheme, or as http(s) addresses whose path ends
 * in `.git`.
 */
export function isGitAddress(text: string): boolean {
  return (
    /^(?:git:\/\/|git@|ssh:\/\/|github\.com\/)/.test(text) ||
    /^(?:https?|file):\/\/[^#?]*\.git(?:[#?]|$)/.test(text)
  );
}

/** True for the full name of a commit. */
export function isCommit(text: string): boolean {
  return COMMIT.test(text);
}

/**
 * Reads `URL[?query][#ref[:subdir]]`. The fragment and the query must not contradict each other.
 * @throws MbuildError GIT_FAILED for what is no address, an unknown query, a ref or subdir that
 * could mean something else.
 */
export function parseGitAddress(text: string): GitAddress {
  const at = text.indexOf('#');
  const beforeFragment = at < 0 ? text : text.slice(0, at);
  const question = beforeFragment.indexOf('?');
  const place = question < 0 ? beforeFragment : beforeFragment.slice(0, question);
  const remote = remoteOf(place.startsWith('github.com/') ? `https://${place}` : place);
  const wanted = wantedBy(
    at < 0 ? '' : text.slice(at + 1),
    question < 0 ? '' : beforeFragment.slice(question + 1),
    remote.display,
  );
  return { ...remote, ...wanted };
}

function remoteOf(
  text: string,
): Pick<GitAddress, 'remote' | 'display' | 'protocol' | 'host' | 'credentials'> {
  if (/[\0-\x20\x7f]/.test(text))
    throw invalid(JSON.stringify(text), 'it holds blanks or control characters');
  if (!/^[a-z]+:\/\//.test(text)) {
    const [, user, host, place] = SCP.exec(text) ?? [];
    if (user === undefined || host === undefined || place === undefined || place.startsWith('-'))
      throw invalid(text, 'write https://HOST/PATH, ssh://HOST/PATH or git@HOST:PATH');
    const remote = `${user}@${host}:${place}`;
    return { remote, display: remote, protocol: 'ssh', host: undefined, credentials: undefined };
  }
  if (!URL.canParse(text)) throw invalid(text.replace(/\/\/[^/]*@/, '//'), 'it is not a URL');
  const url = new URL(text);
  if (!SCHEMES.includes(url.protocol))
    throw invalid(`${url.protocol}//…`, 'git uses https, http, ssh, git or file');
  if (url.hostname.startsWith('-') || decodeURIComponent(url.username).startsWith('-'))
    throw invalid(url.hostname, 'the host must not begin with a dash');
  const protocol = url.protocol.slice(0, -1) as GitAddress['protocol'];
  const isHttp = protocol === 'http' || protocol === 'https';
  const credentials =
    isHttp && url.username !== ''
      ? { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }
      : undefined;
  if (isHttp) url.username = '';
  url.password = '';
  return {
    remote: url.href,
    display: url.href,
    protocol,
    host: isHttp ? url.host : undefined,
    credentials,
  };
}

/** What a query sets besides what a fragment can say. */
interface Query {
  readonly ref?: string;
  readonly subdir?: string;
  readonly commit?: string;
  readonly keepGitDir?: boolean;
  readonly submodules?: boolean;
  readonly mtime?: GitAddress['mtime'];
  readonly fetchByCommit?: boolean;
}

/**
 * The keys of a query. A value is taken from `read`, which refuses an empty one where `true` is not
 * meant by it.
 */
const QUERY: Readonly<Record<string, (value: string, fail: Fail) => Query>> = {
  ref: (value) => ({ ref: value }),
  tag: (value) => ({ ref: `refs/tags/${value}` }),
  branch: (value) => ({ ref: `refs/heads/${value}` }),
  subdir: (value) => ({ subdir: value }),
  checksum: (value) => ({ commit: value }),
  commit: (value) => ({ commit: value }),
  'keep-git-dir': (value, fail) => ({ keepGitDir: booleanOf(value, fail) }),
  submodules: (value, fail) => ({ submodules: booleanOf(value, fail) }),
  mtime: (value, fail) => ({ mtime: mtimeOf(value, fail) }),
  'fetch-by-commit': (value, fail) => ({ fetchByCommit: booleanOf(value, fail) }),
};

/** Keys that mean true without a value. */
const SWITCHES = ['keep-git-dir', 'submodules', 'fetch-by-commit'];

/** Makes an error that says why an address cannot be used. */
type Fail = (why: string, hint?: string) => MbuildError;

function wantedBy(fragment: string, query: string, display: string): Wanted {
  const colon = fragment.indexOf(':');
  const fail: Fail = (why, hint) => invalid(display, why, hint);
  let wanted: Query = without({
    ref: (colon < 0 ? fragment : fragment.slice(0, colon)) || undefined,
    subdir: (colon < 0 ? '' : fragment.slice(colon + 1)) || undefined,
  });
  const seen = new Set<string>();
  for (const [key, value] of new URLSearchParams(query)) {
    if (seen.has(key)) throw fail(`its query has ${JSON.stringify(key)} twice`);
    seen.add(key);
    wanted = merged(wanted, readQuery(key, value, fail), key, fail);
  }
  if (wanted.ref !== undefined) checkRef(wanted.ref, display);
  if (wanted.commit !== undefined) checkCommit(wanted.commit, display);
  const { fetchByCommit = false, ref, subdir } = wanted;
  const commit = wanted.commit ?? (fetchByCommit && isCommit(ref ?? '') ? ref : undefined);
  if (fetchByCommit && !isCommit(commit ?? ''))
    throw fail('fetch-by-commit needs the full name of a commit', 'give it with commit=');
  return {
    ref,
    subdir: subdir === undefined ? undefined : normalSubdir(subdir, display),
    commit,
    keepGitDir: wanted.keepGitDir,
    submodules: wanted.submodules ?? true,
    mtime: wanted.mtime ?? 'checkout',
    fetchByCommit,
  };
}

function readQuery(key: string, value: string, fail: Fail): Query {
  const read = Object.hasOwn(QUERY, key) ? QUERY[key] : undefined;
  if (read === undefined)
    throw fail(
      `${JSON.stringify(key)} in its query is unknown`,
      didYouMean(key, Object.keys(QUERY)) ?? `known keys are ${Object.keys(QUERY).join(', ')}`,
    );
  if (value === '' && !SWITCHES.includes(key)) throw fail(`its query has no value for ${key}`);
  return read(value, (why, hint) => fail(`${key}=${value} in its query ${why}`, hint));
}

/** Both together, unless they contradict each other. */
function merged(wanted: Query, more: Query, key: string, fail: Fail): Query {
  for (const name of ['ref', 'subdir', 'commit'] as const) {
    const [old, now] = [wanted[name], more[name]];
    if (old !== undefined && now !== undefined && old !== now)
      throw fail(`${JSON.stringify(old)} and ${key}=${now} contradict each other`);
  }
  return { ...wanted, ...more };
}

function without(query: { readonly [K in keyof Query]: Query[K] | undefined }): Query {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

/** @throws MbuildError GIT_FAILED unless the text is (the beginning of) a commit's name. */
export function checkCommit(commit: string, display: string): void {
  if (!/^[0-9a-f]{1,64}$/.test(commit))
    throw invalid(
      display,
      `the checksum ${JSON.stringify(commit)} is not a commit id`,
      'a commit id has 40 characters of 0-9 and a-f; its beginning is enough',
    );
}

function checkRef(ref: string, display: string): void {
  const isSound =
    REF.test(ref) &&
    ref.length <= MAX_REF &&
    !/\.\.|@\{|\/\/|\/\.|\.lock(?:\/|$)|[/.]$/.test(ref) &&
    ref !== '@';
  if (!isSound)
    throw invalid(
      display,
      `${JSON.stringify(ref.slice(0, 100))} is not the name of a branch, tag or commit`,
    );
}

/** A subdirectory, which may not lead out of the repository. */
function normalSubdir(subdir: string, display: string): string | undefined {
  if (subdir.includes('\0') || subdir.split('/').includes('..'))
    throw invalid(
      display,
      `its subdirectory ${JSON.stringify(subdir)} leads out of the repository`,
    );
  const normal = path.posix.normalize(`/${subdir}`).replace(/^\/|\/$/g, '');
  return normal === '' ? undefined : normal;
}

function booleanOf(value: string, fail: Fail): boolean {
  if (TRUE.includes(value)) return true;
  if (FALSE.includes(value)) return false;
  throw fail('is neither true nor false');
}

function mtimeOf(value: string, fail: Fail): GitAddress['mtime'] {
  if (value === 'checkout' || value === 'commit') return value;
  throw fail('is neither checkout nor commit');
}

function invalid(what: string, why: string, hint?: string): MbuildError {
  return new MbuildError('GIT_FAILED', `${what.slice(0, 300)} is not a valid git address: ${why}`, {
    hint,
  });
}
