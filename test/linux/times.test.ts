import { closeSync, lstatSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toRaw } from '../../src/linux/paths';
import { setOpenTimes, setTimes } from '../../src/linux/times';
import { useTemp } from '../support/temp';

describe('times of files', () => {
  const temp = useTemp();
  const nanoseconds = (file: string): bigint[] => {
    const { atimeNs, mtimeNs } = lstatSync(file, { bigint: true });
    return [atimeNs, mtimeNs];
  };

  it.each([
    ['after 1970', 1_700_000_000.25, [1_700_000_000_250_000_000n]],
    ['1970', 0, [0n]],
    ['a moment before 1970', -0.5, [-500_000_000n]],
    ['a day before 1970', -86_400, [-86_400_000_000_000n]],
    ['below a microsecond', 1.000_000_001, [1_000_000_001n]],
    ['nearly a whole second', 0.999_999_999_9, [999_999_999n]],
  ])('are set to what they should be: %s', (_, seconds, [wanted]) => {
    const dir = temp.dir('times');
    const [file, link] = [join(dir, 'ä'), join(dir, 'link')];
    writeFileSync(file, '');
    symlinkSync('ä', link);
    setTimes(toRaw(file), 7, seconds);
    expect(nanoseconds(file)).toEqual([7_000_000_000n, wanted]);
    setTimes(toRaw(link), seconds, 5);
    expect(nanoseconds(link)).toEqual([wanted, 5_000_000_000n]);
    expect(nanoseconds(file)).toEqual([7_000_000_000n, wanted]);
    const fd = openSync(file, 'r');
    setOpenTimes(fd, seconds, seconds);
    closeSync(fd);
    expect(nanoseconds(file)).toEqual([wanted, wanted]);
  });

  it('of what is not there are an error', () => {
    expect(() => setTimes(join(temp.dir('none'), 'x'), 0, 0)).toThrow(/ENOENT/);
  });
});
