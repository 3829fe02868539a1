import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { watchRegistry, type WatchedRegistry } from '../support/watched-registry';

const STEPS = `WORKDIR /srv
COPY app.txt .
RUN head -c 3000000 /dev/urandom > /random
RUN head -c 200000 /dev/urandom > /more
`;

describeWith(
  'a build on a new machine with a full cache in a registry, and its base in a registry',
  { root: true, also: noRegistry },
  () => {
    const temp = useTemp();
    let registry: TestRegistry;
    let watched: WatchedRegistry;
    let base: string;
    let context: string;
    let cache: string;
    let name: string;
    let id: string;
    let serial = 0;

    beforeAll(async () => {
      registry = await startRegistry();
      watched = await watchRegistry(registry.host);
      base = `${watched.host}/library/base:1`;
      const mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild, base);
      await mbuild.ok(['push', '-q', base]);
    });

    afterAll(async () => {
      await watched?.close();
      await registry?.stop();
    });

    beforeEach(async () => {
      serial++;
      cache = `${watched.host}/app${serial}:cache`;
      name = `${watched.host}/app${serial}:latest`;
      context = writeFiles(temp.dir('context'), {
        Dockerfile: `FROM ${base}\n${STEPS}`,
        'app.txt': 'app\n',
      });
      ({ id } = await machine().build([
        '--cache-to',
        `type=registry,ref=${cache},mode=max`,
        context,
      ]));
    });

    const machine = (): Mbuild => new Mbuild(temp.dir('store'));
    const chains = (mbuild: Mbuild): number =>
      existsSync(join(mbuild.root, 'chains')) ? readdirSync(join(mbuild.root, 'chains')).length : 0;
    const json = async (path: string): Promise<Manifest> =>
      (await (
        await fetch(`http://${registry.host}/v2/${path}`, { headers: { accept: MANIFEST } })
      ).json()) as Manifest;
    const baseManifest = (): Promise<Manifest> => json('library/base/manifests/1');
    const cacheManifest = (): Promise<Manifest> => json(`app${serial}/manifests/cache`);
    /** What was asked for since, and the bytes that came. */
    async function traffic(
      work: () => Promise<unknown>,
    ): Promise<{ blobs: string[]; bytes: number; requests: number }> {
      const [from, bytes] = [watched.seen.length, watched.sent()];
      await work();
      const seen = watched.seen.slice(from);
      return {
        blobs: seen.flatMap((line) => /^GET .*\/blobs\/(sha256:\w+)/.exec(line)?.[1] ?? []),
        bytes: watched.sent() - bytes,
        requests: seen.length,
      };
    }

    it('pushes the image without fetching a layer, of the cache or of the base', async () => {
      const [own, below] = [await cacheManifest(), await baseManifest()];
      const second = machine();
      const { blobs, bytes, requests } = await traffic(async () => {
        const made = await second.build(['--cache-from', cache, '-t', name, '--push', context]);
        expect(made.id).toBe(id);
        expect(instructionSteps(made.steps).every(({ cached }) => cached)).toBe(true);
      });
      expect(blobs.sort()).toEqual([own.config.digest, below.config.digest].sort());
      expect(bytes).toBeLessThan(40_000);
      // Manifests and configs of base and cache, and for the push: a mount or question for each
      // blob, the config, the manifest.
      expect(requests).toBeLessThan(25);
      expect(chains(second)).toBe(0);
      const third = machine();
      await third.ok(['pull', '-q', name]);
      expect((await third.inspect(name)).Id).toBe(id);
      expect((await second.run(['system', 'check'])).code).toBe(0);
    });

    it('looks up owners of COPY --chown in what the cache remembers, and in the tree when it runs', async () => {
      const steps = `COPY --chown=app:staff app.txt /a\nCOPY --chown=7:8 app.txt /b\n`;
      writeFileSync(join(context, 'Dockerfile'), `FROM ${base}\nRUN echo x > /x\n${steps}`);
      const first = await machine().build(['--cache-to', `type=registry,ref=${cache}`, context]);
      const [own, below] = [await cacheManifest(), await baseManifest()];
      const { blobs } = await traffic(async () => {
        const made = await machine().build(['--cache-from', cache, '-t', name, '--push', context]);
        expect(made.id).toBe(first.id);
      });
      expect(blobs.sort()).toEqual([own.config.digest, below.config.digest].sort());
      writeFileSync(join(context, 'app.txt'), 'other\n');
      const third = machine();
      await third.build(['--cache-from', cache, '-t', 'changed', context]);
      const owners = await third.ok(['run', '--rm', 'changed', 'stat', '-c', '%u:%g', '/a', '/b']);
      expect(owners).toBe(
        await third.ok(['run', '--rm', 'changed', 'sh', '-c', 'echo $(id -u app):50; echo 7:8']),
      );
    });

    it('sends the base to another registry without unpacking it', async () => {
      const other = await startRegistry();
      try {
        const second = machine();
        const elsewhere = `${other.host}/elsewhere:1`;
        await second.build(['--cache-from', cache, '-t', elsewhere, '--push', context]);
        expect(chains(second)).toBe(0);
        const third = machine();
        await third.ok(['pull', '-q', elsewhere]);
        expect((await third.inspect(elsewhere)).Id).toBe(id);
      } finally {
        await other.stop();
      }
    });

    it.each(['type=oci', 'type=docker'])(
      'writes --output %s of blobs that are fetched once and not unpacked',
      async (kind) => {
        const [own, below] = [await cacheManifest(), await baseManifest()];
        const second = machine();
        const archive = join(temp.dir('out'), 'image.tar');
        const { blobs } = await traffic(() =>
          second.build([
            '--cache-from',
            cache,
            '-t',
            'app',
            '--output',
            `${kind},dest=${archive}`,
            context,
          ]),
        );
        const layers = [
          ...below.layers,
          ...own.layers.filter(({ mediaType }) => mediaType.includes('tar')),
        ];
        expect(blobs.sort()).toEqual(
          [own.config, below.config, ...layers].map(({ digest }) => digest).sort(),
        );
        expect(chains(second)).toBe(0);
        await second.ok(['load', '-q', '-i', archive]);
        expect((await second.inspect('app')).Id).toBe(id);
      },
    );

    it('fetches nothing for --output type=cacheonly', async () => {
      const [own, below] = [await cacheManifest(), await baseManifest()];
      const { blobs } = await traffic(() =>
        machine().build(['--cache-from', cache, '--output', 'type=cacheonly', context]),
      );
      expect(blobs.sort()).toEqual([own.config.digest, below.config.digest].sort());
    });

    it('fetches files that are asked for without the base of the stage that made them', async () => {
      writeFileSync(
        join(context, 'Dockerfile'),
        `FROM ${base} AS build\nRUN echo made > /made\nRUN head -c 1000000 /dev/urandom > /big\nFROM scratch\nCOPY --from=build /made /\n`,
      );
      await machine().build(['--cache-to', `type=registry,ref=${cache},mode=max`, context]);
      const [own, below] = [await cacheManifest(), await baseManifest()];
      const out = temp.dir('files');
      const { blobs, bytes } = await traffic(() =>
        machine().build(['--cache-from', cache, '--output', out, context]),
      );
      expect(readFileSync(join(out, 'made'), 'utf8')).toBe('made\n');
      expect(blobs).toHaveLength(3);
      expect(blobs).toEqual(expect.arrayContaining([own.config.digest, below.config.digest]));
      expect(bytes).toBeLessThan(40_000);
    });

    it('fetches for a RUN that changed at the end the layers below it, each once', async () => {
      const [own, below] = [await cacheManifest(), await baseManifest()];
      writeFileSync(
        join(context, 'Dockerfile'),
        `FROM ${base}\n${STEPS.replace('/more', '/other')}`,
      );
      const last = own.layers.filter(({ mediaType }) => mediaType.includes('tar')).at(-1);
      const { blobs } = await traffic(() =>
        machine().build(['--cache-from', cache, '-t', name, '--push', context]),
      );
      expect(blobs).not.toContain(last?.digest);
      for (const { digest } of below.layers)
        expect(blobs.filter((blob) => blob === digest)).toHaveLength(1);
      expect(new Set(blobs).size).toBe(blobs.length);
      await machine().ok(['pull', '-q', name]);
    });

    it('builds on the base when the cache has nothing, and says what it pulls', async () => {
      const second = machine();
      const { stderr } = await second.build([
        '--cache-from',
        `${watched.host}/nothing:here`,
        '-t',
        'app',
        context,
      ]);
      expect(stderr).toContain(`pulling ${base}`);
      expect((await second.run(['inspect', base])).code).toBe(0);
    });

    it('asks for nothing but the layers of a base that the registry lacks: the error names it', async () => {
      const [layer] = (await baseManifest()).layers;
      watched.hide = (method, path) => method === 'GET' && path.includes(`${layer?.digest}`);
      const failed = await machine().run([
        'build',
        '--cache-from',
        `${watched.host}/nothing:here`,
        context,
      ]);
      watched.hide = () => false;
      expect(failed.code).toBe(1);
      expect(failed.stderr).toContain(`${layer?.digest}`);
      expect(failed.stderr).not.toContain('is not used here');
    });
  },
);

const MANIFEST =
  'application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json';

interface Manifest {
  readonly config: { readonly digest: string };
  readonly layers: readonly { readonly digest: string; readonly mediaType: string }[];
}
