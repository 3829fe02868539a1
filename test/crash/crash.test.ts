import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { describeWith } from '../support/needs';
import { noRegistry, startRegistry, type TestRegistry } from '../support/registry';
import { useTemp, writeFiles } from '../support/temp';
import { ALL_CALLS, CHANGING, SOAK, Trials, sampleKinds, straceMissing, type Call } from './faults';
import {
  EARLIER,
  buildWorks,
  mountWorks,
  openStore,
  registryWorks,
  storeWorks,
  type Work,
} from './works';

jest.setTimeout(SOAK ? 7_200_000 : 180_000);

/**
 * How many trials are made of a work: of kills, of kills with its workers and steps, and of each
 * error.
 */
interface Effort {
  readonly kills: number;
  readonly withWorkers: number;
  readonly errors: readonly (readonly [error: string, names: string, most: number])[];
}

const ERRORS = [
  ['ENOSPC', CHANGING],
  ['EDQUOT', CHANGING],
  ['EIO', CHANGING],
  ['EMFILE', 'open,openat'],
] as const;
const THOROUGH: Effort = {
  kills: 40,
  withWorkers: 10,
  errors: ERRORS.map(([error, names]) => [error, names, 8]),
};
/** Steps run in the first alone; the others share the ways in which it writes. */
const QUICK: Effort = {
  kills: 6,
  withWorkers: 2,
  errors: ERRORS.map(([error, names], i) => [error, names, i === 0 ? 2 : 1]),
};
const QUICKEST: Effort = { kills: 1, withWorkers: 0, errors: [['ENOSPC', CHANGING, 1]] };

describeWith('a store', { root: true, programs: ['strace'], also: straceMissing }, () => {
  const temp = useTemp();
  let sound: string;

  beforeAll(async () => {
    sound = join(temp.dir('sound'), 'store');
    const store = openStore(sound);
    await smallBase(store);
    const context = writeFiles(temp.dir('earlier'), { Dockerfile: EARLIER });
    await store.ok(['build', '-q', '-t', 'earlier', context]);
  });

  function survives(work: () => Work, quick: Effort): void {
    const effort = SOAK ? THOROUGH : quick;
    let trials: Trials;

    beforeAll(async () => {
      trials = new Trials(temp, work());
      await trials.prepare(sound);
    });

    const kills = [
      ['at any of its changes', false, effort.kills],
      ['while its workers and steps write', true, effort.withWorkers],
    ] as const;
    it.each(kills.filter(([, , most]) => most > 0))(
      'is killed %s is whole, comes to the same when that is done again, and keeps nothing of it',
      async (_, follow, most) => {
        const calls = sampleKinds(await trials.calls(CHANGING), ALL_CALLS ? Infinity : most);
        let killed = 0;
        for (const call of calls) {
          const store = trials.open();
          const { code } = await trials.disturb(store, { call, action: 'signal=KILL', follow });
          // The last of a name may not come, as not every run makes them all.
          if (code === 137) killed++;
          expect({ call, left: await trials.faultsLeft(store) }).toEqual({ call, left: [] });
        }
        expect(killed).toBeGreaterThan(calls.length / 2);
      },
    );

    it.each(effort.errors)(
      'meets %s fails with a reason or does without, and leaves it whole',
      async (error, names, most) => {
        for (const [i, call] of sampleKinds(
          await trials.calls(names),
          ALL_CALLS ? Infinity : most,
        ).entries()) {
          for (const always of SOAK ? [false, true] : [i % 2 === 0]) {
            const store = trials.open();
            const { code, stderr } = await trials.disturb(store, {
              call,
              action: `error=${error}`,
              onwards: always,
            });
            expect({
              call,
              always,
              reason: reasonOf(code, stderr, call),
              left: await trials.faultsLeft(store),
            }).toEqual({
              call,
              always,
              reason: expect.stringMatching(
                /^(none|NO_SPACE|IO_FAILED|STORE_UNUSABLE|EXEC_FAILED|SANDBOX_FAILED|COPY_FAILED)$/,
              ) as string,
              left: [],
            });
          }
        }
      },
    );
  }

  describe.each(
    buildWorks(temp)
      .concat(storeWorks(temp), mountWorks(temp))
      .map((work, i) => [work.name, work, i === 0 ? QUICK : QUICKEST] as const),
  )('whose %s', (_, work, effort) => {
    survives(() => work, effort);
  });

  describeWith('whose exchange with a registry', { also: noRegistry }, () => {
    let registry: TestRegistry;
    beforeAll(async () => {
      registry = await startRegistry();
    });
    afterAll(() => registry.stop());

    describe.each(['pull', 'push', 'cache mount export'] as const)('as a %s', (name) => {
      survives(() => registryWorks(registry.host)[name], QUICKEST);
    });
  });
});

/** The code of the error; all that was printed when it has none, or one that nobody foresaw. */
function reasonOf(code: number, stderr: string, { name }: Call): string {
  const reason = /\[([A-Z_]+)\]/.exec(stderr)?.[1];
  // Where nothing can be written, nothing can be said.
  if (code === 0 || stderr === '' || (reason === undefined && name === 'write')) return 'none';
  return reason === undefined || reason === 'INTERNAL' ? stderr : reason;
}
