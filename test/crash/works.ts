import { join } from 'node:path';
import { once } from '../../src/linux/libc';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { writeFiles, type TempDirs } from '../support/temp';

/** Something that mbuild does with a store, and that can be done again when it was broken off. */
export interface Work {
  readonly name: string;
  /** Makes ready what the work begins with. */
  prepare?(store: Mbuild): Promise<unknown>;
  args(store: Mbuild): readonly string[];
  /** What it came to, which is the same each time. */
  outcome(store: Mbuild): Promise<string>;
}

/**
 * Every store has the images `small-base` and `earlier`; most of what is done comes to an image
 * `new`.
 */
export const EARLIER = 'FROM small-base\nRUN echo earlier > /earlier\n';

const DOCKERFILE = [
  'FROM small-base AS first',
  'RUN --mount=type=cache,target=/cache echo built > /built && echo x >> /cache/count',
  'COPY many /many',
  'FROM small-base',
  'WORKDIR /work',
  'COPY one.txt tree ./',
  'COPY --from=first /built /built',
  'RUN rm /etc/group && echo changed >> /etc/passwd && mkdir d && ln -s x d/l',
  'CMD ["sh"]',
  '',
].join('\n');

const FILES = {
  'one.txt': 'one',
  'tree/two.txt': 'two',
  'tree/three.txt': 'three',
  Dockerfile: DOCKERFILE,
  // More than what is hashed on the spot, so that a worker takes part.
  ...Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`many/${i}`, `${i}`])),
};

/** A store as all trials open it: the same at every time of the day. */
export function openStore(root: string): Mbuild {
  return new Mbuild(root, STORE_ENV);
}

const STORE_ENV = { SOURCE_DATE_EPOCH: '1700000000' };

/** The environment of a store's mbuild, for who starts it by other means. */
export function envOf(store: Mbuild): Record<string, string> {
  return cleanEnv({ MBUILD_ROOT: store.root, ...STORE_ENV });
}

/**
 * Builds of an image `new`: as a whole, and from what earlier builds left. `temp` is asked for
 * folders when they are first needed.
 */
export function buildWorks(temp: TempDirs): readonly Work[] {
  const context = once(() => writeFiles(temp.dir('context'), FILES));
  const before = once(() => writeFiles(temp.dir('before'), { ...FILES, 'one.txt': 'another' }));
  const build = (from: string): string[] => ['build', '--progress=plain', '-t', 'new', from];
  return [
    { name: 'build', args: () => build(context()), outcome: idOf('new') },
    {
      name: 'build of what is in the cache',
      prepare: (store) => store.ok(build(context())),
      args: () => build(context()),
      outcome: idOf('new'),
    },
    {
      name: 'build of what was edited',
      prepare: (store) => store.ok(build(before())),
      args: () => build(context()),
      outcome: idOf('new'),
    },
    {
      name: 'build that exports its cache',
      outcome: idOf('new'),
      args: (store) => [
        ...build(context()),
        '--cache-to',
        `type=local,dest=${join(store.root, '..', 'exported')},mode=max`,
      ],
    },
  ];
}

/** What is done with images and containers without a network. */
export function storeWorks(temp: TempDirs): readonly Work[] {
  const archive = once(() => join(temp.dir('archive'), 'new.tar'));
  return [
    {
      name: 'load',
      args: () => ['load', '-i', archive()],
      outcome: idOf('new'),
      prepare: async (store) => {
        await store.ok(['run', '--name', 'made', 'small-base', 'sh', '-c', MAKE]);
        await store.ok(['commit', 'made', 'new']);
        await store.ok(['save', '-o', archive(), 'new']);
        await clear(store);
      },
    },
    {
      name: 'commit',
      prepare: (store) => store.ok(['run', '--name', 'made', 'small-base', 'sh', '-c', MAKE]),
      args: () => ['commit', 'made', 'new'],
      outcome: async (store) => (await store.inspect('new')).RootFS.Layers.join('\n'),
    },
    { name: 'tag', args: () => ['tag', 'earlier', 'new'], outcome: idOf('new') },
    { name: 'rmi', args: () => ['rmi', 'earlier'], outcome: idOf('earlier') },
    {
      name: 'prune of images',
      prepare: (store) => store.ok(['tag', 'small-base', 'earlier']),
      args: () => ['image', 'prune', '-f'],
      outcome: idOf('earlier'),
    },
    {
      name: 'prune of the cache',
      args: () => ['builder', 'prune', '-af'],
      outcome: idOf('earlier'),
    },
  ];
}

/** The content of a cache mount goes out, and comes in. */
export function mountWorks(temp: TempDirs): readonly Work[] {
  const archive = once(() => join(temp.dir('archive'), 'cache.tar'));
  return [
    {
      name: 'export of a cache mount',
      prepare: fillMount,
      args: (store) => ['cache-mount', 'export', MOUNT, '-o', join(store.root, '..', 'out.tar')],
      outcome: contentOfMount,
    },
    {
      name: 'import of a cache mount',
      prepare: async (store) => {
        await fillMount(store);
        await store.ok(['cache-mount', 'export', MOUNT, '-o', archive()]);
        await store.ok(['cache-mount', 'prune', '--all']);
      },
      args: () => ['cache-mount', 'import', MOUNT, archive()],
      outcome: contentOfMount,
    },
  ];
}

const MOUNT = 'kept';

function fillMount(store: Mbuild): Promise<unknown> {
  const make = 'mkdir -p /cache/d && echo one > /cache/one && echo two > /cache/d/two';
  return store.build(['-f', '-', join(store.root, '..')], {
    input: `FROM small-base\nRUN --mount=type=cache,id=${MOUNT},target=/cache ${make}\n`,
  });
}

/** A tar names the time of each file: the same is exported as was imported. */
function contentOfMount(store: Mbuild): Promise<string> {
  return store.ok(['cache-mount', 'export', MOUNT]);
}

/** What is done with a registry. */
export function registryWorks(
  host: string,
): Readonly<Record<'pull' | 'push' | 'cache mount export', Work>> {
  return {
    'cache mount export': {
      name: 'cache mount export',
      prepare: fillMount,
      args: () => ['cache-mount', 'export', MOUNT, '--ref', `${host}/cache:1`],
      outcome: contentOfMount,
    },
    pull: {
      name: 'pull',
      args: () => ['pull', `${host}/pulled`],
      outcome: idOf(`${host}/pulled`),
      prepare: async (store) => {
        await store.ok(['run', '--name', 'made', 'small-base', 'sh', '-c', MAKE]);
        await store.ok(['commit', 'made', `${host}/pulled`]);
        await store.ok(['push', `${host}/pulled`]);
        await store.ok(['rmi', `${host}/pulled`]);
        await clear(store);
      },
    },
    push: {
      name: 'push',
      prepare: (store) => store.ok(['tag', 'earlier', `${host}/pushed`]),
      args: () => ['push', `${host}/pushed`],
      outcome: idOf('earlier'),
    },
  };
}

/** What a container changes: files, links, a directory, something of the image. */
const MAKE = 'echo x > /x; ln -s x /y; mkdir -p /d/e; echo z > /d/e/z; rm /etc/group';

/** Takes away all but the images that every store has. */
async function clear(store: Mbuild): Promise<void> {
  await store.run(['rmi', 'new']);
  await store.ok(['rm', 'made']);
  await store.ok(['prune', '-f']);
}

function idOf(name: string): (store: Mbuild) => Promise<string> {
  return (store) => store.ok(['images', '-q', '--no-trunc', name]);
}
