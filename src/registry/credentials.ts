import { readFileSync } from 'node:fs';
import path from 'node:path';
import { homeDirectory } from '../linux/home';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import { JsonError, dictionary, object, parseJsonObject, text, type ReadObject } from '../oci/json';
import { DEFAULT_REGISTRY } from '../oci/reference';
import { runCommand, type CommandResult } from '../sandbox/command';
import type { Repository } from './registry';

/** What a user proves an identity with; an identity token is an OAuth2 refresh token. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identityToken'; readonly token: string };

/** Where credentials are looked for. */
export interface CredentialOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `--authfile`: the only file that is read when given. */
  readonly authFile?: string | undefined;
}

/**
 * Docker's config.json and containers' auth.json: docker/cli, "docker config.json";
 * containers-auth.json(5).
 */
const AUTH_FILE = {
  auths: dictionary(object({ auth: text, username: text, password: text, identitytoken: text })),
  credHelpers: dictionary(text),
  credsStore: text,
};
export type AuthFile = ReadObject<typeof AUTH_FILE>;

/** Docker Hub's name in files and helpers. */
export const HUB_SERVER = 'https://index.docker.io/v1/';
const HUB_HOSTS = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];

/**
 * The credentials for a repository, from the first file that has some: `--authfile`,
 * `REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`, `$DOCKER_CONFIG/config.json`,
 * `~/.docker/config.json`. Hosts must match exactly.
 * @throws MbuildError USAGE for a named file that cannot be read, REGISTRY_DENIED when a credential
 * helper fails.
 */
