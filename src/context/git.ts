import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { tempName } from '../content/files';
import { MbuildError } from '../diagnostics/error';
import { lock } from '../linux/flock';
import { toRaw, toText } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { offlineError } from '../registry/offline';
import { runCommand } from '../sandbox/command';
import { isCommit, type GitAddress } from './git-url';
import { LocalContext } from './local';

/** What git works with. */
export interface GitServices {
  /** The store's folder: repositories are kept in its `git/`, as far as they were fetched. */
  readonly root: string;
  /** Secrets of the build: `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, also with `.HOST` behind them. */
  readonly secret: (id: string) => Buffer | undefined;
  /** Only repositories of this machine, and commits that were fetched before. */
  readonly offline?: boolean | undefined;
  /** Socket of the SSH agent of the build; the user's when absent. */
  readonly sshAgent?: string | undefined;
}

/** A repository at a commit. */
export interface ResolvedGit {
  readonly address: GitAddress;
  readonly commit: string;
  /** The full name of the ref that led to it. */
  readonly ref: string | undefined;
}

/** The files of a commit in a directory that is the caller's until `close`. */
export interface GitCheckout {
  readonly tree: LocalContext;
  /** Deletes the files. */
  readonly close: () => void;
}

/** One run of git. */
interface GitCall {
  readonly cwd: string;
  /** Whose network or disk git may ask; none when absent. */
  readonly from?: GitAddress | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
}

/** Refs of the store's own repositories: each fetched commit has one, which keeps it from being pruned. */
const KEPT = 'refs/mbuild/';
const NETWORK_PROTOCOLS = ['http', 'https', 'ssh', 'git'];

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
      { hint: 'commits are named in full: 40 characters' },
    );
  }
  return confirmed({ address, commit: found.commit, ref: found.ref }, found.others);
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
  try {
    const work = path.join(folder, 'work');
    await withRepository(resolved, services, signal, async (repository) => {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      await checkout(resolved, repository, work, keepGitDir, services, signal);
    });
    const title = `the git repository ${address.display}`;
    return { tree: new LocalContext(subdirectory(work, resolved), undefined, { title }), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** git-checkout's order: a branch before a tag; a full name is that name. Annotated tags stand for their commits (`^{}`). */
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
  const names =
    ref === undefined
      ? ['HEAD']
      : ref.startsWith('refs/')
        ? [ref]
        : [`refs/heads/${ref}`, `refs/tags/${ref}`, `refs/${ref}`];
  const name = names.find((candidate) => refs.has(candidate));
  const object = name === undefined ? undefined : refs.get(name);
  if (name === undefined || object === undefined) return undefined;
  const peeled = refs.get(`${name}^{}`);
  return {
    commit: peeled ?? object,
    ref: name === 'HEAD' ? head : name,
    others: peeled === undefined ? [] : [object],
  };
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
    { hint: 'the ref was moved, or the checksum is of another one' },
  );
}

/** Does something with a repository of the store that has the commit; one process at a time. */
async function withRepository(
  resolved: ResolvedGit,
  services: GitServices,
  signal: AbortSignal,
  work: (repository: string) => Promise<void>,
): Promise<void> {
  const {
    address: { remote, display },
    commit,
  } = resolved;
  const repos = reposOf(services);
  mkdirSync(repos, { recursive: true, mode: 0o700 });
  const repository = path.join(
    repos,
    createHash('sha256').update(`${remote}\0${commit.length}`).digest('hex'),
  );
  const fd = openSync(`${repository}.lock`, 'a', 0o600);
  try {
    await lock(fd, 'exclusive', signal);
    // Says what is locked, and by its time when it was used.
    ftruncateSync(fd);
    writeSync(fd, display);
    if (!existsSync(path.join(repository, 'HEAD'))) {
      removeTree(repository);
      const call: GitCall = { cwd: repos, signal };
      await git(
        [
          'init',
          '--quiet',
          '--bare',
          '--template=',
          `--object-format=${commit.length === 64 ? 'sha256' : 'sha1'}`,
          '--',
          repository,
        ],
        call,
        services,
      );
    }
    if (!(await hasCommit(repository, commit, services, signal)))
      await fetchCommit(resolved, repository, services, signal);
    await work(repository);
  } finally {
    closeSync(fd);
  }
}

