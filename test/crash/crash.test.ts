import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';
import { CHANGING, SOAK, Trials, sample, straceMissing, type Call } from './faults';

jest.setTimeout(SOAK ? 7_200_000 : 120_000);

describeWith('a store whose build', { root: true, programs: ['strace'], also: straceMissing }, () => {
  const temp = useTemp();
  let trials: Trials;

  beforeAll(async () => {
    trials = new Trials(temp);
    await trials.prepare();
  });

  it.each([
    ['at any of its changes', false, 6],
    ['while its workers and steps write', true, 2],
  ])('is killed %s is whole, builds the same image, and keeps nothing of it', async (_, follow, most) => {
    const calls = sample(await trials.calls(CHANGING), SOAK ? Infinity : most);
    let killed = 0;
    for (const call of calls) {
      const store = trials.open();
      const { code } = await trials.disturb(store, { call, action: 'signal=KILL', follow });
      // The last of a name may not come, as not every build makes them all.
      if (code === 137) killed++;
      expect({ call, left: await trials.faultsLeft(store) }).toEqual({ call, left: [] });
    }
    expect(killed).toBeGreaterThan(calls.length / 2);
  });

  it.each([
    ['runs out of space', 'ENOSPC', CHANGING, 2],
    ['has no more quota', 'EDQUOT', CHANGING, 1],
    ['meets a disk that fails', 'EIO', CHANGING, 1],
    ['has too many files open', 'EMFILE', 'open,openat', 1],
  ])('%s fails with a reason or does without, and leaves it whole', async (_, error, names, most) => {
    for (const [i, call] of sample(await trials.calls(names), SOAK ? Infinity : most).entries()) {
      const onwards = SOAK ? [false, true] : [i % 2 === 0];
      for (const always of onwards) {
        const store = trials.open();
        const { code, stderr } = await trials.disturb(store, { call, action: `error=${error}`, onwards: always });
        expect({ call, always, reason: reasonOf(code, stderr, call), left: await trials.faultsLeft(store) }).toEqual({
          call, always, reason: expect.stringMatching(/^(none|NO_SPACE|IO_FAILED|STORE_UNUSABLE|EXEC_FAILED|SANDBOX_FAILED|COPY_FAILED)$/) as string, left: [],
        });
      }
    }
  });
});

/** The code of the error; all that was printed when it has none, or one that nobody foresaw. */
function reasonOf(code: number, stderr: string, { name }: Call): string {
  const reason = /\[([A-Z_]+)\]/.exec(stderr)?.[1];
  // Where nothing can be written, nothing can be said.
  if (code === 0 || stderr === '' || (reason === undefined && name === 'write')) return 'none';
  return reason === undefined || reason === 'INTERNAL' ? stderr : reason;
}
