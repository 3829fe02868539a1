// How each builder is asked for the same work. A function returns one command line; a new builder is one more entry.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { benchEnv } from './measure.mjs';

export const MBUILD = resolve(dirname(fileURLToPath(import.meta.url)), '../../bin/mbuild');

/** mbuild on a store of its own. */
export function mbuild(root) {
  return {
    name: 'mbuild',
    env: benchEnv({ MBUILD_ROOT: root }),
    /** Forgets all that was ever built. */
    empty: () => rmSync(root, { recursive: true, force: true }),
    import: (tar, name) => [MBUILD, 'import', tar, name],
    push: (name) => [MBUILD, 'push', '-q', name],
    pull: (name) => [MBUILD, 'pull', '-q', name],
    build: ({ dir, file = join(dir, 'Dockerfile'), tag, noCache = false, output }) => [
      MBUILD,
      'build',
      '-q',
      ...(noCache ? ['--no-cache'] : []),
      '-f',
      file,
      ...(tag === undefined ? [] : ['-t', tag]),
      ...(output === undefined ? [] : ['--output', output]),
      dir,
    ],
  };
}

/** Other builders that can be measured in the same run with `--peers`: those found on PATH, docker where its daemon answers. */
export function peers() {
  const docker = {
    name: 'docker',
    available: () => runs(['docker', 'version'], docker.env),
    env: benchEnv({
      DOCKER_BUILDKIT: '1',
      ...(process.env.DOCKER_HOST === undefined ? {} : { DOCKER_HOST: process.env.DOCKER_HOST }),
    }),
    version: ['docker', 'version', '--format', '{{.Server.Version}}'],
    import: (tar, name) => ['docker', 'import', tar, name],
    build: ({ dir, file = join(dir, 'Dockerfile'), tag, noCache = false }) => [
      'docker',
      'build',
      '-q',
      '--network',
      'host',
      ...(noCache ? ['--no-cache'] : []),
      '-f',
      file,
      '-t',
      tag ?? 'bench',
      dir,
    ],
    remove: (names) => ['docker', 'image', 'rm', '-f', ...names],
  };
  const buildah = {
    ...sharing('buildah'),
    import: (tar, name) => [
      'sh',
      '-c',
      'c=$(buildah from scratch) && buildah add -q $c "$1" / && buildah commit -q --rm $c "$2"',
      'sh',
      tar,
      name,
    ],
    remove: (names) => ['buildah', 'rmi', '-f', ...names],
  };
  const podman = {
    ...sharing('podman'),
    import: (tar, name) => ['podman', 'import', '-q', tar, name],
    remove: (names) => ['podman', 'rmi', '-f', ...names],
  };
  return [docker, buildah, podman].filter((peer) => peer.available());
}

/** What buildah and podman have in common. */
function sharing(tool) {
  return {
    name: tool,
    available: () => runs([tool, '--version'], benchEnv()),
    env: benchEnv(),
    version: [tool, '--version'],
    build: ({ dir, file = join(dir, 'Dockerfile'), tag, noCache = false }) => [
      tool,
      'build',
      '-q',
      '--layers',
      '--network',
      'host',
      ...(noCache ? ['--no-cache'] : []),
      '-f',
      file,
      '-t',
      tag ?? 'bench',
      dir,
    ],
  };
}

function runs([program, ...args], env) {
  return spawnSync(program, args, { env, stdio: 'ignore' }).status === 0;
}