async function hasCommit(
  repository: string,
  commit: string,
  services: GitServices,
  signal: AbortSignal,
): Promise<boolean> {
  return (
    (
      await tryGit(
        ['rev-parse', '--quiet', '--verify', `${KEPT}${commit}^{commit}`],
        { cwd: repository, signal },
        services,
      )
    ).exitCode === 0
  );
}

/** The commit alone, without its history; where a server does not give commits by name, all branches and tags. */
async function fetchCommit(
  { address, commit, ref }: ResolvedGit,
  repository: string,
  services: GitServices,
  signal: AbortSignal,
): Promise<void> {
  const call: GitCall = { cwd: repository, from: address, signal };
  const fetch = [
    'fetch',
    '--quiet',
    '--no-tags',
    '--force',
    '--no-write-fetch-head',
    '--no-recurse-submodules',
  ];
  const direct = await tryGit(
    [...fetch, '--depth=1', '--', address.remote, `+${commit}:${KEPT}${commit}`],
    call,
    services,
  );
  if (direct.exitCode === 0) return;
  const all =
    ref === undefined
      ? ['+refs/heads/*:refs/remotes/all/*', '+refs/tags/*:refs/remotes/tags/*']
      : [`+${ref}:refs/remotes/one`];
  const deepen = existsSync(path.join(repository, 'shallow')) ? ['--unshallow'] : [];
  await git(
    [...fetch, ...(ref === undefined ? deepen : ['--depth=1']), '--', address.remote, ...all],
    call,
    services,
  );
  const kept = await tryGit(
    ['update-ref', `${KEPT}${commit}`, `${commit}^{commit}`],
    { cwd: repository, signal },
    services,
  );
  if (kept.exitCode !== 0) {
    throw new MbuildError('GIT_FAILED', `${address.display} has no commit ${commit}`, {
      hint:
        ref === undefined
          ? 'is it on a branch that was pushed?'
          : `${ref} was moved meanwhile; build again`,
    });
  }
}

/** Writes the files with git's modes, and its directory where that is wanted. */
async function checkout(
  { address, commit, ref }: ResolvedGit,
  repository: string,
  work: string,
  keepGitDir: boolean,
  services: GitServices,
  signal: AbortSignal,
): Promise<void> {
  const format = `--object-format=${commit.length === 64 ? 'sha256' : 'sha1'}`;
  await git(
    ['init', '--quiet', '--template=', '--initial-branch=main', format, '--', work],
    { cwd: path.dirname(work), signal },
    services,
  );
  const gitDir = path.join(work, '.git');
  const call: GitCall = { cwd: work, signal };
  if (keepGitDir) {
    const copy = [
      '-c',
      'protocol.file.allow=always',
      'fetch',
      '--quiet',
      '--depth=1',
      '--no-tags',
      '--no-write-fetch-head',
      '--update-head-ok',
      '--',
      repository,
    ];
    await git([...copy, `+${KEPT}${commit}:${localRef(ref, commit)}`], call, services);
    await git(['config', 'remote.origin.url', address.display], call, services);
    await git(
      ['config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*'],
      call,
      services,
    );
  } else {
    appendFileSync(
      path.join(gitDir, 'objects', 'info', 'alternates'),
      `${path.join(repository, 'objects')}\n`,
    );
    const shallow = path.join(repository, 'shallow');
    if (existsSync(shallow)) writeFileSync(path.join(gitDir, 'shallow'), readFileSync(shallow));
  }
  // The index that is written along with the files knows their times; git's directory gets one that is the same every time.
  const temporaryIndex = { GIT_INDEX_FILE: path.join(path.dirname(work), 'index') };
  await git(['read-tree', '--reset', '-u', commit], { ...call, env: temporaryIndex }, services);
  if (keepGitDir && ref?.startsWith('refs/heads/') === true)
    await git(['symbolic-ref', 'HEAD', ref], call, services);
  else await git(['update-ref', '--no-deref', 'HEAD', commit], call, services);
  await git(['read-tree', commit], call, services);
  if (address.submodules && existsSync(path.join(work, '.gitmodules')))
    await updateSubmodules(address, work, services, signal);
  if (!keepGitDir) removeGitDirs(toRaw(work));
}

