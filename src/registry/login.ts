import { randomBytes } from 'node:crypto';
import { mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { homeDirectory } from '../linux/home';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { removeFile } from '../linux/remove-tree';
import { DEFAULT_REGISTRY } from '../oci/reference';
import {
  HUB_SERVER,
  readAuthFile,
  runHelper,
  type AuthFile,
  type CredentialOptions,
} from './credentials';

/** Where credentials were put. */
export type Kept =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'helper'; readonly name: string };

/**
 * Keeps a user's password for a registry, where `docker login` does: with the credential helper of
 * the registry, else of all, else in the file, which is `--authfile`, `REGISTRY_AUTH_FILE`,
 * `$DOCKER_CONFIG/config.json` or `~/.docker/config.json` and readable by its owner alone.
 * @throws MbuildError REGISTRY_DENIED when the helper fails, USAGE for a file that cannot be read
 * or written.
 */
export async function saveCredentials(
  registry: string,
  user: { readonly username: string; readonly password: string },
  options: CredentialOptions,
): Promise<Kept> {
  const file = authFile(options);
  const auth = readAuthFile(file, false) ?? {};
  const server = serverOf(registry);
  const helper = helperOf(auth, registry);
  if (helper !== undefined) {
    const result = await runHelper(
      helper,
      'store',
      JSON.stringify({ ServerURL: server, Username: user.username, Secret: user.password }),
      options.env,
    );
    if (result.exitCode !== 0) throw helperFailed(helper, server, result.stderr || result.stdout);
    writeAuthFile(file, { ...auth, auths: { ...auth.auths, [server]: {} } });
    return { kind: 'helper', name: helper };
  }
  const encoded = Buffer.from(`${user.username}:${user.password}`, 'utf8').toString('base64');
  writeAuthFile(file, { ...auth, auths: { ...auth.auths, [server]: { auth: encoded } } });
  return { kind: 'file', path: file };
}

/**
 * Forgets the credentials of a registry; true when there were some.
 * @throws as {@link saveCredentials}.
 */
export async function eraseCredentials(
  registry: string,
  options: CredentialOptions,
): Promise<boolean> {
  const file = authFile(options);
  const auth = readAuthFile(file, false);
  if (auth === undefined) return false;
  const server = serverOf(registry);
  const names = Object.keys(auth.auths ?? {}).filter(
    (name) =>
      name === server ||
      name
        .replace(/^https?:\/\//, '')
        .replace(/\/v[12]\/?$/, '')
        .replace(/\/$/, '') === registry,
  );
  const helper = helperOf(auth, registry);
  if (helper !== undefined) {
    const result = await runHelper(helper, 'erase', server, options.env);
    if (result.exitCode !== 0 && !/not found/i.test(result.stdout + result.stderr))
      throw helperFailed(helper, server, result.stderr || result.stdout);
  }
  if (names.length > 0)
    writeAuthFile(file, {
      ...auth,
      auths: Object.fromEntries(
        Object.entries(auth.auths ?? {}).filter(([name]) => !names.includes(name)),
      ),
    });
  return names.length > 0;
}

/** The name that docker files a registry under. */
function serverOf(registry: string): string {
  return registry === DEFAULT_REGISTRY ? HUB_SERVER : registry;
}

function helperOf(auth: AuthFile, registry: string): string | undefined {
  return (
    auth.credHelpers?.[serverOf(registry)] ??
    auth.credHelpers?.[registry] ??
    (auth.credsStore || undefined)
  );
}

function authFile({ env, authFile: given }: CredentialOptions): string {
  if (given !== undefined) return given;
  if (env['REGISTRY_AUTH_FILE']) return env['REGISTRY_AUTH_FILE'];
  if (env['DOCKER_CONFIG']) return path.join(env['DOCKER_CONFIG'], 'config.json');
  const home = homeDirectory(env);
  if (home !== undefined) return path.join(home, '.docker', 'config.json');
  if (env['XDG_RUNTIME_DIR']) return path.join(env['XDG_RUNTIME_DIR'], 'containers', 'auth.json');
  throw new MbuildError('USAGE', 'the user has no home directory for credentials', {
    hint: 'choose a file with --authfile or REGISTRY_AUTH_FILE, or set HOME',
  });
}

/** Replaces the file as a whole; what else is in it stays, and a symlink stays one. */
function writeAuthFile(file: string, auth: AuthFile): void {
  let temp: string | undefined;
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const target = realPath(file);
    temp = `${target}.${randomBytes(6).toString('hex')}`;
    writeFileSync(temp, `${JSON.stringify(auth, undefined, '\t')}\n`, { flag: 'wx', mode: 0o600 });
    renameSync(temp, target);
  } catch (cause) {
    if (temp !== undefined) removeFile(temp);
    if (errnoOf(cause) === undefined) throw cause;
    throw new MbuildError('USAGE', `cannot store the credentials in ${file} (${errnoOf(cause)})`, {
      cause,
      hint: 'choose another file with --authfile or DOCKER_CONFIG',
    });
  }
}

function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return file;
    throw error;
  }
}

function helperFailed(helper: string, server: string, said: string): MbuildError {
  return new MbuildError('REGISTRY_DENIED', `docker-credential-${helper} failed for ${server}`, {
    output: said,
  });
}
