import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { startFaultServer } from '../registry/fault-server';

describeWith('pull, push and search', { root: true, also: noRegistry }, () => {
  const temp = useTemp();
  let registry: TestRegistry;
  let mbuild: Mbuild;

  beforeAll(async () => {
    registry = await startRegistry();
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    for (const [tag, text] of [
      ['1', 'one'],
      ['2', 'two'],
    ]) {
      await mbuild.build(
        ['-f', '-', '-t', `${registry.host}/team/app:${tag}`, temp.dir('context')],
        { input: `FROM small-base\nRUN echo ${text} > /f\n` },
      );
    }
  });
  afterAll(async () => registry?.stop());

  const name = (rest: string): string => `${registry.host}/${rest}`;

  it('push names the repository, the state of each layer and the digest', async () => {
    const first = await mbuild.run(['push', name('team/app:1')]);
    expect(first.stdout).toMatch(
      new RegExp(
        `^The push refers to repository \\[${name('team/app')}\\]\n1: digest: sha256:[0-9a-f]{64} size: \\d+\n$`,
      ),
    );
    expect(first.stderr.split('\n').filter((line) => line.endsWith(' Pushed'))).toHaveLength(2);
    const second = await mbuild.run(['push', name('team/app:2')]);
    expect(second.stderr).toMatch(/^[0-9a-f]{12}: Layer already exists$/m);
    await mbuild.ok(['tag', name('team/app:1'), name('else/app:1')]);
    expect((await mbuild.run(['push', name('else/app:1')])).stderr).toMatch(
      /^[0-9a-f]{12}: Mounted from another repository$/m,
    );
    expect(await mbuild.ok(['push', '-q', name('team/app:1')])).toBe(name('team/app:1'));
    expect(
      (await mbuild.ok(['push', '-a', name('team/app')]))
        .split('\n')
        .slice(1)
        .map((line) => line.slice(0, 9)),
    ).toEqual(['1: digest', '2: digest']);
  });

  it('push of what is not there says what is', async () => {
    expect((await mbuild.run(['push', name('team/app:3')])).stderr).toMatch(
      /tag does not exist: .*:3\n\[IMAGE_NOT_FOUND\] hint: its tags are 1, 2/,
    );
    expect((await mbuild.run(['push', name('team/nothing')])).stderr).toContain(
      'an image does not exist locally with the tag',
    );
  });

  it('pull has a line per layer, the digest and the status, and fetches nothing twice', async () => {
    const other = new Mbuild(temp.dir('store'));
    const { stdout, stderr } = await other.run(['pull', name('team/app:1')]);
    expect(stdout).toMatch(
      new RegExp(
        `^1: Pulling from team/app\nDigest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for ${name('team/app:1')}\n${name('team/app:1')}\n$`,
      ),
    );
    const [layer = ''] = /^[0-9a-f]{12}/.exec(stderr) ?? [];
    expect(stderr.split('\n').filter((line) => line.startsWith(layer))).toEqual(
      ['Pulling fs layer', 'Download complete', 'Pull complete'].map((text) => `${layer}: ${text}`),
    );
    const again = await other.run(['pull', name('team/app:1')]);
    expect(again.stdout).toContain(`Status: Image is up to date for ${name('team/app:1')}`);
    expect(
      again.stderr.split('\n').filter((line) => line.endsWith(' Already exists')),
    ).toHaveLength(2);
    expect((await other.run(['pull', name('team/app:2')])).stderr).toMatch(
      /Already exists[^]*Pull complete/,
    );
    expect(await other.run(['pull', '-q', name('team/app:1')])).toEqual({
      code: 0,
      stdout: `${name('team/app:1')}\n`,
      stderr: '',
    });
  });

  it('pull by digest knows the image by its digest alone', async () => {
    const other = new Mbuild(temp.dir('store'));
    const [digest = ''] =
      /sha256:[0-9a-f]{64}/.exec(await mbuild.ok(['push', name('team/app:2')])) ?? [];
    expect(await other.ok(['pull', name(`team/app@${digest}`)])).toContain(
      'Status: Downloaded newer image',
    );
    expect(await other.ok(['pull', name(`team/app@${digest}`)])).toContain(
      'Status: Image is up to date',
    );
    expect((await other.ok(['images', '--digests'])).split('\n')[1]).toMatch(
      new RegExp(`^${name('team/app')} +<none> +${digest}`),
    );
  });

  it('pull -a brings every tag', async () => {
    const other = new Mbuild(temp.dir('store'));
    expect(await other.ok(['pull', '-a', name('team/app')])).toMatch(
      new RegExp(
        `1: Pulling from team/app\n.*2: Pulling from team/app\n.*Downloaded newer image for ${name('team/app')}\n${name('team/app')}$`,
        's',
      ),
    );
    expect((await other.ok(['images', '--format', '{{.Tag}}'])).split('\n').sort()).toEqual([
      '1',
      '2',
    ]);
    expect((await other.run(['pull', '-a', name('team/ap')])).stderr).toContain(
      'did you mean "team/app"?',
    );
  });

  it('pull, push and build try again as often as they are told', async () => {
    const server = await startFaultServer();
    try {
      const tries = async (...args: readonly string[]): Promise<number> => {
        server.seen.length = 0;
        const { code, stderr } = await mbuild.run(args);
        expect([args, code, stderr]).toEqual([args, 1, expect.stringContaining('503')]);
        const asked = server.seen
          .filter(({ url }) => url !== '/v2/')
          .map(({ method, url }) => `${method} ${url}`);
        const counts = new Map<string, number>();
        for (const request of asked) counts.set(request, (counts.get(request) ?? 0) + 1);
        // The address that uploads begin at is the same for all blobs.
        const blobs = [...counts.keys()].filter((request) => request.startsWith('HEAD ')).length;
        return Math.max(
          ...[...counts].map(([request, count]) =>
            request.startsWith('POST ') ? Math.ceil(count / blobs) : count,
          ),
        );
      };
      server.fault = ({ url }, response) =>
        url === '/v2/' ? false : response.writeHead(503).end() !== undefined;
      await mbuild.ok(['tag', name('team/app:1'), `${server.host}/me/app`]);
      expect(await tries('pull', '--retry', '0', `${server.host}/me/app:2`)).toBe(1);
      expect(await tries('pull', '--retry=2', '--retry-delay=1ms', `${server.host}/me/app:2`)).toBe(
        3,
      );
      expect(
        await tries(
          'build',
          '--retry',
          '0',
          writeFiles(temp.dir('context'), { Dockerfile: `FROM ${server.host}/me/app:2\n` }),
        ),
      ).toBe(1);
      expect(await tries('push', '--retry', '0', `${server.host}/me/app`)).toBe(1);
      expect(
        await tries('push', '--retry', '1', '--retry-delay', '1ms', `${server.host}/me/app`),
      ).toBe(2);
      expect(await mbuild.run(['pull', '--retry-delay', 'soon', 'x'])).toMatchObject({
        code: 125,
        stderr: expect.stringContaining('invalid time "soon"'),
      });
    } finally {
      await server.close();
    }
  });

  it('search without a search looks through the catalog, and says so', async () => {
    const { stdout, stderr } = await mbuild.run(['search', name('app')]);
    expect(
      stdout
        .split('\n')
        .slice(0, 3)
        .map((line) => line.trimEnd()),
    ).toEqual([
      expect.stringMatching(/^NAME +DESCRIPTION +STARS +OFFICIAL$/),
      expect.stringMatching(`^${name('else/app')} `),
      expect.stringMatching(`^${name('team/app')} `),
    ]);
    expect(stderr).toContain('cannot search; these are the names in its catalog');
    expect(await mbuild.ok(['search', '--format', '{{.Name}}', name('nothing')])).toBe('');
  });

  describe('a registry that can search', () => {
    let server: Server;
    let host: string;
    const asked: string[] = [];
    beforeAll(async () => {
      server = createServer((request, response) => {
        asked.push(request.url ?? '');
        const results = [
          {
            name: 'node',
            description: 'Node.js is a platform\nfor servers and for rather long descriptions',
            star_count: 13000,
            is_official: true,
          },
          { name: 'me/node', description: null, star_count: 2, is_official: false },
        ];
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify(request.url === '/v2/' ? {} : { num_results: 2, results }));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    afterAll(() => new Promise((resolve) => server.close(resolve)));

    it('is asked as docker asks', async () => {
      expect(
        (await mbuild.ok(['search', '--limit', '7', `${host}/node`]))
          .split('\n')
          .map((line) => line.trimEnd()),
      ).toEqual([
        'NAME      DESCRIPTION                                     STARS     OFFICIAL',
        'node      Node.js is a platform for servers and for ra…   13000     [OK]',
        'me/node                                                   2',
      ]);
      expect(asked.at(-1)).toBe('/v1/search?q=node&n=7');
    });

    it.each([
      [['stars=3'], 'node'],
      [['is-official=false'], 'me/node'],
      [['stars=1', 'is-official=true'], 'node'],
    ])('filters by %j', async (filters, expected) => {
      expect(
        await mbuild.ok([
          'search',
          '--format',
          '{{.Name}}',
          ...filters.flatMap((filter) => ['-f', filter]),
          `${host}/node`,
        ]),
      ).toBe(expected);
    });

    it.each([
      ['stars=x', 'not a whole number'],
      ['star=1', 'did you mean "stars"?'],
    ])('refuses the filter %s', async (filter, message) => {
      const { code, stderr } = await mbuild.run(['search', '-f', filter, `${host}/node`]);
      expect([code, stderr]).toEqual([125, expect.stringContaining(message)]);
    });
  });
});
