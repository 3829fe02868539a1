import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { homeDirectory } from '../linux/home';
import { MbuildError } from '../diagnostics/error';

type Environment = Readonly<Record<string, string | undefined>>;

/** A container engine of this machine, or one that the user's docker talks to. */
export type Daemon =
  | {
      readonly kind: 'api';
      /** As the user knows it: `unix:///var/run/docker.sock`. */ readonly address: string;
    }
  | { readonly kind: 'program'; readonly file: 'podman' };

/**
 * The engine that `docker` would talk to: DOCKER_HOST, the context (DOCKER_CONTEXT, else the one in use), docker's socket;
 * then podman's: CONTAINER_HOST, its sockets, the program. `undefined` when there is none.
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
    readJson<{ currentContext?: string }>(path.join(folder, 'config.json'))?.currentContext;
  if (!name || name === 'default') return undefined;
  const file = path.join(
    folder,
    'contexts',
    'meta',
    createHash('sha256').update(name).digest('hex'),
    'meta.json',
  );
  const host = readJson<{ Endpoints?: { docker?: { Host?: string } } }>(file)?.Endpoints?.docker
    ?.Host;
  if (host === undefined)
    throw new MbuildError('USAGE', `docker's context ${name} names no host`, {
      hint: `see ${file}, or set DOCKER_HOST`,
    });
  return host;
}

function readJson<T>(file: string): T | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
