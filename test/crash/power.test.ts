import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { SOAK, Trials } from './faults';
import { EARLIER, buildWorks, openStore, registryWorks, storeWorks, type Work } from './works';

jest.setTimeout(SOAK ? 3_600_000 : 180_000);

/** Losses that are tried of each work. */
const SEEDS = Array.from({ length: SOAK ? 60 : 2 }, (_, i) => i + 1);

describeWith('a store on a machine that lost its power just after', { root: true }, () => {
  const temp = useTemp();
  let sound: string;

  beforeAll(async () => {
    sound = join(temp.dir('sound'), 'store');
    const store = openStore(sound);
    await smallBase(store);
    await store.ok([
      'build',
      '-q',
      '-t',
      'earlier',
      writeFiles(temp.dir('earlier'), { Dockerfile: EARLIER }),
    ]);
  });

  async function survives(work: Work): Promise<void> {
    const trials = new Trials(temp, work);
    await trials.prepare(sound);
    for (const seed of SEEDS) {
      const store = await trials.withoutPower(seed);
      expect({
        seed,
        earlier: await store.run(['run', '--rm', 'earlier', 'cat', '/earlier']),
        left: await trials.damageLeft(store),
      }).toEqual({
        seed,
        earlier: { code: 0, stdout: 'earlier\n', stderr: '' },
        left: [],
      });
    }
  }

  it.each(
    [...buildWorks(temp), ...storeWorks(temp)]
      .filter(({ name }) => !/rmi|prune/.test(name))
      .map((work) => [work.name, work] as const),
  )('a %s uses nothing that is damaged, and comes to the same when that is done again', (_, work) =>
    survives(work),
  );

  describeWith('an exchange with a registry', { also: noRegistry }, () => {
    let registry: TestRegistry;
    beforeAll(async () => {
      registry = await startRegistry();
    });
    afterAll(() => registry.stop());

    it('uses nothing of what it pulled that is damaged, and pulls it again', () =>
      survives(registryWorks(registry.host).pull));
  });
});