/** Only for what is fetched by git's directory: names that stay in it. */
function localRef(ref: string | undefined, commit: string): string {
  return ref !== undefined && /^refs\/(?:heads|tags)\//.test(ref)
    ? ref
    : `refs/remotes/origin/${commit}`;
}

/** Their commits are pinned by the tree; their addresses are the repository's choice, so that they lead to the network only. */
async function updateSubmodules(
  address: GitAddress,
  work: string,
  services: GitServices,
  signal: AbortSignal,
): Promise<void> {
  const call: GitCall = {
    cwd: work,
    from: address.protocol === 'file' ? { ...address, protocol: 'https' } : address,
    signal,
  };
  await git(['config', 'remote.origin.url', address.display], call, services);
  await git(
    ['submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1'],
    call,
    services,
  );
}

/** Git's directories, and the files by which submodules find theirs. What a commit holds never has that name. */
function removeGitDirs(directory: string): void {
  removeTree(Buffer.from(`${directory}/.git`, 'latin1'));
  for (const entry of readdirSync(Buffer.from(directory, 'latin1'), {
    withFileTypes: true,
    encoding: 'latin1',
  })) {
    if (entry.isDirectory()) removeGitDirs(`${directory}/${entry.name}`);
  }
}

/** @throws MbuildError GIT_FAILED unless the wanted part is a directory of the repository: links are followed inside it only. */
function subdirectory(work: string, { address, commit }: ResolvedGit): string {
  if (address.subdir === undefined) return work;
  const entry = new LocalContext(work).stat(`/${toRaw(address.subdir)}`);
  if (entry?.stats.isDirectory() === true && !entry.path.split('/').includes('.git'))
    return toText(entry.hostPath);
  throw new MbuildError(
    'GIT_FAILED',
    `${address.display} has no directory ${address.subdir} at ${address.ref ?? commit}`,
  );
}

function reposOf({ root }: GitServices): string {
  return path.join(root, 'git');
}

async function git(
  args: readonly string[],
  call: GitCall,
  services: GitServices,
): Promise<{ readonly stdout: string }> {
  const result = await tryGit(args, call, services);
  if (result.exitCode === 0) return result;
  const said = result.stderr.trim().split('\n').slice(-5).join('\n');
  const verb = args.find((arg) => /^[a-z]+(?:-[a-z]+)*$/.test(arg)) ?? 'git';
  throw new MbuildError(
    'GIT_FAILED',
    `git ${verb} of ${call.from?.display ?? 'a fetched repository'} failed: ${said === '' ? `exit code ${result.exitCode}` : said}`,
    { hint: hintFor(said, call.from) },
  );
}

function hintFor(said: string, address: GitAddress | undefined): string | undefined {
  if (
    /could not read (?:Username|Password)|Authentication failed|Permission denied|\b40[13]\b|not found/i.test(
      said,
    )
  ) {
    return address?.protocol === 'ssh'
      ? 'is the key known to an SSH agent? name it with --ssh default'
      : 'for a private repository pass a token: --secret id=GIT_AUTH_TOKEN';
  }
  if (
    /could not resolve host|failed to connect|unable to connect|connection (?:refused|timed out)|network is unreachable/i.test(
      said,
    )
  ) {
    return 'check the address and the network; proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY';
  }
  if (/Host key verification failed/i.test(said))
    return 'add the host to known_hosts: ssh-keyscan HOST >> ~/.ssh/known_hosts, after you compared the key';
  if (/transport .* not allowed/.test(said))
    return 'submodules are fetched over https, http, ssh and git alone';
  return undefined;
}

