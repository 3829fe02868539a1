// How each builder is asked for the same work. A function returns one command line; a new builder is one more entry.
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchEnv } from './measure.mjs';

const MBUILD = resolve(dirname(fileURLToPath(import.meta.url)), '../../bin/mbuild');

/** mbuild on a store of its own. */
export function mbuild(root) {
  return {
    name: 'mbuild',
    env: benchEnv({ MBUILD_ROOT: root }),
    import: (tar, name) => [MBUILD, 'import', tar, name],
    push: (name) => [MBUILD, 'push', '-q', name],
    pull: (name) => [MBUILD, 'pull', '-q', name],
    build: ({ dir, file = join(dir, 'Dockerfile'), tag, noCache = false, output }) => [
      MBUILD, 'build', '-q', ...(noCache ? ['--no-cache'] : []), '-f', file, ...(tag === undefined ? [] : ['-t', tag]), ...(output === undefined ? [] : ['--output', output]), dir,
    ],
  };
}

/** Other builders that can be measured in the same run with `--peers`. */
export function peers() {
  const docker = {
    name: 'docker',
    available: () => existsSync(process.env.DOCKER_HOST?.replace('unix://', '') ?? '/var/run/docker.sock'),
    env: benchEnv({ DOCKER_BUILDKIT: '1', ...(process.env.DOCKER_HOST === undefined ? {} : { DOCKER_HOST: process.env.DOCKER_HOST }) }),
    version: ['docker', 'version', '--format', '{{.Server.Version}}'],
    import: (tar, name) => ['docker', 'import', tar, name],
    build: ({ dir, file = join(dir, 'Dockerfile'), tag, noCache = false }) => ['docker', 'build', '-q', '--network', 'host', ...(noCache ? ['--no-cache'] : []), '-f', file, '-t', tag ?? 'mbuild-bench', dir],
  };
  const buildah = {
    name: 'buildah',
    available: () => process.env.PATH.split(':').some((folder) => existsSync(join(folder, 'buildah'))),
    env: benchEnv(),
    version: ['buildah', '--version'],
    import: (tar, name) => ['sh', '-c', 'c=$(buildah from scratch) && buildah add -q $c "$1" / && buildah commit -q --rm $c "$2"', 'sh', tar, name],
    build: ({ dir, file = join(dir, 'Dockerfile'), tag, noCache = false }) => ['buildah', 'build', '-q', '--layers', '--network', 'host', ...(noCache ? ['--no-cache'] : []), '-f', file, '-t', tag ?? 'mbuild-bench', dir],
  };
  return [docker, buildah].filter((peer) => peer.available());
}
