import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { watchRegistry, type WatchedRegistry } from '../support/watched-registry';

const DOCKERFILE = `FROM small-base
COPY app.txt /
RUN cat /proc/sys/kernel/random/uuid > /made && head -c 300000 /dev/urandom > /random
`;

describeWith(
  'an image whose layers are all in a cache elsewhere, and that is only pushed',
  { root: true, also: noRegistry },
  () => {
    const temp = useTemp();
    let registry: TestRegistry;
    let watched: WatchedRegistry;
    let base: string;
    let context: string;
    let serial = 0;
    let cache: string;
    let name: string;
    let first: Mbuild;

    beforeAll(async () => {
      registry = await startRegistry();
      watched = await watchRegistry(registry.host);
      base = join(temp.dir(), 'base.tar');
      const mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild);
      await mbuild.ok(['save', '-o', base, 'small-base']);
    });

    afterAll(async () => {
      await watched?.close();
      await registry?.stop();
    });

    beforeEach(async () => {
      context = writeFiles(temp.dir('context'), { Dockerfile: DOCKERFILE, 'app.txt': 'app\n' });
      serial++;
      cache = `${watched.host}/app${serial}:cache`;
      name = `${watched.host}/app${serial}:latest`;
      watched.hide = () => false;
      first = await machine();
    });

    async function machine(): Promise<Mbuild> {
      const mbuild = new Mbuild(temp.dir('store'));
      await mbuild.ok(['load', '-q', '-i', base]);
      return mbuild;
    }

    const layersOf = (mbuild: Mbuild): number => readdirSync(join(mbuild.root, 'chains')).length;
    /** Blobs of layers that were asked for since, config and manifests aside. */
    const fetched = async (
      work: () => Promise<unknown>,
      small: readonly string[],
    ): Promise<string[]> => {
      const from = watched.seen.length;
      await work();
      return watched.seen
        .slice(from)
        .filter(
          (line) =>
            /^GET .*\/blobs\/sha256:/.test(line) && !small.some((digest) => line.includes(digest)),
        );
    };
    /** Digests of the cache's config: it is what keys are read from. */
    async function cacheConfig(): Promise<string[]> {
      const [, repository = '', tag = ''] = /\/([^/:]+):([^:]+)$/.exec(cache) ?? [];
      const manifest = (await (
        await fetch(`http://${registry.host}/v2/${repository}/manifests/${tag}`, {
          headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
        })
      ).json()) as { config: { digest: string } };
      return [manifest.config.digest];
    }

    it('is pushed where they are without one of them being fetched, the same image as before', async () => {
      const made = await first.build(['--cache-to', cache, '-t', name, '--push', context]);
      const second = await machine();
      const before = layersOf(second);
      const again = name.replace(':latest', ':again');
      expect(
        await fetched(
          async () => {
            const { id, steps, stderr } = await second.build([
              '--cache-from',
              cache,
              '-t',
              again,
              '--push',
              context,
            ]);
            expect(id).toBe(made.id);
            expect(instructionSteps(steps).map(({ cached }) => cached)).toEqual([true, true]);
            expect(stderr).toContain('its layers stay where they are');
          },
          await cacheConfig(),
        ),
      ).toEqual([]);
      expect(layersOf(second)).toBe(before);
      expect((await second.run(['inspect', again])).code).toBe(1);
      const third = await machine();
      await third.ok(['pull', '-q', again]);
      expect((await third.inspect(again)).Id).toBe(made.id);
      expect((await third.run(['system', 'check'])).code).toBe(0);
      expect((await second.run(['system', 'check'])).code).toBe(0);
    });

    it('has them mounted from the repository of the cache, where it goes to another one', async () => {
      const made = await first.build(['--cache-to', cache, context]);
      const second = await machine();
      const elsewhere = `${watched.host}/other${serial}/app:1`;
      const from = watched.seen.length;
      expect(
        await fetched(
          () =>
            second.build([
              '--cache-from',
              cache,
              '-t',
              elsewhere,
              '--output',
              'type=registry',
              context,
            ]),
          await cacheConfig(),
        ),
      ).toEqual([]);
      expect(
        watched.seen.slice(from).filter((line) => line.includes(`from=app${serial}`)),
      ).toHaveLength(2);
      await second.ok(['pull', '-q', elsewhere]);
      expect((await second.inspect(elsewhere)).Id).toBe(made.id);
    });

    it('has them sent from a folder, and from another registry, that has the cache', async () => {
      const folder = join(temp.dir(), 'cache');
      const made = await first.build([
        '--cache-to',
        `type=local,dest=${folder}`,
        '--cache-to',
        cache,
        context,
      ]);
      const [second, third] = [await machine(), await machine()];
      await second.build([
        '--cache-from',
        `type=local,src=${folder}`,
        '-t',
        name,
        '--push',
        context,
      ]);
      await third.build([
        '--cache-from',
        cache,
        '-t',
        `${registry.host.replace('127.0.0.1', 'localhost')}/third${serial}:1`,
        '--push',
        context,
      ]);
      for (const pushed of [name, `${registry.host}/third${serial}:1`]) {
        await third.ok(['pull', '-q', pushed]);
        expect((await third.inspect(pushed)).Id).toBe(made.id);
      }
    });

    it('is built after all when the registry has them no more', async () => {
      await first.build(['--cache-to', cache, context]);
      const second = await machine();
      const small = await cacheConfig();
      watched.hide = (_method, path) =>
        path.includes(`from=app${serial}`) ||
        (path.includes(`/app${serial}/blobs/sha256:`) &&
          !small.some((digest) => path.includes(digest)));
      const { stderr } = await second.build([
        '--cache-from',
        cache,
        '-t',
        `${watched.host}/fresh${serial}:1`,
        '--push',
        context,
      ]);
      watched.hide = () => false;
      expect(stderr).toContain(`the cache of ${cache} is not used here`);
      // Both are missed at once, or one after the other: what was built for the first is then in
      // the store for the next attempt.
      expect(stderr).toMatch(
        /^build \w+: (?:0 of 2 steps from the cache$|1 of 2 steps from the cache, )/m,
      );
      expect(stderr.match(/^#\d+ not cached: /gm)?.length).toBeGreaterThanOrEqual(2);
      await first.ok(['pull', '-q', `${watched.host}/fresh${serial}:1`]);
    });

    it('is in the store where it is asked for, and where a step was run', async () => {
      await first.build(['--cache-to', cache, context]);
      const [second, third] = [await machine(), await machine()];
      await second.build([
        '--cache-from',
        cache,
        '-t',
        name,
        '--output',
        'type=image,push=true',
        context,
      ]);
      expect((await second.inspect(name)).RootFS.Layers).toHaveLength(3);
      writeFileSync(join(context, 'Dockerfile'), `${DOCKERFILE}RUN echo more > /more\n`);
      await third.build(['--cache-from', cache, '-t', name, '--push', context]);
      expect((await third.inspect(name)).RootFS.Layers).toHaveLength(4);
    });
  },
);
