import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('SOURCE_DATE_EPOCH', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeEach(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo same > /same\nRUN echo other > /other\n',
    });
    await smallBase(mbuild);
  });

  const build = (epoch: string): Promise<unknown> =>
    mbuild.build(['-t', 'app', context], { env: { SOURCE_DATE_EPOCH: epoch } });

  it('gives the same image, whatever was built before with other times', async () => {
    const layersOf = async (store: Mbuild): Promise<string[]> =>
      (await store.inspect('app')).RootFS.Layers.slice(1);
    await mbuild.build([context]);
    await build('1600000000');
    await build('1700000000');
    const fresh = new Mbuild(temp.dir('fresh'));
    await smallBase(fresh);
    await fresh.build(['-t', 'app', context], { env: { SOURCE_DATE_EPOCH: '1700000000' } });
    expect(await layersOf(mbuild)).toEqual(await layersOf(fresh));
  });

  it('another one runs nothing, and its layers stay when those of the first go', async () => {
    writeFiles(context, {
      Dockerfile:
        'FROM small-base\nRUN cat /proc/sys/kernel/random/uuid > /uuid && head -c 9 /uuid\n',
    });
    await mbuild.build(['-t', 'one', '--source-date-epoch', '1600000000', context]);
    const { steps } = await mbuild.build([
      '-t',
      'two',
      '--source-date-epoch',
      '1700000000',
      context,
    ]);
    expect(steps.find(({ name }) => name.includes('RUN'))?.cached).toBe(true);
    const idOf = async (name: string): Promise<unknown> => (await mbuild.inspect(name)).Id;
    expect(await idOf('one')).not.toBe(await idOf('two'));
    await mbuild.ok(['rmi', 'one']);
    await mbuild.ok(['builder', 'prune', '-af']);
    await mbuild.ok(['save', '-o', `${temp.dir('saved')}/image.tar`, 'two']);
    expect(await mbuild.ok(['run', '--rm', 'two', 'cat', '/uuid'])).toMatch(/^[0-9a-f-]{36}$/);
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
  });

  it.each([
    ['an earlier one', '1600000000', '1700000000'],
    ['a later one', '1700000000', '1600000000'],
    ['none', '', '1700000000'],
  ])('results of a cache elsewhere that was made for %s run nothing', async (_, there, here) => {
    writeFiles(context, {
      Dockerfile:
        'FROM small-base\nRUN echo same > /same && touch -d @1234567890 /old\nWORKDIR /made\nRUN echo other > /other\n',
    });
    const cache = temp.dir('cache');
    const env = (epoch: string): Record<string, string> =>
      epoch === '' ? {} : { SOURCE_DATE_EPOCH: epoch };
    await mbuild.build(['--cache-to', `type=local,dest=${cache}`, context], { env: env(there) });

    const other = new Mbuild(temp.dir('other'));
    await smallBase(other);
    const from = ['--cache-from', `type=local,src=${cache}`];
    const plan = await other.run(['plan', ...from, context], { env: env(here) });
    expect([plan.code, plan.stdout]).toEqual([0, expect.not.stringMatching(/would run/)]);
    const { steps } = await other.build([...from, '-t', 'app', context], { env: env(here) });
    expect(
      steps.filter(({ name }) => /RUN|WORKDIR/.test(name)).map(({ cached }) => cached),
    ).toEqual([true, true, true]);
    expect(await other.ok(['system', 'check'])).toMatch(/nothing is wrong/);

    const fresh = new Mbuild(temp.dir('fresh'));
    await smallBase(fresh);
    await fresh.build(['-t', 'app', context], { env: env(here) });
    expect((await other.inspect('app')).RootFS).toEqual((await fresh.inspect('app')).RootFS);
  });

  it('may stand in an ARG before the first FROM', async () => {
    writeFiles(context, {
      Dockerfile: 'ARG SOURCE_DATE_EPOCH=1600000000\nFROM small-base\nRUN echo > /file\n',
    });
    await mbuild.build(['-t', 'app', context]);
    expect(await mbuild.ok(['inspect', '--format', '{{.Created}}', 'app'])).toContain(
      '2020-09-13T12:26:40',
    );
  });

  it('leaves layers that can be saved and verified', async () => {
    await build('1700000000');
    await mbuild.ok(['save', '-o', `${temp.dir('saved')}/image.tar`, 'app']);
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
  });
});
