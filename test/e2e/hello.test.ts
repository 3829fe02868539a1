import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { copyFixture } from '../support/fixtures';
import { fixture, instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp } from '../support/temp';

describeWith('the first build', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;
  let first: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    context = copyFixture(fixture('hello'), join(temp.dir(), 'hello'));
    await smallBase(mbuild);
    const { id, steps } = await mbuild.build(['-t', 'hello', context]);
    first = id;
    expect(instructionSteps(steps).every((step) => !step.cached)).toBe(true);
  });

  it('runs what it built', async () => {
    expect(await mbuild.run(['run', '--rm', 'hello'])).toMatchObject({
      code: 0,
      stdout: 'Hello, mbuild!\nHello, reader!\nHello, world!\n',
    });
  });

  it('takes every step from the cache the second time, and gives the same image', async () => {
    const { id, steps } = await mbuild.build(['-t', 'hello', context]);
    expect(instructionSteps(steps).filter((step) => !step.cached)).toEqual([]);
    expect(id).toBe(first);
  });

  it('builds again only what comes after a changed file', async () => {
    const changed = copyFixture(context, join(temp.dir(), 'changed'));
    writeFileSync(join(changed, 'greeting.txt'), 'Good morning,\n');
    const { id, steps } = await mbuild.build(['-t', 'hello:morning', changed]);
    expect(
      instructionSteps(steps).map((step) => [step.name.replace(/^\[.*?\] /, ''), step.cached]),
    ).toEqual([
      ['WORKDIR /src', true],
      ['COPY names.txt .', true],
      [expect.stringMatching(/^RUN sort -u/), true],
      ['COPY greet.sh greeting.txt ./', false],
      ['RUN sh greet.sh greeting.txt sorted.txt > result.txt', false],
      ['COPY --from=build /src/result.txt /usr/share/hello/result.txt', false],
    ]);
    expect(id).not.toBe(first);
    expect((await mbuild.run(['run', '--rm', 'hello:morning'])).stdout).toContain(
      'Good morning, world!',
    );
  });

  it('shows the history as docker does', async () => {
    const lines = (await mbuild.ok(['history', '--no-trunc', 'hello'])).split('\n');
    expect(lines[0]).toMatch(/^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$/);
    expect(lines[1]).toContain(first);
    expect(
      lines.slice(1).map((line) => /(CMD|COPY|ENV|LABEL) .*?(?=  |$)/.exec(line)?.[0] ?? ''),
    ).toEqual([
      'CMD ["sh" "-c" "cat \\"$RESULT\\""]',
      'COPY /src/result.txt /usr/share/hello/result.txt # buildkit',
      'ENV RESULT=/usr/share/hello/result.txt',
      'LABEL org.opencontainers.image.title=hello',
      '',
    ]);
    expect(lines.slice(1).map((line) => /buildkit\.dockerfile\.v0/.test(line))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  it('lists images with their short ids', async () => {
    const lines = (await mbuild.ok(['images'])).split('\n');
    expect(lines[0]).toMatch(/^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE$/);
    expect(
      lines.some((line) => new RegExp(`^hello +latest +${first.slice(7, 19)} `).test(line)),
    ).toBe(true);
    expect(lines.some((line) => /^small-base +latest /.test(line))).toBe(true);
  });

  it("inspects an image in docker's JSON shape", async () => {
    const image = await mbuild.inspect('hello');
    expect(image).toMatchObject({
      Id: first,
      RepoTags: expect.arrayContaining(['hello:latest']),
      Os: 'linux',
      RootFS: {
        Type: 'layers',
        Layers: [expect.stringMatching(/^sha256:/), expect.stringMatching(/^sha256:/)],
      },
      Config: {
        Env: expect.arrayContaining(['RESULT=/usr/share/hello/result.txt']),
        Labels: { 'org.opencontainers.image.title': 'hello' },
      },
    });
  });

  it('gives an image further names, and takes names away without losing the image', async () => {
    await mbuild.ok(['tag', 'hello', 'greetings:v1']);
    expect((await mbuild.inspect('greetings:v1')).Id).toBe(first);
    expect(await mbuild.ok(['rmi', 'greetings:v1'])).toBe('Untagged: greetings:v1');
    expect((await mbuild.run(['inspect', 'greetings:v1'])).code).toBe(1);
    expect((await mbuild.inspect('hello')).Id).toBe(first);
  });

  it('passes on the exit code, the arguments and the environment of what it runs', async () => {
    expect(
      await mbuild.run(['run', '--rm', 'hello', 'sh', '-c', 'echo out; echo err >&2; exit 7']),
    ).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' });
    expect(
      (await mbuild.run(['run', '--rm', '-e', 'RESULT=/etc/group', 'hello'])).stdout,
    ).toContain('nogroup');
    expect((await mbuild.run(['run', '--rm', 'hello', '/no/such/program'])).code).toBe(127);
    expect(
      (
        await mbuild.run(['run', '--rm', 'no-such-image'], {
          env: { HTTPS_PROXY: 'http://127.0.0.1:1' },
        })
      ).code,
    ).toBe(125);
  });

  it('keeps its store to itself and leaves nothing mounted', () => {
    expect(statSync(mbuild.root).mode & 0o077).toBe(0);
    expect(mountsLeft(mbuild.root)).toEqual([]);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(mbuild.root);
  });
});
