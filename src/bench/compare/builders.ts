import path from 'node:path';
import { findInPath } from '../../sandbox/find-program';

/** What every builder builds. */
export interface ComparedBuild {
  readonly context: string;
  /** Where it is not `Dockerfile` in the context. */
  readonly dockerfile: string | undefined;
  readonly target: string | undefined;
  readonly buildArgs: Readonly<Record<string, string>>;
}

/** A builder, with a place of its own for what it keeps. */
export interface Builder {
  readonly name: string;
  readonly version: readonly string[];
  /** The command of a build. @param cold nothing is taken from the cache. */
  readonly build: (what: ComparedBuild, cold: boolean) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Takes away what it made where that is not in the place of its own. */
  readonly clean?: readonly string[] | undefined;
  /** What the reader should know of it. */
  readonly note?: string | undefined;
}

/** How a builder is made for a place; `undefined` where it is not installed. */
type Make = (place: BuilderPlace) => Builder | undefined;

/** Where builders keep what is theirs. */
export interface BuilderPlace {
  /** For stores. */
  readonly work: string;
  /** For what runs: podman takes no more than 50 characters. */
  readonly runtime: string;
  /** How this program is called. */
  readonly mbuild: readonly string[];
}

const MAKE: Readonly<Record<string, Make>> = {
  mbuild: ({ work, mbuild }) => ({
    name: 'mbuild',
    version: [...mbuild, '--version'],
    build: (what, cold) => [
      ...mbuild,
      '--root',
      path.join(work, 'mbuild'),
      'build',
      '--progress=plain',
      ...flagsOf(what, cold),
    ],
    env: {},
  }),
  docker: ({ work }) => {
    const docker = findInPath('docker');
    if (docker === undefined) return undefined;
    const tag = `mbuild-compare-${path
      .basename(work)
      .toLowerCase()
      .replace(/[^a-z0-9]/g, '')}`;
    return {
      name: 'docker',
      version: [docker, '--version'],
      build: (what, cold) => [
        docker,
        'build',
        '--progress=plain',
        '-t',
        tag,
        ...flagsOf(what, cold),
      ],
      env: { DOCKER_BUILDKIT: '1' },
      clean: [docker, 'rmi', '-f', tag],
      note: 'docker keeps its cache in its daemon: nothing there is pruned, and other builds of the daemon may share its steps',
    };
  },
  buildah: (place) => containers('buildah', place),
  podman: (place) => containers('podman', place),
};

export const BUILDERS: readonly string[] = Object.keys(MAKE);

/** Those of the names that are installed. */
export function findBuilders(names: readonly string[], place: BuilderPlace): Builder[] {
  return names.flatMap((name) => MAKE[name]?.(place) ?? []);
}

function containers(name: string, { work, runtime }: BuilderPlace): Builder | undefined {
  const program = findInPath(name);
  if (program === undefined) return undefined;
  const places = ['--root', path.join(work, name), '--runroot', path.join(runtime, name)];
  return {
    name,
    version: [program, '--version'],
    build: (what, cold) => [program, ...places, 'build', '--layers', ...flagsOf(what, cold)],
    env: {},
  };
}

/** These mean the same to all of them. */
function flagsOf(
  { context, dockerfile, target, buildArgs }: ComparedBuild,
  cold: boolean,
): string[] {
  return [
    ...(cold ? ['--no-cache'] : []),
    ...(dockerfile === undefined ? [] : ['-f', dockerfile]),
    ...(target === undefined ? [] : ['--target', target]),
    ...Object.entries(buildArgs).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    context,
  ];
}
