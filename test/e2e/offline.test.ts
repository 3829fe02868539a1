import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { file, startWebServer, type WebServer } from '../support/web-server';

describeWith('--offline', { root: true, programs: ['git'] }, () => {
  const temp = useTemp();
  let server: WebServer;
  let mbuild: Mbuild;

  beforeAll(async () => {
    server = await startWebServer();
    server.pages.set('/file', file('text'));
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  afterAll(async () => {
    await server.stop();
  });

  const build = (dockerfile: string, ...flags: string[]): string[] => [
    'build',
    ...flags,
    writeFiles(temp.dir('context'), { Dockerfile: dockerfile }),
  ];

  it('asks nobody: what is missing is named, with the flag that forbids to fetch it', async () => {
    const host = new URL(server.url).host;
    const cases: readonly (readonly [args: readonly string[], missing: string])[] = [
      [['pull', `${host}/me/app:1`], `${host}/me/app:1`],
      [['push', '--quiet', 'small-base'], 'small-base'],
      [['search', `${host}/app`], host],
      [['login', '--username', 'me', host], host],
      [build(`FROM ${host}/me/base:2\n`), `${host}/me/base:2`],
      [build(`FROM small-base\nCOPY --from=${host}/me/tool:3 /a /a\n`), `${host}/me/tool:3`],
      [build(`FROM small-base\nADD ${server.url}/file /\n`), `${server.url}/file`],
      [build(`FROM small-base\nADD ${server.url}/git/app.git /\n`), `${server.url}/git/app.git`],
      [['build', `${server.url}/git/app.git`], `${server.url}/git/app.git`],
    ];
    server.log.length = 0;
    for (const [args, missing] of cases) {
      const { code, stderr } = await mbuild.run(['--offline', ...args]);
      expect([args, code, stderr]).toEqual([args, 1, expect.stringContaining('--offline forbids')]);
      expect(stderr).toContain(missing);
    }
    expect(server.log).toEqual([]);
  });

  it('says of an image that is there that it is not asked for again', async () => {
    for (const args of [['pull', 'small-base'], build('FROM small-base\nRUN echo 1\n', '--pull')]) {
      const { code, stderr } = await mbuild.run(['--offline', ...args]);
      expect([args, code]).toEqual([args, 1]);
      expect(stderr).toMatch(
        /small-base.* cannot be fetched: --offline forbids.*the store has an image with that name/s,
      );
      expect(stderr).not.toContain('not in the store');
    }
  });

  it('builds from what the store has, also by the variable', async () => {
    await mbuild.ok(build('FROM small-base\nRUN echo 1 > /1\n', '-t', 'app'), {
      env: { MBUILD_OFFLINE: '1' },
    });
    expect((await mbuild.inspect('app')).RepoTags).toEqual(['app:latest']);
  });
});
