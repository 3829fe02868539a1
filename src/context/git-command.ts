import { existsSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { offlineError } from '../registry/offline';
import { runCommand } from '../sandbox/command';
import type { GitAddress } from './git-url';

/** What git works with. */
export interface GitServices {
  /** The store's folder: repositories are kept in its `git/`, as far as they were fetched. */
  readonly root: string;
  /**
   * Secrets of the build: `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, also with `.HOST` behind them.
   */
  readonly secret: (id: string) => Buffer | undefined;
  /** Only repositories of this machine, and commits that were fetched before. */
  readonly offline?: boolean | undefined;
  /** Socket of the SSH agent of the build; the user's when absent. */
  readonly sshAgent?: string | undefined;
}

/** One run of git. */
export interface GitCall {
  readonly cwd: string;
  /** Whose network or disk git may ask; none when absent. */
  readonly from?: GitAddress | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
}

/** Runs git. @throws MbuildError GIT_FAILED, EXEC_NOT_FOUND, CANCELED. */
export async function git(
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
      ? 'does an SSH agent have the key? pass the agent with --ssh default'
      : 'for a private repository pass a token: --secret id=GIT_AUTH_TOKEN';
  }
  if (
    /could not resolve host|failed to connect|unable to connect|connection (?:refused|timed out)|network is unreachable/i.test(
      said,
    )
  ) {
    return 'check the address, the network and the proxy settings (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)';
  }
  if (/Host key verification failed/i.test(said))
    return 'add the host to known_hosts: ssh-keyscan HOST >> ~/.ssh/known_hosts, after you compared the key';
  if (/transport .* not allowed/.test(said))
    return 'submodules can only be fetched over https, http, ssh and git';
  return undefined;
}

/**
 * Runs git with nothing of the user's configuration, nothing that runs programs of a repository's
 * choice, and no way to ask. Files come out with umask 022.
 */
export async function tryGit(
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
    throw new MbuildError('EXEC_NOT_FOUND', 'the build needs git, but git is not installed', {
      hint: 'install git, or fetch the repository before the build',
    });
  return result;
}

const NETWORK_PROTOCOLS = ['http', 'https', 'ssh', 'git'];

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

/**
 * None is allowed but those that the address calls for: a repository's submodules never reach the
 * disk, nor a program.
 */
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
 * What proves who asks, for the address's own host alone. It goes by the environment, as arguments
 * can be read by all. BuildKit, "Build secrets: Git authentication".
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

/** Where repositories are kept. */
export function reposOf({ root }: GitServices): string {
  return path.join(root, 'git');
}
