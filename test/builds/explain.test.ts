import {
  appendFileSync,
  chmodSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { commitFolder, file, gitIn, startWebServer } from '../support/web-server';
import { useTemp, writeFiles } from '../support/temp';

const DOCKERFILE = `FROM small-base
ENV MODE=fast
ARG GIT_SHA=a1
RUN echo one > /one
COPY src /app
RUN find /app -type f > /all
`;

describeWith('a miss is explained', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  beforeEach(() => {
    context = writeFiles(temp.dir('context'), {
      Dockerfile: `${DOCKERFILE}# ${Math.random()}\n`,
      'src/app.ts': 'first\n',
      'src/run.sh': 'run\n',
    });
    chmodSync(join(context, 'src/run.sh'), 0o664);
  });

  /** Builds, and returns why each missed step was missed, by the beginning of its instruction. */
  async function misses(...args: string[]): Promise<Record<string, string>> {
    const { stderr } = await mbuild.build([...args, context]);
    const names = new Map(
      [...stderr.matchAll(/^#(\d+) \[.*?\] (\S+ \S+).*$/gm)].map(([, number = '', name = '']) => [
        number,
        name,
      ]),
    );
    return Object.fromEntries(
      [...stderr.matchAll(/^#(\d+) not cached: (.*)$/gm)].map(([, number = '', why = '']) => [
        names.get(number) ?? '',
        why,
      ]),
    );
  }

  function edit(change: (text: string) => string): void {
    writeFileSync(
      join(context, 'Dockerfile'),
      change(readFileSync(join(context, 'Dockerfile'), 'utf8')),
    );
  }

  it('no earlier build of this step', async () => {
    expect(await misses()).toEqual({
      'RUN echo': 'no earlier build of this step',
      'COPY src': 'no earlier build of this step',
      'RUN find': 'no earlier build of this step',
    });
  });

  it('a file that changed, by how much, and the steps above it', async () => {
    await misses();
    appendFileSync(join(context, 'src/app.ts'), '12 more byte');
    expect(await misses()).toEqual({
      'COPY src': 'src/app.ts changed (+12 B)',
      'RUN find': 'parent step 3 was rebuilt',
    });
    writeFileSync(join(context, 'src/app.ts'), 'first\n');
    expect(await misses()).toEqual({});
    writeFileSync(join(context, 'src/app.ts'), 'FIRST\n');
    expect(await misses()).toMatchObject({ 'COPY src': 'src/app.ts changed (same size)' });
    writeFileSync(join(context, 'src/app.ts'), '1\n');
    expect(await misses()).toMatchObject({ 'COPY src': 'src/app.ts changed (−4 B)' });
  });

  it('a mode that another umask made', async () => {
    await misses();
    chmodSync(join(context, 'src/run.sh'), 0o644);
    expect(await misses()).toMatchObject({ 'COPY src': 'mode 664→644 of src/run.sh (umask?)' });
    chmodSync(join(context, 'src/run.sh'), 0o755);
    expect(await misses()).toMatchObject({ 'COPY src': 'mode 644→755 of src/run.sh' });
  });

  it('a new file that no ignore file hides, and one that is gone', async () => {
    edit((text) => text.replace('COPY src', 'COPY .'));
    await misses();
    writeFiles(context, { 'tmp/x': 'x' });
    expect(await misses()).toMatchObject({ 'COPY .': 'new file tmp/x (not ignored)' });
    rmSync(join(context, 'tmp'), { recursive: true });
    rmSync(join(context, 'src/run.sh'));
    expect(await misses()).toMatchObject({ 'COPY .': 'src/run.sh was removed, tmp/x was removed' });
  });

  it('an ARG, where it is declared, and that no later RUN uses it', async () => {
    await misses('--build-arg', 'GIT_SHA=a1');
    expect(await misses('--build-arg', 'GIT_SHA=b2')).toMatchObject({
      'RUN echo': 'ARG GIT_SHA a1→b2 (declared on line 3, used by no later RUN)',
    });
    edit((text) => text.replace('RUN find', 'RUN printf $GIT_SHA; find'));
    await misses('--build-arg', 'GIT_SHA=b2');
    const told = await misses('--build-arg', 'GIT_SHA=c3');
    expect(await mbuild.ok(['explain', 'latest', ':4'])).toContain(
      'not named in this RUN); every RUN below an ARG depends on it',
    );
    expect(told).toMatchObject({
      'RUN echo': 'ARG GIT_SHA b2→c3 (declared on line 3, not named in this RUN)',
      'RUN printf': 'ARG GIT_SHA b2→c3 (declared on line 3)',
    });
  });

  it('an ENV', async () => {
    await misses();
    edit((text) => text.replace('MODE=fast', 'MODE=slow'));
    expect(await misses()).toMatchObject({ 'RUN echo': 'ENV MODE changed' });
    edit((text) => text.replace('ENV MODE=slow', 'ENV MODE=slow PATH=/opt/bin:$PATH'));
    expect(await misses()).toMatchObject({ 'RUN echo': 'ENV PATH changed' });
  });

  it('a base image that moved, and another one', async () => {
    const make = async (text: string): Promise<string> =>
      (
        await mbuild.build([
          writeFiles(temp.dir('base'), {
            Dockerfile: `FROM small-base\nRUN echo ${text} > /base\n`,
          }),
        ])
      ).id;
    const [one, two, three] = [await make('one'), await make('two'), await make('three')];
    await mbuild.ok(['tag', three, 'other']);
    await mbuild.ok(['tag', one, 'moving']);
    edit((text) => text.replace('FROM small-base', 'FROM moving'));
    await misses();
    await mbuild.ok(['tag', two, 'moving']);
    const why = (await misses())['RUN echo'];
    expect(why).toMatch(/^base image moved sha256:[0-9a-f]{12}→[0-9a-f]{12}$/);
    edit((text) => text.replace('FROM moving', 'FROM other'));
    expect(await misses()).toMatchObject({ 'RUN echo': 'base image moving→other' });
  });

  it('an instruction that was edited', async () => {
    await misses();
    edit((text) => text.replace('echo one', 'echo two'));
    expect(await misses()).toMatchObject({
      'RUN echo': 'instruction changed (was: RUN echo one > /one)',
      'COPY src': 'parent step 2 was rebuilt',
    });
  });

  it('a setting that another instruction makes', async () => {
    edit((text) => text.replace('RUN echo one > /one', 'RUN echo'));
    await misses();
    edit((text) =>
      text.replace('RUN find /app -type f > /all', '').replace('ENV MODE', 'USER app\nENV MODE'),
    );
    expect(await misses()).toMatchObject({ 'RUN echo': 'USER (none)→app' });
  });

  it('a result that was evicted', async () => {
    await misses();
    await mbuild.ok(['builder', 'prune', '--all', '--force']);
    const today = new Date().toISOString().slice(0, 10);
    const told = await misses();
    for (const why of [told['RUN echo'], told['COPY src']])
      expect(why).toMatch(new RegExp(`^evicted on ${today} \\d\\d:\\d\\d UTC$`));
  });

  it('a flag that asks for it', async () => {
    await misses();
    expect(await misses('--no-cache')).toMatchObject({ 'RUN echo': 'requested with --no-cache' });
    edit((text) => text.replace('FROM small-base', 'FROM small-base AS build'));
    expect(await misses('--no-cache-filter', 'build')).toMatchObject({
      'RUN echo': 'requested with --no-cache-filter',
    });
  });

  it('a file of a bind mount', async () => {
    edit((text) => `${text}RUN --mount=target=/mnt,source=src cat /mnt/app.ts\n`);
    await misses();
    writeFileSync(join(context, 'src/app.ts'), 'FIRST!\n');
    expect(await misses()).toMatchObject({
      'RUN --mount=target=/mnt,source=src': 'src/app.ts changed (+1 B)',
    });
  });

  it('in another checkout of the same Dockerfile', async () => {
    await misses();
    context = writeFiles(temp.dir('elsewhere'), {
      Dockerfile: readFileSync(join(context, 'Dockerfile')),
      'src/app.ts': 'second\n',
      'src/run.sh': 'run\n',
    });
    chmodSync(join(context, 'src/run.sh'), 0o664);
    expect(await misses()).toEqual({
      'COPY src': 'src/app.ts changed (+1 B)',
      'RUN find': 'parent step 3 was rebuilt',
    });
  });

  it('also of a build that failed, and after one', async () => {
    await misses();
    edit((text) => text.replace('RUN find /app -type f > /all', 'RUN exit 3'));
    const failed = await mbuild.run(['build', '--progress=plain', context]);
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain(
      'not cached: instruction changed (was: RUN find /app -type f > /all)',
    );
    expect(await mbuild.ok(['explain'])).toContain(
      'it failed with EXEC_FAILED: RUN exited with code 3',
    );
    edit((text) => text.replace('RUN exit 3', 'RUN true'));
    expect(await misses()).toEqual({ 'RUN true': 'instruction changed (was: RUN exit 3)' });
  });

  it('a file that ADD fetches, and a repository', async () => {
    const repositories = temp.dir('repositories');
    const folder = writeFiles(temp.dir('repository'), { file: 'one\n' });
    commitFolder(folder, repositories, 'one');
    const server = await startWebServer(repositories);
    try {
      server.pages.set('/f.txt', file('one\n'));
      edit((text) =>
        text.replace(
          'COPY src /app',
          `ADD ${server.url}/f.txt /app/\nADD ${server.url}/git/one.git /app/one`,
        ),
      );
      await misses();
      server.pages.set('/f.txt', file('two two\n'));
      expect((await misses())[`ADD ${server.url}/f.txt`]).toMatch(
        /^f\.txt changed at its address \(sha256:[0-9a-f]{12}→sha256:[0-9a-f]{12}\)$/,
      );
      writeFileSync(join(folder, 'file'), 'two\n');
      gitIn(folder, 'commit', '--quiet', '--all', '--message=second');
      expect((await misses())[`ADD ${server.url}/git/one.git`]).toMatch(
        /^the repository changed at its address \([0-9a-f]{12}→[0-9a-f]{12}\)$/,
      );
    } finally {
      await server.stop();
    }
  });

  it('sources that were asked for in another order, or others, by the instruction', async () => {
    edit((text) => text.replace('COPY src /app', 'COPY src/app.ts src/run.sh /app/'));
    await misses();
    edit((text) => text.replace('COPY src/app.ts src/run.sh', 'COPY src/run.sh src/app.ts'));
    expect((await misses())['COPY src/run.sh']).toBe(
      'instruction changed (was: COPY src/app.ts src/run.sh /app/)',
    );
    edit((text) => text.replace('COPY src/run.sh src/app.ts /app/', 'COPY . /app/'));
    expect((await misses())['COPY .']).toBe(
      'instruction changed (was: COPY src/run.sh src/app.ts /app/)',
    );
  });

  it('a link that leads elsewhere', async () => {
    symlinkSync('app.ts', join(context, 'src/link'));
    await misses();
    rmSync(join(context, 'src/link'));
    symlinkSync('run.sh', join(context, 'src/link'));
    expect(await misses()).toMatchObject({
      'COPY src': 'link src/link leads to run.sh (was app.ts)',
    });
  });

  it('where a long instruction was edited, by the place', async () => {
    const long = (mode: string): string =>
      `RUN echo ${'a very long list of words '.repeat(6)} && echo ${mode} > /mode && echo ${'more '.repeat(20)}`;
    edit((text) => `${text}${long('fast')}\n`);
    await misses();
    edit((text) => text.replace('echo fast', 'echo slow'));
    expect((await misses())['RUN echo']).toMatch(
      /^instruction changed \(was: ….{0,25}&& echo fast > \/mode && .*…\)$/,
    );
    edit((text) => `${text}COPY <<EOF /etc/conf\n${'a line\n'.repeat(20)}mode fast\nEOF\n`);
    await misses();
    edit((text) => text.replace('mode fast', 'mode slow'));
    expect((await misses())['COPY <<EOF']).toMatch(
      /^instruction changed \(was: …a line.* mode fast EOF\)$/,
    );
  });

  it('of a stage that has another name now', async () => {
    edit(
      (text) =>
        `${text.replace('FROM small-base', 'FROM small-base AS build')}FROM small-base\nCOPY --from=build /all /all\n`,
    );
    await misses();
    edit((text) =>
      text.replace('AS build', 'AS compile').replace('--from=build', '--from=compile'),
    );
    appendFileSync(join(context, 'src/app.ts'), 'more\n');
    expect(await misses()).toMatchObject({
      'COPY src': 'src/app.ts changed (+5 B)',
      'RUN find': 'parent step compile 3 was rebuilt',
    });
    edit((text) => text.replace('AS compile', 'AS base\nFROM base AS compile'));
    writeFileSync(join(context, 'src/new.ts'), '');
    expect(await misses()).toMatchObject({ 'COPY src': 'new file src/new.ts (not ignored)' });
  });

  it('for the platform that it is of', async () => {
    writeFileSync(
      join(context, 'Dockerfile'),
      'FROM scratch\nARG TARGETARCH\nCOPY src /app\nCOPY ${TARGETARCH}.txt /\n',
    );
    writeFiles(context, { 'amd64.txt': 'a\n', 'arm64.txt': 'b\n' });
    await misses('--platform', 'linux/amd64');
    expect(await misses('--platform', 'linux/arm64')).toEqual({
      'COPY arm64.txt': expect.any(String) as string,
    });
    appendFileSync(join(context, 'arm64.txt'), 'c\n');
    const told = await misses('--platform', 'linux/amd64,linux/arm64');
    expect(told).toEqual({ 'COPY arm64.txt': 'arm64.txt changed (+2 B)' });
  });

  it('in full, in words and as JSON, for a build and for a step of it', async () => {
    await misses();
    writeFiles(context, { 'src/a': '', 'src/b': '', 'src/c': '', 'src/d': '' });
    edit((text) => text.replace('MODE=fast', 'MODE=other'));
    expect((await misses())['COPY src']).toBe(
      'new file src/a (not ignored), new file src/b (not ignored), new file src/c (not ignored), and 1 more',
    );
    const text = await mbuild.ok(['explain', 'latest', '3']);
    expect(text).toContain('[3/4] COPY src /app  (line 5)\n  not cached, ran ');
    expect(text).toContain('    new file src/d (not ignored)');
    expect(text).not.toContain('it began with');
    appendFileSync(join(context, 'src/app.ts'), 'more\n');
    await misses();
    expect(await mbuild.ok(['explain'])).toMatch(
      /^build .*\nDockerfile in .*\n\nit began with\n {2}\[3\/4\] COPY src \/app \(line 5\): src\/app\.ts changed \(\+5 B\)\n\n\[2\/4\]/,
    );
    expect(await mbuild.ok(['explain', '~1', ':4'])).toContain(
      '    ENV MODE changed: fast → other',
    );
    const json = JSON.parse(await mbuild.ok(['explain', '~1', '--format', 'json'])) as {
      steps: { text: string; cached: boolean; causes: { kind: string; text: string }[] }[];
    };
    expect(
      json.steps.map(({ text: instruction, causes }) => [instruction, causes[0]?.kind]),
    ).toEqual([
      ['RUN echo one > /one', 'variable'],
      ['COPY src /app', 'file'],
      ['RUN find /app -type f > /all', 'variable'],
    ]);
    const wrong = await mbuild.run(['explain', 'latest', '9']);
    expect(wrong.stderr).toContain('has no step 9');
  });
});
