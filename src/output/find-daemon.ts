import { createHash } from 'node:crypto';
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { homeDirectory } from '../linux/home';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { JsonError, object, parseJsonObject, text, type ReadObject } from '../oci/json';

type Environment = Readonly<Record<string, string | undefined>>;

/** A container engine of this machine, or one that the user's docker talks to. */
export type Daemon =
  | {
      readonly kind: 'api';
      /** As the user knows it: `unix:///var/run/docker.sock`. */
      readonly address: string;
      /** Nobody named it: a socket that lies where engines have theirs. */
      readonly guessed?: true | undefined;
    }
  | { readonly kind: 'program'; readonly file: 'podman' };

/**
 * The engine that `docker` would talk to: DOCKER_HOST, the context (DOCKER_CONTEXT, else the one in
 * use), docker's socket; then podman's: CONTAINER_HOST, its sockets, the program. `undefined` when
 * there is none.
 */
export function findDaemon(env: Environment): Daemon | undefined {
  const home = homeDirectory(env) ?? '/';
  const runtime = env['XDG_RUNTIME_DIR'];
  if (env['DOCKER_HOST']) return { kind: 'api', address: env['DOCKER_HOST'] };
  const ofContext = contextHost(env, env['DOCKER_CONFIG'] || path.join(home, '.docker'));
  if (ofContext !== undefined) return { kind: 'api', address: ofContext };
  const named = env['CONTAINER_HOST'] ? [env['CONTAINER_HOST']] : [];
  const inRuntime = (name: string): string[] => (runtime ? [path.join(runtime, name)] : []);
  const sockets = (files: readonly string[]): string[] =>
    files.filter(isSocket).map((file) => `unix://${file}`);
  const [address] = [
    ...sockets([
      '/var/run/docker.sock',
      ...inRuntime('docker.sock'),
      path.join(home, '.docker', 'run', 'docker.sock'),
    ]),
    ...named,
    ...sockets([...inRuntime('podman/podman.sock'), '/run/podman/podman.sock']),
  ];
  if (address !== undefined)
    return { kind: 'api', address, guessed: named.includes(address) ? undefined : true };
  const podman = (env['PATH'] ?? '')
    .split(':')
    .map((directory) => path.join(directory, 'podman'))
    .find((file) => path.isAbsolute(file) && existsSync(file));
  return podman === undefined || isOurselves(podman)
    ? undefined
    : { kind: 'program', file: 'podman' };
}

/** Docker makes a directory where `-v /var/run/docker.sock:…` finds no socket. */
function isSocket(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isSocket() === true;
}

/** A link that lets tools take mbuild for podman leads back here. */
function isOurselves(file: string): boolean {
  return path.basename(realpathSync(file)) === 'mbuild';
}

/** The endpoint of docker's context: docker/cli, "docker context"; `default` means the socket. */
function contextHost(env: Environment, folder: string): string | undefined {
  const name =
    env['DOCKER_CONTEXT'] ||
    readFields(path.join(folder, 'config.json'), { currentContext: text })?.currentContext;
  if (!name || name === 'default') return undefined;
  const file = path.join(
    folder,
    'contexts',
    'meta',
    createHash('sha256').update(name).digest('hex'),
    'meta.json',
  );
  const host = readFields(file, CONTEXT)?.Endpoints?.docker?.Host;
  if (host === undefined)
    throw new MbuildError('USAGE', `docker's context ${name} has no host`, {
      hint: `correct ${file}, or set DOCKER_HOST`,
    });
  return host;
}

/** docker/cli, cli/context/store: what is read of a context's meta.json. */
const CONTEXT = { Endpoints: object({ docker: object({ Host: text }) }) };

/** A file that cannot be read, or is not what docker writes, says nothing. */
function readFields<M extends Parameters<typeof parseJsonObject>[1]>(
  file: string,
  members: M,
): ReadObject<M> | undefined {
  try {
    return parseJsonObject(readFileSync(file), members);
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof JsonError)) throw error;
    return undefined;
  }
}
