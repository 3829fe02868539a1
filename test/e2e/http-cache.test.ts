import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { DAV_USER, noDavServer, startDavServer, type DavServer } from '../support/dav-server';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('a cache on a web server', { root: true, also: noDavServer }, () => {
  const temp = useTemp();
  let server: DavServer;
  let closed: DavServer;
  let base: string;
  let context: string;

  beforeAll(async () => {
    [server, closed] = await Promise.all([startDavServer(), startDavServer({ auth: true })]);
    base = join(temp.dir(), 'base.tar');
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    await mbuild.ok(['save', '-o', base, 'small-base']);
  });

  afterAll(() => Promise.all([server?.stop(), closed?.stop()]));

  beforeEach(() => {
    for (const name of readdirSync(server.folder))
      rmSync(join(server.folder, name), { recursive: true });
    context = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM small-base\nCOPY file /\nRUN cat /proc/sys/kernel/random/uuid > /id && head -c 100000 /dev/urandom > /much\n',
      file: 'content\n',
    });
  });

  /** A machine with an empty store. */
  async function machine(env: Readonly<Record<string, string>> = {}): Promise<Mbuild> {
    const mbuild = new Mbuild(temp.dir('store'), env);
    await mbuild.ok(['load', '-q', '-i', base]);
    return mbuild;
  }

  const to = (url: string, more = ''): string[] => [
    '--cache-to',
    `type=http,url=${url},mode=max${more}`,
  ];
  const from = (url: string, more = ''): string[] => [
    '--cache-from',
    `type=http,url=${url}${more}`,
  ];

  it('gives another machine the same image, and is not sent what it has', async () => {
    const made = await (await machine()).build([...to(server.url), context]);
    const { id, steps, stderr } = await (await machine()).build([...from(server.url), context]);
    expect(instructionSteps(steps).map((step) => step.cached)).toEqual([true, true]);
    expect(stderr).toMatch(/importing cache manifest from http:\/\/127\.0\.0\.1:\d+\/cache/);
    expect(id).toBe(made.id);
    const files = readdirSync(server.folder).sort();
    expect(files).toEqual(
      [...files.filter((name) => /^sha256-[0-9a-f]{64}$/.test(name)), 'latest.json'].sort(),
    );
    const again = await (await machine()).build([...from(server.url), ...to(server.url), context]);
    expect(again.id).toBe(made.id);
    expect(again.stderr).not.toMatch(/uploaded sha256/);
    expect(readdirSync(server.folder).sort()).toEqual(files);
  });

  it('has tags that are caches of their own', async () => {
    const first = await machine();
    await first.build([...to(server.url, ',tag=main'), context]);
    const cached = async (flags: string[]) =>
      instructionSteps((await (await machine()).build([...flags, context])).steps).map(
        (step) => step.cached,
      );
    expect(await cached(from(server.url))).toEqual([false, false]);
    expect(await cached([...from(server.url), ...from(server.url, ',tag=main')])).toEqual([
      true,
      true,
    ]);
  });

  it.each([
    [
      'a user in the address',
      (url: string) => url.replace('http://', `http://${DAV_USER.username}:${DAV_USER.password}@`),
      '',
    ],
    ['a header out of the environment', (url: string) => url, ',authorization-env=CACHE_AUTH'],
  ])('is told who asks by %s, which nobody sees', async (_, address, more) => {
    const secret = Buffer.from(`${DAV_USER.username}:${DAV_USER.password}`).toString('base64');
    const env = { CACHE_AUTH: `Basic ${secret}` };
    const written = await (await machine(env)).build([...to(address(closed.url), more), context]);
    const read = await (await machine(env)).build([...from(address(closed.url), more), context]);
    expect(instructionSteps(read.steps).map((step) => step.cached)).toEqual([true, true]);
    for (const text of [written.stderr, read.stderr])
      expect(text).not.toMatch(new RegExp(`${DAV_USER.password}|${secret}`));
  });

  it('that cannot be read or written is a warning, with the way out', async () => {
    const { stderr } = await (
      await machine()
    ).build([...from(closed.url), ...to(closed.url), context]);
    expect(stderr).toMatch(
      /the server does not give http:\/\/127\.0\.0\.1:\d+\/cache\/latest\.json: it answers 401/,
    );
    expect(stderr).toMatch(
      /the cache could not be written to http:\/\/127\.0\.0\.1:\d+\/cache: the server does not give [^ ]+: it answers 401/,
    );
    const strict = await (
      await machine()
    ).run(['build', ...to(`${server.url}/no/such/folder`, ',ignore-error=false'), context]);
    expect(strict).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /CACHE_SERVER_FAILED\] hint: create the directory on the server first/,
      ),
    });
    const offline = await (
      await machine({ MBUILD_OFFLINE: '1' })
    ).run(['build', ...from(server.url), context]);
    expect(offline.stderr).toMatch(/--offline forbids the use of the network/);
  });

  it.each(['another file', 'a part of the file', 'nothing'])(
    'is not believed when a blob is %s',
    async (what) => {
      await (await machine()).build([...to(server.url), context]);
      const [largest = ''] = readdirSync(server.folder)
        .map((name) => join(server.folder, name))
        .sort((a, b) => statSync(b).size - statSync(a).size);
      if (what === 'nothing') rmSync(largest);
      else if (what === 'another file')
        writeFileSync(largest, readFileSync(largest).fill(7, 1000, 1010));
      else truncateSync(largest, 1000);
      const { code, stderr } = await (
        await machine()
      ).run(['build', '--progress=plain', ...from(server.url), '-o', temp.dir('out'), context]);
      expect({ code, stderr }).toMatchObject({
        code: 0,
        stderr: expect.stringMatching(/warning|not used|lacks|digest/i),
      });
      expect(stderr).toMatch(/\[3\/3\] RUN[^]*not cached/);
    },
  );
});