export async function findCredentials(
  repository: Repository,
  options: CredentialOptions,
): Promise<Credentials | undefined> {
  for (const file of authFiles(options)) {
    const auth = readAuthFile(file.path, file.required);
    const found =
      auth === undefined ? undefined : await lookUp(auth, repository, file.path, options.env);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The files that hold credentials, in order of preference. */
export function authFiles({
  env,
  authFile,
}: CredentialOptions): { readonly path: string; readonly required: boolean }[] {
  if (authFile !== undefined) return [{ path: authFile, required: true }];
  const files: { path: string; required: boolean }[] = [];
  if (env.REGISTRY_AUTH_FILE) files.push({ path: env.REGISTRY_AUTH_FILE, required: true });
  if (env.XDG_RUNTIME_DIR)
    files.push({
      path: path.join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json'),
      required: false,
    });
  if (env.DOCKER_CONFIG)
    files.push({ path: path.join(env.DOCKER_CONFIG, 'config.json'), required: false });
  const home = homeDirectory(env);
  if (home !== undefined)
    files.push({ path: path.join(home, '.docker', 'config.json'), required: false });
  return files;
}

async function lookUp(
  auth: AuthFile,
  repository: Repository,
  file: string,
  env: CredentialOptions['env'],
): Promise<Credentials | undefined> {
  const keys = namesOf(repository);
  const helperKey = keys.find((key) => auth.credHelpers?.[key] !== undefined);
  const helper = helperKey === undefined ? auth.credsStore : auth.credHelpers?.[helperKey];
  if (helper) {
    const server = repository.registry === DEFAULT_REGISTRY ? HUB_SERVER : repository.registry;
    const found = await askHelper(helper, helperKey ?? server, env);
    if (found !== undefined) return found;
  }
  const entries = Object.entries(auth.auths ?? {});
  for (const key of keys) {
    const entry = entries.find(([name]) => normalKey(name) === key)?.[1];
    if (entry?.identitytoken) return { kind: 'identityToken', token: entry.identitytoken };
    if (entry?.auth) return decodeBasic(entry.auth, key, file);
    if (entry?.username !== undefined && entry.password !== undefined)
      return { kind: 'password', username: entry.username, password: entry.password };
  }
  return undefined;
}

/** What a repository may be filed under: `host/a/b`, `host/a`, `host`; the most specific first. */
function namesOf({ registry, repository }: Repository): string[] {
  const hosts = registry === DEFAULT_REGISTRY ? HUB_HOSTS : [registry];
  const parts = repository.split('/').filter((part) => part !== '');
  const paths = parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`);
  return [...paths, ''].flatMap((suffix) => hosts.map((host) => host + suffix));
}

/** Docker files hosts as `https://host/v1/` too. */
function normalKey(name: string): string {
  return name
    .replace(/^https?:\/\//, '')
    .replace(/\/v[12]\/?$/, '')
    .replace(/\/$/, '');
}

function decodeBasic(auth: string, key: string, file: string): Credentials {
  const decoded = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  if (colon <= 0)
    throw new MbuildError('USAGE', `${file} has broken credentials for ${key}`, {
      hint: `log in again: mbuild login ${key}`,
    });
  return {
    kind: 'password',
    username: decoded.slice(0, colon),
    password: decoded.slice(colon + 1),
  };
}

/**
 * Runs a credential helper: `docker-credential-HELPER VERB` with a text on standard input.
 * @throws MbuildError REGISTRY_DENIED when it is not installed, USAGE for a bad name.
 */
export async function runHelper(
  helper: string,
  verb: 'get' | 'store' | 'erase',
  input: string,
  env: CredentialOptions['env'],
): Promise<CommandResult> {
  const program = `docker-credential-${helper}`;
  if (!/^[\w.-]+$/.test(helper))
    throw new MbuildError(
      'USAGE',
      `${JSON.stringify(helper)} is not a valid name of a credential helper`,
    );
  const variables = Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
  return runCommand(program, [verb], { input, env: variables }).catch((error: unknown) => {
    if (!isMbuildError(error, 'EXEC_NOT_FOUND')) throw error;
    throw new MbuildError('REGISTRY_DENIED', `the credential helper ${program} is not installed`, {
      cause: error,
      hint: 'install it, or remove it from config.json',
    });
  });
}

/**
 * docker-credential-helpers: `get` with the server on standard input answers
 * `{ ServerURL, Username, Secret }`.
 */
async function askHelper(
  helper: string,
  server: string,
  env: CredentialOptions['env'],
): Promise<Credentials | undefined> {
  const program = `docker-credential-${helper}`;
  const result = await runHelper(helper, 'get', server, env);
  if (result.exitCode !== 0) {
    if (/not found|no credentials/i.test(result.stdout + result.stderr)) return undefined;
    throw new MbuildError(
      'REGISTRY_DENIED',
      `${program} failed with code ${result.exitCode} for ${server}`,
      { output: result.stderr },
    );
  }
  const answer = readAnswer(result.stdout, program, server);
  if (!answer.Secret) return undefined;
  return answer.Username === '<token>'
    ? { kind: 'identityToken', token: answer.Secret }
    : { kind: 'password', username: answer.Username ?? '', password: answer.Secret };
}

/** The answer itself may hold the secret, so it is not shown. */
function readAnswer(
  stdout: string,
  program: string,
  server: string,
): { readonly Username?: string | undefined; readonly Secret?: string | undefined } {
  try {
    return parseJsonObject(stdout, { Username: text, Secret: text });
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError(
      'REGISTRY_DENIED',
      `the answer of ${program} for ${server} does not have the form of a credential helper's answer: it ${error.message}`,
    );
  }
}

/**
 * A file of credentials; `undefined` for one that is not there, or is empty.
 * @throws MbuildError USAGE.
 */
export function readAuthFile(file: string, required: boolean): AuthFile | undefined {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    if (!required || errnoOf(error) === 'ENOENT') return undefined;
    throw new MbuildError('USAGE', `cannot read the credentials in ${file}`, { cause: error });
  }
  if (content.trim() === '') return undefined;
  try {
    return parseJsonObject(content, AUTH_FILE);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MbuildError(
      'USAGE',
      `the credentials in ${file} cannot be used: it ${error.message}`,
      {
        hint: 'repair or delete it, then log in again',
      },
    );
  }
}
