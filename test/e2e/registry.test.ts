import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, succeed } from '../support/command';
import { copyFixture } from '../support/fixtures';
import { fixture, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp } from '../support/temp';

const GREETING = 'Hello, mbuild!\nHello, reader!\nHello, world!\n';
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

describeWith(
  'base images from a registry',
  { root: true, programs: ['skopeo'], also: noRegistry },
  () => {
    const temp = useTemp();
    let registry: TestRegistry;
    let layers: string[];

    beforeAll(async () => {
      registry = await startRegistry();
      const mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild);
      const context = copyFixture(fixture('hello'), join(temp.dir(), 'hello'));
      const push = async (tag: string, compression: string, ...flags: string[]): Promise<void> => {
        const archive = join(temp.dir(), 'hello.tar');
        await mbuild.build([
          '-t',
          'hello',
          '--output',
          `type=oci,compression=${compression},force-compression=true,dest=${archive}`,
          context,
        ]);
        const to = [
          '--dest-tls-verify=false',
          `oci-archive:${archive}`,
          `docker://${registry.host}/team/hello:${tag}`,
        ];
        await succeed('skopeo', ['--insecure-policy', 'copy', '-q', ...flags, ...to], {
          env: cleanEnv({ HOME: temp.dir('home') }),
        });
      };
      await push('oci', 'gzip', '--preserve-digests');
      await push('schema2', 'gzip', '--format=v2s2');
      await push('zstd', 'zstd', '--preserve-digests');
      await push('plain', 'uncompressed', '--preserve-digests');
      const pulled = new Mbuild(temp.dir('store'));
      await pulled.ok(['pull', `${registry.host}/team/hello:oci`]);
      layers = (await pulled.inspect(`${registry.host}/team/hello:oci`)).RootFS.Layers;
    });

    afterAll(async () => registry?.stop());

    it.each([
      ['oci', /oci.*gzip/],
      ['schema2', /docker.*gzip/],
      ['zstd', /oci.*zstd/],
      ['plain', /oci.*tar$/],
    ])('pulls layers as they come: %s', async (tag, type) => {
      const manifest = (await get(`/v2/team/hello/manifests/${tag}`)) as {
        layers: { mediaType: string }[];
      };
      for (const layer of manifest.layers) expect(layer.mediaType).toMatch(type);
      const mbuild = new Mbuild(temp.dir('store'));
      const name = `${registry.host}/team/hello:${tag}`;
      const printed = await mbuild.ok(['pull', name]);
      expect(printed).toMatch(/Digest: sha256:[0-9a-f]{64}/);
      expect(printed.split('\n').at(-1)).toBe(name);
      expect((await mbuild.inspect(name)).RootFS.Layers).toEqual(layers);
      expect((await mbuild.run(['run', '--rm', name])).stdout).toBe(GREETING);
    });

    it('FROM pulls by itself, by tag and by digest, and only what is not there', async () => {
      const mbuild = new Mbuild(temp.dir('store'));
      const digest = await digestOf('/v2/team/hello/manifests/oci');
      const from = (reference: string): Promise<{ id: string; stderr: string }> =>
        mbuild.build(['-f', '-', '-t', 'on-top', temp.dir('context')], {
          input: `FROM ${registry.host}/team/hello${reference}\nRUN cat $RESULT > /copy\nCMD ["cat", "/copy"]\n`,
        });
      await from(':oci');
      expect((await mbuild.run(['run', '--rm', 'on-top'])).stdout).toBe(GREETING);
      await from(`@${digest}`);
      expect((await mbuild.run(['run', '--rm', 'on-top'])).stdout).toBe(GREETING);
    });

    it.each([OCI_INDEX, DOCKER_LIST])(
      'takes its own platform out of an index: %s',
      async (type) => {
        const amd = await descriptor('oci');
        const platform = {
          os: 'linux',
          architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'],
        };
        const foreign = {
          ...(await descriptor('schema2')),
          platform: { os: 'linux', architecture: 's390x' },
        };
        const attestation = {
          ...amd,
          platform: { os: 'unknown', architecture: 'unknown' },
          annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
        };
        await put('/v2/team/hello/manifests/index', type, {
          schemaVersion: 2,
          mediaType: type,
          manifests: [foreign, attestation, { ...amd, platform }],
        });
        const mbuild = new Mbuild(temp.dir('store'));
        await mbuild.ok(['pull', `${registry.host}/team/hello:index`]);
        expect((await mbuild.inspect(`${registry.host}/team/hello:index`)).RootFS.Layers).toEqual(
          layers,
        );

        await put('/v2/team/hello/manifests/foreign', type, {
          schemaVersion: 2,
          mediaType: type,
          manifests: [foreign],
        });
        const refused = await mbuild.run(['pull', `${registry.host}/team/hello:foreign`]);
        expect(refused.code).toBe(1);
        expect(refused.stderr).toContain('linux/s390x');
        expect(refused.stderr).toContain('[PLATFORM_NOT_FOUND]');
      },
    );

    it('a local image satisfies FROM without asking the registry', async () => {
      const mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild, '127.0.0.1:1/nobody/listens:here');
      await mbuild.build(['-f', '-', temp.dir('context')], {
        input: 'FROM 127.0.0.1:1/nobody/listens:here\nRUN true\n',
      });
    });

    it('a tag that is not there is named', async () => {
      const mbuild = new Mbuild(temp.dir('store'));
      const { code, stderr } = await mbuild.run(['build', '-q', '-f', '-', temp.dir('context')], {
        input: `FROM ${registry.host}/team/hello:nope\n`,
      });
      expect(code).toBe(1);
      expect(stderr).toContain(`> 1 │ FROM ${registry.host}/team/hello:nope`);
      expect(stderr).toContain('[IMAGE_NOT_FOUND]');
    });

    it('a blob that is not what its digest says is refused, and nothing of it stays', async () => {
      const {
        layers: [first],
      } = (await get('/v2/team/hello/manifests/zstd')) as { layers: { digest: string }[] };
      const hex = (first?.digest ?? '').replace('sha256:', '');
      const stored = join(
        registryFolder(),
        'data/docker/registry/v2/blobs/sha256',
        hex.slice(0, 2),
        hex,
        'data',
      );
      const whole = readFileSync(stored);
      const forged = Buffer.from(whole);
      forged[forged.length >> 1] = (forged[forged.length >> 1] ?? 0) ^ 1;
      const mbuild = new Mbuild(temp.dir('store'));
      try {
        writeFileSync(stored, forged);
        const { code, stderr } = await mbuild.run(['pull', `${registry.host}/team/hello:zstd`]);
        expect(code).toBe(1);
        expect(stderr).toContain('[DIGEST_MISMATCH]');
        expect(stderr).toContain(hex);
        expect(await mbuild.ok(['images', '-q'])).toBe('');
      } finally {
        writeFileSync(stored, whole);
      }
      await mbuild.ok(['pull', `${registry.host}/team/hello:zstd`]);
      for (const name of readdirSync(join(mbuild.root, 'blobs/sha256'))) {
        expect(
          createHash('sha256')
            .update(readFileSync(join(mbuild.root, 'blobs/sha256', name)))
            .digest('hex'),
        ).toBe(name);
      }
    });

    function registryFolder(): string {
      const folders = readdirSync(tmpdir())
        .filter((name) => name.startsWith('mbuild-registry-'))
        .map((name) => join(tmpdir(), name));
      const own = folders.find(
        (folder) =>
          existsSync(join(folder, 'config.yml')) &&
          readFileSync(join(folder, 'config.yml'), 'utf8').includes(`"${registry.host}"`),
      );
      if (own === undefined)
        throw new Error(`no folder belongs to the registry at ${registry.host}`);
      return own;
    }

    async function get(path: string): Promise<unknown> {
      return (await answer(path)).json();
    }

    async function digestOf(path: string): Promise<string> {
      return (await answer(path)).headers.get('docker-content-digest') ?? '';
    }

    async function descriptor(
      tag: string,
    ): Promise<{ mediaType: string; digest: string; size: number }> {
      const response = await answer(`/v2/team/hello/manifests/${tag}`);
      const bytes = new Uint8Array(await response.arrayBuffer());
      return {
        mediaType: response.headers.get('content-type') ?? '',
        digest: response.headers.get('docker-content-digest') ?? '',
        size: bytes.length,
      };
    }

    function answer(path: string): Promise<Response> {
      const accept = [
        'application/vnd.oci.image.manifest.v1+json',
        'application/vnd.docker.distribution.manifest.v2+json',
        OCI_INDEX,
        DOCKER_LIST,
      ].join(', ');
      return fetch(`http://${registry.host}${path}`, { headers: { accept } });
    }

    async function put(path: string, type: string, body: unknown): Promise<void> {
      const response = await fetch(`http://${registry.host}${path}`, {
        method: 'PUT',
        headers: { 'content-type': type },
        body: JSON.stringify(body),
      });
      if (!response.ok) throw new Error(`PUT ${path}: ${response.status} ${await response.text()}`);
    }
  },
);
