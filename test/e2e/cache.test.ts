import { chmodSync, renameSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const DOCKERFILE = `FROM small-base AS build
ARG MODE=fast
COPY first.txt /
RUN cat first.txt > /made
COPY folder /folder
RUN echo "$MODE" >> /made
FROM small-base
ENV A=b
COPY --from=build /made /made
RUN cat /made
`;

describeWith('the cache', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;
  let first: string;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  beforeEach(async () => {
    context = writeFiles(temp.dir('context'), {
      Dockerfile: DOCKERFILE,
      'first.txt': 'first\n',
      'folder/a': 'a\n',
      'folder/b': 'b\n',
    });
    first = (await mbuild.build([context])).id;
  });

  /** Which instructions were taken from the cache, by their first two words. */
  async function cachedSteps(...args: string[]): Promise<Record<string, boolean>> {
    const { steps } = await mbuild.build([...args, context]);
    return Object.fromEntries(
      instructionSteps(steps).map((step) => [
        step.name
          .replace(/^\[.*?\] /, '')
          .split(' ')
          .slice(0, 2)
          .join(' '),
        step.cached,
      ]),
    );
  }

  const ALL = {
    'COPY first.txt': true,
    'RUN cat': true,
    'COPY folder': true,
    'RUN echo': true,
    'COPY --from=build': true,
  };

  it('answers a second build in another process with the same image', async () => {
    const { id, steps } = await mbuild.build([context]);
    expect(id).toBe(first);
    expect(instructionSteps(steps).filter((step) => !step.cached)).toEqual([]);
  });

  it('looks at what files hold, not at when they were written or by which inode', async () => {
    utimesSync(join(context, 'first.txt'), 1, 1);
    writeFileSync(join(context, 'folder/new'), 'a\n');
    renameSync(join(context, 'folder/new'), join(context, 'folder/a'));
    expect(Object.values(await cachedSteps())).not.toContain(false);
  });

  it('builds again from the first step whose file changed', async () => {
    writeFileSync(join(context, 'folder/b'), 'changed\n');
    expect(await cachedSteps()).toMatchObject({
      'COPY first.txt': true,
      'COPY folder': false,
      'RUN echo': false,
    });
  });

  it('takes a changed file mode, a new file and a missing file for changes', async () => {
    chmodSync(join(context, 'folder/a'), 0o755);
    expect(await cachedSteps()).toMatchObject({ 'COPY first.txt': true, 'COPY folder': false });
    writeFileSync(join(context, 'folder/c'), '');
    expect(await cachedSteps()).toMatchObject({ 'COPY first.txt': true, 'COPY folder': false });
    renameSync(join(context, 'folder/c'), join(context, 'folder/d'));
    expect(await cachedSteps()).toMatchObject({ 'COPY first.txt': true, 'COPY folder': false });
  });

  it('sees an edit that leaves size and modification time as they were', async () => {
    utimesSync(join(context, 'first.txt'), 1000, 1000);
    await mbuild.build([context]);
    writeFileSync(join(context, 'first.txt'), 'FIRST\n');
    utimesSync(join(context, 'first.txt'), 1000, 1000);
    expect(await cachedSteps()).toMatchObject({ 'COPY first.txt': false });
  });

  it('ignores changes to files that no instruction copies', async () => {
    writeFileSync(join(context, 'unrelated'), 'x');
    expect(await cachedSteps()).toMatchObject(ALL);
  });

  it('takes a build argument into account from where it is declared', async () => {
    expect(await cachedSteps('--build-arg', 'MODE=slow')).toMatchObject({
      'COPY first.txt': true,
      'RUN cat': false,
      'RUN echo': false,
    });
  });

  it('finds the copied file of another stage unchanged although the stage was built anew', async () => {
    writeFileSync(join(context, 'folder/b'), 'changed again\n');
    expect(await cachedSteps()).toMatchObject({
      'COPY folder': false,
      'RUN echo': false,
      'COPY --from=build': true,
    });
  });

  it('is shared by Dockerfiles that begin alike', async () => {
    writeFiles(context, {
      other: `${DOCKERFILE.split('\n').slice(0, 4).join('\n')}\nRUN echo other\n`,
    });
    expect(await cachedSteps('-f', join(context, 'other'))).toEqual({
      'COPY first.txt': true,
      'RUN cat': true,
      'RUN echo': false,
    });
  });

  it('does not keep a step that failed', async () => {
    writeFiles(context, { Dockerfile: 'FROM small-base\nRUN echo part > /part && exit 1\n' });
    for (let i = 0; i < 2; i++) expect((await mbuild.run(['build', context])).code).toBe(1);
    writeFiles(context, { Dockerfile: 'FROM small-base\nRUN test ! -e /part\n' });
    await mbuild.build([context]);
  });

  it('serves two builds of the same thing at once, and they give one image', async () => {
    writeFiles(context, {
      Dockerfile: `FROM small-base\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /once\nCMD ["cat", "/once"]\n# ${Math.random()}\n`,
    });
    const [one, two] = await Promise.all([mbuild.build([context]), mbuild.build([context])]);
    expect(one.id).toBe(two.id);
  });

  it('runs stages that do not need each other at the same time', async () => {
    const stage = (name: string): string[] => [
      `FROM small-base AS ${name}`,
      `RUN now() { cut -d ' ' -f 1 /proc/uptime; }; now; sleep 2; now; touch /${name}`,
    ];
    writeFiles(context, {
      Dockerfile: [
        ...stage('a'),
        ...stage('b'),
        'FROM scratch',
        'COPY --from=a /a /a',
        'COPY --from=b /b /b',
        '',
      ].join('\n'),
    });
    const { steps } = await mbuild.build(['--no-cache', context]);
    const [a, b] = instructionSteps(steps)
      .filter((step) => step.name.includes('RUN'))
      .map((step) => step.log.map(Number)) as [number[], number[]];
    expect([a.length, b.length]).toEqual([2, 2]);
    expect(a[0]).toBeLessThan(b[1] ?? 0);
    expect(b[0]).toBeLessThan(a[1] ?? 0);
  });

  it('leaves out stages that the target does not need', async () => {
    writeFiles(context, {
      Dockerfile:
        'FROM small-base AS no\nRUN false\nFROM small-base AS yes\nRUN echo yes\nFROM no AS never\nRUN false\nFROM yes\n',
    });
    const { steps } = await mbuild.build([context]);
    expect(instructionSteps(steps).map((step) => step.name)).toEqual(['[yes 2/2] RUN echo yes']);
  });
});
