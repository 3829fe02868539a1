import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { homeDirectory } from '../linux/home';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { JsonError, object, parseJsonObject, text, type ReadObject } from '../oci/json';

type Environment = Readonly<Record<string, string | undefined>>;

/** A container engine of this machine, or one that the user's docker talks to. */
export type Daemon =
  | {
      readonly kind: 'api';
      /** As the user knows it: `unix:///var/run/docker.sock`. */ readonly address: string;
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
    files.filter((file) => existsSync(file)).map((file) => `unix://${file}`);
  const [address] = [
    ...sockets([
      '/var/run/docker.sock',
      ...inRuntime('docker.sock'),
      path.join(home, '.docker', 'run', 'docker.sock'),
    ]),
    ...named,
    ...sockets([...inRuntime('podman/podman.sock'), '/run/podman/podman.sock']),
  ];
  if (address !== undefined) return { kind: 'api', address };
  const podman = (env['PATH'] ?? '')
    .split(':')
    .some((folder) => folder !== '' && existsSync(path.join(folder, 'podman')));
  return podman ? { kind: 'program', file: 'podman' } : undefined;
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
    throw new MbuildError('USAGE', `docker's context ${name} names no host`, {
      hint: `see ${file}, or set DOCKER_HOST`,
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