/**
 * Runs git with nothing of the user's configuration, nothing that runs programs of a repository's choice, and no way to ask.
 * Files come out with umask 022.
 */
async function tryGit(
  args: readonly string[],
  { cwd, from, env, signal }: GitCall,
  services: GitServices,
): ReturnType<typeof runCommand> {
  if (services.offline === true && from !== undefined && from.protocol !== 'file')
    throw offlineError(`the git repository ${from.display}`);
  const config = [...HARDENED, ...protocols(from), ...certificates()].flatMap((setting) => [
    '-c',
    setting,
  ]);
  const options = {
    cwd,
    signal,
    env: { ...environment(services), ...authorization(from, services), ...env },
  };
  const result = await runCommand(
    'sh',
    ['-c', 'umask 022; exec git "$@"', 'git', ...config, ...args],
    options,
  );
  if (result.exitCode === 127)
    throw new MbuildError('EXEC_NOT_FOUND', 'git is not installed here, and the build needs it', {
      hint: 'install git, or fetch the repository beforehand',
    });
  return result;
}

const HARDENED = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.attributesFile=/dev/null',
  'core.excludesFile=/dev/null',
  'core.askPass=',
  'core.logAllRefUpdates=false',
  'core.symlinks=true',
  'core.fileMode=true',
  'core.autocrlf=false',
  'credential.helper=',
  'gc.auto=0',
  'maintenance.auto=false',
  'fetch.writeCommitGraph=false',
  'submodule.recurse=false',
  'transfer.bundleURI=false',
  'advice.detachedHead=false',
  'pack.threads=1',
  'http.userAgent=mbuild',
];

/** None is allowed but those that the address calls for: a repository's submodules never reach the disk, nor a program. */
function protocols(from: GitAddress | undefined): string[] {
  if (from === undefined) return ['protocol.allow=never'];
  const allowed = from.protocol === 'file' ? ['file'] : NETWORK_PROTOCOLS;
  return ['protocol.allow=never', ...allowed.map((name) => `protocol.${name}.allow=always`)];
}

function certificates(): string[] {
  const file = process.env.GIT_SSL_CAINFO ?? process.env.SSL_CERT_FILE;
  return file !== undefined && existsSync(file) ? [`http.sslCAInfo=${file}`] : [];
}

function environment({ sshAgent }: GitServices): Record<string, string | undefined> {
  const cleared = Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => name.startsWith('GIT_'))
      .map((name) => [name, undefined]),
  );
  return {
    ...cleared,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_SYSTEM: '/dev/null',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS: '',
    SSH_ASKPASS_REQUIRE: 'never',
    GIT_SSH_COMMAND: 'ssh -o BatchMode=yes',
    LC_ALL: 'C',
    ...(sshAgent === undefined ? {} : { SSH_AUTH_SOCK: sshAgent }),
  };
}

/**
 * What proves who asks, for the address's own host alone. It goes by the environment, as arguments can be read by all.
 * BuildKit, "Build secrets: Git authentication".
 */
function authorization(
  from: GitAddress | undefined,
  { secret }: GitServices,
): Record<string, string> {
  if (from?.host === undefined) return {};
  const header = headerFor(from, from.host, secret);
  if (header === undefined) return {};
  return {
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: `http.${from.protocol}://${from.host}/.extraHeader`,
    GIT_CONFIG_VALUE_0: `Authorization: ${header}`,
  };
}

function headerFor(
  { protocol, credentials }: GitAddress,
  host: string,
  secret: GitServices['secret'],
): string | undefined {
  const basic = (user: string, password: string): string =>
    `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  if (credentials !== undefined) return basic(credentials.username, credentials.password);
  // A token in plain sight is no token any more.
  if (protocol !== 'https') return undefined;
  const text = (id: string): string | undefined =>
    (secret(`${id}.${host}`) ?? secret(id))?.toString('utf8').trim();
  const header = text('GIT_AUTH_HEADER');
  if (header !== undefined) return header;
  const token = text('GIT_AUTH_TOKEN');
  return token === undefined ? undefined : basic('x-access-token', token);
}
