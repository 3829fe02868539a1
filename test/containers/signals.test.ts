import { parseSignal, signalName } from '../../src/containers/signals';

describe('signals', () => {
  it.each([
    ['9', 9],
    ['KILL', 9],
    ['SIGKILL', 9],
    ['sigterm', 15],
    ['usr1', 10],
    ['RTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMAX-1', 63],
    ['64', 64],
  ])('%s is %d', (text, number) => expect(parseSignal(text)).toBe(number));

  it.each(['', '0', '65', 'SIGNONE', 'RTMIN+40', 'RTMIN-1', '-9', '9x'])('%j is none', (text) =>
    expect(parseSignal(text)).toBeUndefined(),
  );

  it('have names where the system has', () =>
    expect([signalName(15), signalName(50)]).toEqual(['SIGTERM', '50']));
});
