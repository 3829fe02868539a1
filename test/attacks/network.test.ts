import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { digestOf, type Digest } from '../../src/oci/digest';
import { MediaType } from '../../src/oci/media-types';
import { tarOf } from '../layer/trees';
import { serveImage, startFaultServer, type FaultServer } from '../registry/fault-server';
import { smallBase } from '../support/bases';
import type { CommandResult } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { commitFolder, file, gitIn, startWebServer, type WebServer } from '../support/web-server';

jest.setTimeout(120_000);

const CANARY = 'c4n4ry-of-the-host';
const TOKEN = 'tok3n-of-the-user';

/**
 * Repositories, web servers and registries that lie, lead elsewhere, or want to know what is not
 * theirs.
 */
describeWith('mbuild withstands', { root: true, programs: ['git', 'zstd'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let web: WebServer;
  /** Another host, to which the first leads; by its log it is known what came there. */
  let other: WebServer;
  let repositories: string;
  let host: string;

  beforeAll(async () => {
    repositories = temp.dir('repos');
    [web, other] = [await startWebServer(repositories), await startWebServer(repositories)];
    host = writeFiles(temp.dir('host'), { secret: `${CANARY}\n` });
    mbuild = new Mbuild(join(temp.dir('parent'), 'store'));
    await smallBase(mbuild);
  });

  afterAll(async () => {
    await Promise.all([web.stop(), other.stop()]);
  });

  afterEach(() => {
    expect(readdirSync(dirname(mbuild.root))).toEqual(['store']);
    expect(readdirSync(host)).toEqual(['secret']);
  });

  function graceful(result: CommandResult): CommandResult {
    expect([0, 1]).toContain(result.code);
    expect(`${result.stderr}${result.stdout}`).not.toMatch(
      new RegExp(
        `\\[INTERNAL\\]|${CANARY}|${TOKEN}|${Buffer.from(TOKEN).toString('base64').slice(2, 16)}`,
      ),
    );
    return result;
  }

  const run = async (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<CommandResult> => graceful(await mbuild.run(args, { env }));
  const build = (
    dockerfile: string,
    env: Readonly<Record<string, string>> = {},
    ...flags: readonly string[]
  ): Promise<CommandResult> =>
    run(
      [
        'build',
        '--no-cache',
        '--progress=plain',
        ...flags,
        writeFiles(temp.dir('context'), { Dockerfile: dockerfile }),
      ],
      env,
    );

  describe('git', () => {
    beforeAll(() => {
      const folder = writeFiles(temp.dir('repository'), {
        'sub/f': 'in\n',
        Dockerfile: 'FROM small-base\nCOPY . /d\n',
      });
      symlinkSync(host, join(folder, 'outside'));
      symlinkSync('outside', join(folder, 'twice'));
      symlinkSync('.git', join(folder, 'inside'));
      commitFolder(folder, repositories, 'app');
    });

    test.each(
      [
        '#--upload-pack=touch${IFS}HOST/pwned',
        '?ref=--upload-pack=x',
        '?branch=-x',
        '#-h',
        '#main:../../../../../../../../HOST',
        '#main:sub/../..',
        '#main:outside',
        '#main:twice',
        '#main:inside',
        '#main:.git',
        '#main:/sub/../../HOST',
        '?subdir=../..',
        '?subdir=%2e%2e/%2e%2e',
        '#main:sub%00',
        '#refs/heads/../../HEAD',
        '#@{-1}',
        `#${'a'.repeat(5000)}`,
        '#main\nevil',
        '#main:sub\0x',
      ].map((rest) => rest.replace('HOST', '/tmp')),
    )('attack 17: the address …git%s', async (rest) => {
      const url = `${web.url}/git/app.git${rest}`;
      if (!rest.includes('\0'))
        expect((await run(['build', '--progress=plain', url])).code).toBe(1);
      const { code } = await build(
        `FROM small-base\nADD ["${url.replace('\n', '\\n').replace('\0', '\\u0000')}", "/src"]\nRUN find /src; cat /src/*; true\n`,
      );
      expect(code).toBe(1);
      expect(existsSync('/tmp/pwned')).toBe(false);
    });

    test.each([
      ['the disk', (): string => `file://${host}`],
      ['a program', (): string => `ext::sh -c touch% ${host}/pwned`],
      ['a path', (): string => host],
      ['an option', (): string => '--upload-pack=touch /tmp/pwned'],
      ['a descriptor', (): string => 'fd::0'],
    ])('attack 17: a submodule whose address is %s', async (what, address) => {
      const name = `trap-${createHash('sha1').update(what).digest('hex').slice(0, 8)}`;
      const folder = writeFiles(temp.dir('repository'), { f: '1' });
      commitFolder(folder, repositories, name);
      writeFileSync(
        join(folder, '.gitmodules'),
        `[submodule "m"]\n\tpath = m\n\turl = ${JSON.stringify(address())}\n\tupdate = !touch ${host}/pwned\n`,
      );
      gitIn(folder, 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},m`);
      gitIn(folder, 'add', '.gitmodules');
      gitIn(folder, 'commit', '--quiet', '--message=trap');
      expect((await build(`FROM small-base\nADD ${web.url}/git/${name}.git /src\n`)).code).toBe(1);
    });

    test('attack 17: hooks, filters and configuration of a repository, of the user and of the environment', async () => {
      const folder = writeFiles(temp.dir('repository'), {
        f: '1',
        '.gitattributes': '* filter=evil diff=evil\n',
        '.gitconfig': '[core]\n\tfsmonitor = touch /tmp/pwned\n',
      });
      commitFolder(folder, repositories, 'hooked');
      mkdirSync(join(folder, '.git/hooks'), { recursive: true });
      const evil = writeFiles(temp.dir('evil'), { hook: `#!/bin/sh\ntouch ${host}/pwned\n` });
      for (const hook of [
        'post-checkout',
        'post-index-change',
        'reference-transaction',
        'pre-auto-gc',
        'fsmonitor-watchman',
      ])
        writeFileSync(join(folder, '.git/hooks', hook), readFileSync(join(evil, 'hook')), {
          mode: 0o755,
        });
      const home = writeFiles(temp.dir('home'), {
        '.gitconfig': `[core]\n\thooksPath = ${folder}/.git/hooks\n\tsshCommand = touch ${host}/pwned\n[filter "evil"]\n\tsmudge = touch ${host}/pwned\n[url "file://${host}/"]\n\tinsteadOf = ${web.url}\n`,
      });
      const env = {
        HOME: home,
        XDG_CONFIG_HOME: home,
        GIT_TEMPLATE_DIR: folder,
        GIT_EXTERNAL_DIFF: `touch ${host}/pwned`,
        GIT_PROXY_COMMAND: `touch ${host}/pwned`,
        GIT_ALLOW_PROTOCOL: 'ext:file',
        GIT_EXEC_PATH: evil,
      };
      const { code } = await build(`FROM small-base\nADD ${web.url}/git/hooked.git /src\n`, env);
      expect(code).toBe(0);
    });

    test('attack 22: a repository that moved to another host is not told the token', async () => {
      const heard: string[] = [];
      other.pages.clear();
      for (const path of ['/git/app.git/info/refs', '/git/app.git/git-upload-pack']) {
        web.pages.set(path.replace('app', 'moved'), (request, response) => {
          heard.push(`first ${String(request.headers.authorization !== undefined)}`);
          response
            .writeHead(301, {
              location: `${other.url.replace('127.0.0.1', 'localhost')}${(request.url ?? '').replace('moved', 'app')}`,
            })
            .end();
        });
        other.pages.set(path, (request, response) => {
          heard.push(`other ${String(request.headers.authorization !== undefined)}`);
          response.writeHead(404).end();
        });
      }
      expect(
        (
          await mbuild.run([
            'build',
            '--progress=plain',
            `http://me:${TOKEN}@${new URL(web.url).host}/git/moved.git#main`,
          ])
        ).code,
      ).toBe(1);
      expect(heard[0]).toBe('first true');
      expect(heard.filter((line) => line === 'other true')).toEqual([]);
    });
  });

  describe('files', () => {
    test.each([
      '..%2f..%2fx',
      '%2e%2e',
      '..',
      'a%00b',
      `${'x'.repeat(4096)}`,
      '%2fetc%2fpasswd',
      '.wh.f',
      '-rf',
      '%0a',
      '~',
      'a%5c..%5cb',
      '.',
      '%',
    ])('attack 18: an address that ends in %s', async (name) => {
      const path = new URL(`${web.url}/files/${name}`).pathname;
      web.pages.set(
        path,
        file('hostile\n', {
          'content-disposition': 'attachment; filename="../../../../etc/mbuild-hostile"',
        }),
      );
      const { stderr, code } = await build(
        `FROM small-base\nADD ${web.url}/files/${name} /in/side/\nRUN find / -xdev -type f -exec grep -l ^hostile$ {} + | grep -v '^/in/side/[^/]*$'; true\n`,
      );
      expect([0, 1]).toContain(code);
      expect(stderr.split('\n').filter((line) => /^#\d+ \d+\.\d+ /.test(line))).toEqual([]);
      expect(existsSync('/etc/mbuild-hostile')).toBe(false);
    });

    test('attack 18: what the server calls a file has no say, however it is written', async () => {
      for (const [i, disposition] of [
        'filename="../../x"',
        'filename="a\\0b"',
        'filename=""',
        `filename="${'x'.repeat(4000)}"`,
        "filename*=UTF-8''..%2f..%2fx",
        'filename=/etc/passwd',
      ].entries()) {
        web.pages.set(
          `/d${i}/name`,
          file('content', { 'content-disposition': `attachment; ${disposition}` }),
        );
        const { code, stderr } = await build(
          `FROM small-base\nADD ${web.url}/d${i}/name /in/\nRUN find /in\n`,
        );
        expect([disposition, code, stderr]).toEqual([
          disposition,
          0,
          expect.stringMatching(/ \/in\/name$/m),
        ]);
      }
    });

    test('attack 22: an address with a password leads to another host, another port, and a host that looks alike', async () => {
      const { host: first } = new URL(web.url);
      for (const [i, target] of [
        other.url,
        other.url.replace('127.0.0.1', 'localhost'),
        web.url.replace('127.0.0.1', 'localhost'),
        web.url
          .replace('http://', `http://${first}@`)
          .replace(/@.*/, `@${new URL(other.url).host}`),
      ].entries()) {
        const heard: (string | undefined)[] = [];
        web.pages.set(`/from${i}`, (_, response) =>
          response.writeHead(302, { location: `${target}/to${i}` }).end(),
        );
        for (const server of [web, other])
          server.pages.set(
            `/to${i}`,
            (request, response) => (heard.push(request.headers.authorization), response.end('x')),
          );
        expect(
          (await build(`FROM small-base\nADD http://me:${TOKEN}@${first}/from${i} /x\n`)).code,
        ).toBe(0);
        expect(
          heard.map(
            (header) =>
              header !== undefined &&
              Buffer.from(header.replace('Basic ', ''), 'base64').toString().includes(TOKEN),
          ),
        ).toEqual([false]);
      }
    });

    test('attack 22: a file leads to what is no address of the web', async () => {
      for (const [i, target] of [
        `file://${host}/secret`,
        `//${host}`,
        'data:text/plain,x',
        'ftp://127.0.0.1/x',
        'javascript:1',
        '',
      ].entries()) {
        web.pages.set(`/away${i}`, (_, response) =>
          response.writeHead(302, { location: target }).end(),
        );
        expect(
          (await build(`FROM small-base\nADD ${web.url}/away${i} /x\nRUN cat /x\n`)).code,
        ).toBe(1);
      }
    });
  });

  describe('registries', () => {
    let server: FaultServer;
    const layer = tarOf({ path: 'f', content: '1' });
    const blob = gzipSync(layer);
    const sound = { blob, diffId: digestOf(layer) };

    beforeEach(async () => {
      server = await startFaultServer();
    });

    afterEach(async () => {
      await server.close();
      expect(
        (await mbuild.ok(['images', '--format', '{{.Repository}}'])).split('\n'),
      ).not.toContain(`${server.host}/app`);
      expect(await mbuild.ok(['system', 'check'])).toContain('nothing is wrong');
    });

    const pull = (env?: Readonly<Record<string, string>>): Promise<CommandResult> =>
      run(['pull', '--retry', '1', '--retry-delay', '1ms', `${server.host}/app:1`], env);
    function put(manifest: unknown, tag = '1'): Digest {
      const bytes = Buffer.from(JSON.stringify(manifest));
      for (const name of [tag, digestOf(bytes)]) server.manifests.set(name, bytes);
      return digestOf(bytes);
    }
    function answer(part: string, bytes: Buffer): void {
      server.fault = ({ url }, response) =>
        url?.includes(part) === true &&
        response.writeHead(200, { 'content-type': MediaType.ociManifest }).end(bytes) !== undefined;
    }
    const descriptor = (
      bytes: Buffer,
      mediaType: string,
    ): { mediaType: string; digest: Digest; size: number } => ({
      mediaType,
      digest: digestOf(bytes),
      size: bytes.length,
    });

    test.each<readonly [string, RegExp, () => void]>([
      [
        'other bytes for a blob',
        /DIGEST_MISMATCH|SIZE_MISMATCH/,
        () => server.blobs.set(digestOf(blob), gzipSync(tarOf({ path: 'evil' }))),
      ],
      [
        'other bytes of the same length',
        /DIGEST_MISMATCH/,
        () => server.blobs.set(digestOf(blob), Buffer.alloc(blob.length, 1)),
      ],
      [
        'a blob without end',
        /SIZE_MISMATCH/,
        () => server.blobs.set(digestOf(blob), Buffer.concat([blob, Buffer.alloc(1 << 20)])),
      ],
      [
        'a blob that stops',
        /DIGEST_MISMATCH|SIZE_MISMATCH|REGISTRY/,
        () => server.blobs.set(digestOf(blob), blob.subarray(0, 20)),
      ],
      [
        'a layer of another DiffID',
        /DIGEST_MISMATCH/,
        () => void serveImage(server, '1', [{ blob, diffId: digestOf(Buffer.from('other')) }]),
      ],
      [
        'a layer that is no archive',
        /ARCHIVE_INVALID|DIGEST_MISMATCH/,
        () =>
          void serveImage(server, '1', [
            { blob: gzipSync(Buffer.alloc(5000, 7)), diffId: digestOf(Buffer.alloc(5000, 7)) },
          ]),
      ],
      [
        'a manifest without end',
        /LIMIT_EXCEEDED/,
        () => answer('/manifests/', Buffer.alloc(5 << 20, 0x20)),
      ],
      [
        'a manifest that is no JSON',
        /REGISTRY_FAILED/,
        () => answer('/manifests/', Buffer.from('{')),
      ],
      [
        'a manifest that is an index too (CVE-2021-41190)',
        /IMAGE_INVALID/,
        () => {
          const manifest = JSON.parse(String(server.manifests.get('1'))) as object;
          put({
            ...manifest,
            manifests: [{ mediaType: MediaType.ociManifest, digest: digestOf(blob), size: 2 }],
          });
        },
      ],
      [
        'an index that is a manifest too',
        /IMAGE_INVALID/,
        () =>
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociIndex,
            manifests: [],
            layers: [],
            config: descriptor(blob, MediaType.ociConfig),
          }),
      ],
      [
        'an index that lists a manifest as an index',
        /IMAGE_INVALID|REGISTRY/,
        () => {
          const manifest = server.manifests.get('1') ?? Buffer.alloc(0);
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociIndex,
            manifests: [
              {
                ...descriptor(manifest, MediaType.ociIndex),
                platform: { os: 'linux', architecture: 'amd64' },
              },
            ],
          });
        },
      ],
      [
        'an index with a wrong size of its manifest',
        /SIZE_MISMATCH/,
        () => {
          const manifest = server.manifests.get('1') ?? Buffer.alloc(0);
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociIndex,
            manifests: [
              {
                ...descriptor(manifest, MediaType.ociManifest),
                size: 7,
                platform: { os: 'linux', architecture: 'amd64' },
              },
            ],
          });
        },
      ],
      [
        'indexes inside of indexes',
        /LIMIT_EXCEEDED/,
        () => {
          let inner = {
            ...descriptor(server.manifests.get('1') ?? Buffer.alloc(0), MediaType.ociManifest),
          };
          for (let depth = 0; depth < 30; depth++) {
            const bytes = Buffer.from(
              JSON.stringify({
                schemaVersion: 2,
                mediaType: MediaType.ociIndex,
                manifests: [{ ...inner, platform: { os: 'linux', architecture: 'amd64' } }],
              }),
            );
            server.manifests.set(digestOf(bytes), bytes);
            server.manifests.set('1', bytes);
            inner = descriptor(bytes, MediaType.ociIndex);
          }
        },
      ],
      [
        'a thousand layers',
        /LIMIT_EXCEEDED/,
        () =>
          void serveImage(
            server,
            '1',
            Array.from({ length: 1000 }, () => sound),
          ),
      ],
      [
        'a config that lists other layers than the manifest',
        /IMAGE_INVALID/,
        () => {
          const config = Buffer.from(
            JSON.stringify({
              os: 'linux',
              architecture: 'amd64',
              rootfs: { type: 'layers', diff_ids: [] },
            }),
          );
          server.blobs.set(digestOf(config), config);
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociManifest,
            config: descriptor(config, MediaType.ociConfig),
            layers: [descriptor(blob, MediaType.ociLayerGzip)],
          });
        },
      ],
      [
        'a digest that is a path',
        /IMAGE_INVALID/,
        () =>
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociManifest,
            config: {
              ...descriptor(blob, MediaType.ociConfig),
              digest: 'sha256:../../../../etc/passwd',
            },
            layers: [],
          }),
      ],
      [
        'a size that is none',
        /IMAGE_INVALID/,
        () =>
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociManifest,
            config: { ...descriptor(blob, MediaType.ociConfig), size: -1 },
            layers: [],
          }),
      ],
      [
        'a config without end',
        /LIMIT_EXCEEDED|SIZE_MISMATCH/,
        () =>
          put({
            schemaVersion: 2,
            mediaType: MediaType.ociManifest,
            config: { ...descriptor(blob, MediaType.ociConfig), size: 2 ** 40 },
            layers: [],
          }),
      ],
      [
        'a bomb',
        /LIMIT_EXCEEDED/,
        () => {
          const zeros = tarOf({ path: 'zeros', content: Buffer.alloc(120_000_000) });
          serveImage(server, '1', [
            {
              blob: execFileSync('zstd', ['-cq'], { input: zeros }),
              diffId: digestOf(zeros),
              mediaType: MediaType.ociLayerZstd,
            },
          ]);
        },
      ],
    ])('attack 19: a registry sends %s', async (_, message, lie) => {
      serveImage(server, '1', [sound]);
      lie();
      // A smaller limit than the usual one, which a bomb takes long to reach.
      const limited = { MBUILD_MAX_UNPACKED: '100m' };
      const { code, stderr } = await pull(limited);
      expect([code, stderr]).toEqual([1, expect.stringMatching(message)]);
      expect((await build(`FROM ${server.host}/app:1\n`, limited, '--retry', '0')).code).toBe(1);
    });

    /** The credentials that a request brought, in plain text. */
    const told = (request: IncomingMessage): string =>
      Buffer.from((request.headers.authorization ?? '').replace('Basic ', ''), 'base64').toString();

    test.each([
      [
        'a token server that is not encrypted',
        (): string => 'http://tokens.test/token',
        /no credentials were sent/,
      ],
      [
        'a token server on a host that looks alike',
        (own: string): string => `http://${own.replace(':', '.')}.test/token`,
        /no credentials were sent/,
      ],
      [
        'a token server that leads to another host',
        (own: string): string => `http://${own}/elsewhere`,
        /token/,
      ],
      [
        'a token server that is no address of the web',
        (): string => `file://${host}/secret`,
        /no credentials were sent/,
      ],
    ])('attack 22: a registry asks for credentials with %s', async (_, realm, message) => {
      serveImage(server, '1', [sound]);
      const heard: string[] = [];
      other.pages.set(
        '/token',
        (request, response) => (heard.push(told(request)), response.end('{"token":"t"}')),
      );
      server.fault = (request, response) => {
        if (request.url?.startsWith('/elsewhere') === true)
          response
            .writeHead(302, { location: `${other.url.replace('127.0.0.1', 'localhost')}/token` })
            .end();
        else if (request.headers.authorization?.startsWith('Basic') !== false)
          response
            .writeHead(401, {
              'www-authenticate': `Bearer realm="${realm(server.host)}",service="x"`,
            })
            .end();
        else return false;
        return true;
      };
      const config = join(temp.dir('auth'), 'config.json');
      writeFileSync(
        config,
        JSON.stringify({
          auths: { [server.host]: { auth: Buffer.from(`me:${TOKEN}`).toString('base64') } },
        }),
      );
      expect(
        await run(['--authfile', config, 'pull', '--retry', '0', `${server.host}/app:1`]),
      ).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
      expect(heard).toEqual([]);
    });

    test('attack 22: credentials are for one host, not for those whose names begin or end alike', async () => {
      serveImage(server, '1', [sound]);
      const [name = '', port = ''] = server.host.split(':');
      const auth = Buffer.from(`me:${TOKEN}`).toString('base64');
      for (const key of [
        `${name}:${port}0`,
        `x${server.host}`,
        `${name}`,
        `evil.test/${server.host}`,
        `${server.host}.evil.test`,
        `https://${server.host}@evil.test`,
      ]) {
        const config = join(temp.dir('auth'), 'config.json');
        writeFileSync(config, JSON.stringify({ auths: { [key]: { auth } } }));
        const heard: string[] = [];
        server.fault = (request, response) => {
          heard.push(told(request));
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
          return true;
        };
        await run(['--authfile', config, 'pull', '--retry', '0', `${server.host}/app:1`]);
        expect([key, heard.filter((text) => text.includes(TOKEN))]).toEqual([key, []]);
      }
    });

    test('attack 22: blobs are redirected to another host, which is not told who asks', async () => {
      serveImage(server, '1', [sound]);
      const heard: (string | undefined)[] = [];
      other.pages.set(
        '/blob',
        (request, response) => (heard.push(request.headers.authorization), response.end(blob)),
      );
      server.fault = (request, response) => {
        if (request.headers.authorization === undefined)
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        else if (request.url?.endsWith(digestOf(blob)) === true)
          response
            .writeHead(307, { location: `${other.url.replace('127.0.0.1', 'localhost')}/blob` })
            .end();
        else return false;
        return true;
      };
      const config = join(temp.dir('auth'), 'config.json');
      writeFileSync(
        config,
        JSON.stringify({
          auths: { [server.host]: { auth: Buffer.from(`me:${TOKEN}`).toString('base64') } },
        }),
      );
      expect(
        (await run(['--authfile', config, 'pull', '--retry', '0', `${server.host}/app:1`])).code,
      ).toBe(0);
      expect(heard).toEqual([undefined]);
      await mbuild.ok(['rmi', `${server.host}/app:1`]);
    });
  });
});
