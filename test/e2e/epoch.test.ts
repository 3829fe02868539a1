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

  it('leaves layers that can be saved and verified', async () => {
    await build('1700000000');
    await mbuild.ok(['save', '-o', `${temp.dir('saved')}/image.tar`, 'app']);
    expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
  });
});
