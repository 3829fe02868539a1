import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MediaType } from '../../src/oci/media-types';
import { smallBase } from '../support/bases';
import { startForward, startProxy, type Forward } from '../support/forward';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import {
  TEST_USER,
  makeCertificate,
  noRegistry,
  startRegistry,
  type TestRegistry,
} from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';

describeWith(
  'the way to a registry',
  { root: true, programs: ['openssl'], also: noRegistry },
  () => {
    const temp = useTemp();
    const open: { stop?: () => Promise<void>; close?: () => Promise<void> }[] = [];
    let root: string;

    beforeAll(async () => {
      root = temp.dir('store');
      await smallBase(new Mbuild(root));
    });
    afterEach(async () => {
      for (const item of open.splice(0)) await (item.stop?.() ?? item.close?.());
    });

    const registry = async (
      options?: Parameters<typeof startRegistry>[0],
    ): Promise<TestRegistry> => {
      const started = await startRegistry(options);
      open.push(started);
      return started;
    };
    const opened = async (forward: Promise<Forward>): Promise<Forward> => {
      open.push(await forward);
      return forward;
    };
    const inHome = (home: string, env: Record<string, string> = {}, store = root): Mbuild =>
      new Mbuild(store, { HOME: home, ...env });
    const named = async (name: string): Promise<string> => {
      await new Mbuild(root).ok(['tag', 'small-base', name]);
      return name;
    };

    describe('with a password', () => {
      it('is open after login, and closed after logout', async () => {
        const { host } = await registry({ auth: true });
        const home = temp.dir('home');
        const mbuild = inHome(home);
        const name = await named(`${host}/team/app:1`);
        const refused = await mbuild.run(['push', name]);
        expect([refused.code, refused.stderr]).toEqual([
          1,
          expect.stringContaining(`mbuild login ${host}`),
        ]);
        const wrong = await mbuild.run(
          ['login', '-u', TEST_USER.username, '--password-stdin', host],
          { input: 'wrong\n' },
        );
        expect([wrong.code, wrong.stderr]).toEqual([
          1,
          expect.stringContaining('[REGISTRY_DENIED]'),
        ]);
        expect(existsSync(join(home, '.docker/config.json'))).toBe(false);
        expect(
          await mbuild.ok(['login', '-u', TEST_USER.username, '--password-stdin', host], {
            input: `${TEST_USER.password}\n`,
          }),
        ).toBe('Login Succeeded');
        await mbuild.ok(['push', name]);
        await inHome(home, {}, temp.dir('store')).ok(['pull', name]);
        expect(await mbuild.ok(['logout', host])).toBe(`Removing login credentials for ${host}`);
        expect((await mbuild.run(['pull', name])).code).toBe(1);
        expect(await mbuild.ok(['logout', host])).toBe(`Not logged in to ${host}`);
      });

      it.each([
        [['login', '--password-stdin', 'x.example'], /requires --username/],
        [['login', 'x.example'], /non TTY device/],
        [['login', '-u', 'a', 'x.example/y'], /not a valid registry address/],
      ])('%j is refused', async (args, message) => {
        const { code, stderr } = await inHome(temp.dir('home')).run(args);
        expect([code, stderr]).toEqual([125, expect.stringMatching(message)]);
      });

      it("is open to skopeo's auth.json too", async () => {
        const { host } = await registry({ auth: true });
        const file = join(temp.dir('home'), 'auth.json');
        const mbuild = inHome(temp.dir('home'), { REGISTRY_AUTH_FILE: file });
        await mbuild.ok(['login', '-u', TEST_USER.username, '-p', TEST_USER.password, host]);
        expect(
          Object.keys((JSON.parse(readFileSync(file, 'utf8')) as { auths: object }).auths),
        ).toEqual([host]);
        await mbuild.ok(['push', await named(`${host}/team/app:1`)]);
      });
    });

    describe('with TLS', () => {
      it.each(['SSL_CERT_FILE', 'certs.d', '--insecure-registry', 'daemon.json'])(
        'is trusted by %s alone',
        async (how) => {
          const { host, caFile = '' } = await registry({ tls: true });
          const name = await named(`${host}/team/app:1`);
          const home = temp.dir('home');
          const refused = await inHome(home).run(['push', name]);
          expect([refused.code, refused.stderr]).toEqual([
            1,
            expect.stringContaining('[TLS_FAILED]'),
          ]);
          if (how === 'certs.d') {
            mkdirSync(join(home, '.config/containers/certs.d', host), { recursive: true });
            copyFileSync(caFile, join(home, '.config/containers/certs.d', host, 'ca.crt'));
          }
          if (how === 'daemon.json')
            writeFiles(home, {
              '.config/docker/daemon.json': JSON.stringify({ 'insecure-registries': [host] }),
            });
          await inHome(home, how === 'SSL_CERT_FILE' ? { SSL_CERT_FILE: caFile } : {}).ok([
            ...(how === '--insecure-registry' ? [how, host] : []),
            'push',
            name,
          ]);
        },
      );

      it('shows its own certificate where one is asked for', async () => {
        const plain = await registry();
        await inHome(temp.dir('home')).ok(['push', await named(`${plain.host}/team/app:1`)]);
        const files = makeCertificate(temp.dir('certificates'));
        const read = (file: string): Buffer => readFileSync(file);
        const front = await opened(
          startForward(plain.host, {
            cert: read(files.cert),
            key: read(files.key),
            ca: read(files.ca),
            requestCert: true,
            rejectUnauthorized: true,
          }),
        );
        const host = front.host.replace('127.0.0.1', 'localhost');
        const home = temp.dir('home');
        const folder = join(home, '.config/docker/certs.d', host);
        mkdirSync(folder, { recursive: true });
        copyFileSync(files.ca, join(folder, 'ca.crt'));
        const store = temp.dir('store');
        expect((await inHome(home, {}, store).run(['pull', `${host}/team/app:1`])).code).toBe(1);
        copyFileSync(files.cert, join(folder, 'client.cert'));
        copyFileSync(files.key, join(folder, 'client.key'));
        await inHome(home, {}, store).ok(['pull', `${host}/team/app:1`]);
      });
    });

    describe('through a proxy', () => {
      it.each([
        ['HTTP_PROXY', ''],
        ['http_proxy', ''],
        ['ALL_PROXY', 'me:secret'],
      ])('that %s names', async (variable, credentials) => {
        const { host } = await registry();
        const proxy = await opened(startProxy(host, credentials === '' ? undefined : credentials));
        const mbuild = inHome(temp.dir('home'), {
          [variable]: `http://${credentials === '' ? '' : `${credentials}@`}${proxy.host}`,
        });
        await mbuild.ok([
          '--insecure-registry',
          'registry.test:5000',
          'push',
          await named('registry.test:5000/team/app:1'),
        ]);
        expect(proxy.asked).toContain('registry.test:5000');
        const other = inHome(
          temp.dir('home'),
          { [variable]: `http://${credentials === '' ? '' : `${credentials}@`}${proxy.host}` },
          temp.dir('store'),
        );
        await other.ok([
          '--insecure-registry',
          'registry.test:5000',
          'pull',
          'registry.test:5000/team/app:1',
        ]);
      });

      it("a proxy's password is in no message", async () => {
        const { host } = await registry();
        const proxy = await opened(startProxy(host, 'me:secret'));
        const { code, stderr } = await inHome(temp.dir('home'), {
          HTTP_PROXY: `http://me:hunter2@${proxy.host}`,
        }).run([
          '--insecure-registry',
          'registry.test:5000',
          'pull',
          'registry.test:5000/team/app:1',
        ]);
        expect(code).toBe(1);
        expect(stderr).not.toContain('hunter2');
      });

      it('never to the machine itself, and not where NO_PROXY says', async () => {
        const { host } = await registry();
        const proxy = await opened(startProxy(host));
        await inHome(temp.dir('home'), { HTTP_PROXY: `http://${proxy.host}` }).ok([
          'push',
          await named(`${host}/team/app:1`),
        ]);
        const direct = await inHome(temp.dir('home'), {
          HTTP_PROXY: `http://${proxy.host}`,
          NO_PROXY: '.test',
        }).run([
          '--insecure-registry',
          'registry.test:5000',
          'pull',
          'registry.test:5000/team/app:1',
        ]);
        expect(direct.code).toBe(1);
        expect(proxy.asked).toEqual([]);
      });
    });

    describe('by mirrors', () => {
      it("Docker Hub's images come from the mirror of daemon.json", async () => {
        const { host } = await registry();
        await inHome(temp.dir('home')).ok(['push', await named(`${host}/library/tiny:1`)]);
        const home = temp.dir('home');
        writeFiles(home, {
          '.config/docker/daemon.json': JSON.stringify({
            'registry-mirrors': ['http://127.0.0.1:1', `http://${host}`],
          }),
        });
        const mbuild = inHome(home, {}, temp.dir('store'));
        expect(await mbuild.ok(['pull', 'tiny:1'])).toContain(
          'Status: Downloaded newer image for tiny:1',
        );
        expect(await mbuild.ok(['images', '--format', '{{.Repository}}:{{.Tag}}'])).toBe('tiny:1');
      });

      it('registries.conf moves a prefix, for pull and push', async () => {
        const { host } = await registry();
        const home = temp.dir('home');
        writeFileSync(
          join(home, 'registries.conf'),
          `[[registry]]\nprefix = "reg.example/team"\nlocation = "${host}/moved"\n[[registry.mirror]]\nlocation = "127.0.0.1:1/nobody"\n`,
        );
        const env = { CONTAINERS_REGISTRIES_CONF: join(home, 'registries.conf') };
        await inHome(home, env).ok(['push', await named('reg.example/team/app:1')]);
        await inHome(home, env, temp.dir('store')).ok(['pull', 'reg.example/team/app:1']);
        await inHome(home, {}, temp.dir('store')).ok(['pull', `${host}/moved/app:1`]);
      });
    });

    it('is not walked for layers that the registry has', async () => {
      const { host } = await registry();
      const tap = await opened(startForward(host));
      const mbuild = inHome(temp.dir('home'));
      await mbuild.ok(['push', await named(`${tap.host}/base/small:1`)]);
      const forBase = tap.sent();
      expect(forBase).toBeGreaterThan(500_000);
      const context = temp.dir('context');
      writeFiles(context, {
        Dockerfile: `FROM ${tap.host}/base/small:1\nRUN head -c 50000 /dev/urandom > /new\n`,
      });
      // Into another repository: the base's layers are mounted there.
      await mbuild.build(['-t', `${tap.host}/team/derived:1`, '--push', context]);
      const forDerived = tap.sent() - forBase;
      expect(forDerived).toBeGreaterThan(50_000);
      expect(forDerived).toBeLessThan(65_000);
      await mbuild.ok(['push', `${tap.host}/team/derived:1`]);
      expect(tap.sent() - forBase - forDerived).toBeLessThan(5_000);
      await inHome(temp.dir('home'), {}, temp.dir('store')).ok(['pull', `${host}/team/derived:1`]);
    });

    it.each([
      ['--push'],
      ['--output', 'type=registry'],
      ['--output', 'type=image,push=true'],
      ['--output', 'type=image,name=HOST/team/other:2,push=true'],
    ])('is walked by build %s %s', async (...flags) => {
      const { host } = await registry();
      const mbuild = inHome(temp.dir('home'));
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN echo 1 > /1\n',
      });
      await mbuild.build([
        '-t',
        `${host}/team/app:1`,
        ...flags.map((flag) => flag.replace('HOST', host)),
        context,
      ]);
      const name = flags.join().includes('other') ? `${host}/team/other:2` : `${host}/team/app:1`;
      const other = inHome(temp.dir('home'), {}, temp.dir('store'));
      await other.ok(['pull', name]);
      expect((await other.inspect(name)).Id).toBe((await mbuild.inspect(name)).Id);
    });

    it('goes with the compression that an output asks for', async () => {
      const { host } = await registry();
      const mbuild = inHome(temp.dir('home'));
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n',
      });
      await mbuild.build([
        '--output',
        `type=registry,name=${host}/team/plain:1,compression=uncompressed`,
        context,
      ]);
      await mbuild.build([
        '--output',
        `type=registry,name=${host}/team/packed:1,compression=gzip,compression-level=9`,
        context,
      ]);
      const layersOf = async (repository: string): Promise<{ mediaType: string }[]> => {
        const answer = await fetch(`http://${host}/v2/${repository}/manifests/1`, {
          headers: { accept: MediaType.ociManifest },
        });
        return ((await answer.json()) as { layers: { mediaType: string }[] }).layers;
      };
      expect((await layersOf('team/plain')).map(({ mediaType }) => mediaType)).toEqual([
        MediaType.ociLayerTar,
      ]);
      expect((await layersOf('team/packed')).map(({ mediaType }) => mediaType)).toEqual([
        MediaType.ociLayerGzip,
      ]);
    });
  },
);
