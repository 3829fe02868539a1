import { join } from 'node:path';
import { casesOf, readCase } from '../support/fixtures';
import { Mbuild } from '../support/mbuild';
import { useTemp } from '../support/temp';

describe('mbuild parse', () => {
  const temp = useTemp();

  it.each(casesOf('parse'))(
    'prints fixtures/parse/$name as its expected.json says',
    async (fixtureCase) => {
      const mbuild = new Mbuild(temp.dir('store'));
      const printed = await mbuild.ok([
        'parse',
        '-f',
        join(fixtureCase.dir, 'Dockerfile'),
        '--format',
        'json',
      ]);
      expect(JSON.parse(printed)).toEqual(JSON.parse(readCase(fixtureCase, 'expected.json') ?? ''));
    },
  );

  it('reads standard input', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    const printed = await mbuild.ok(['parse', '-f', '-', '--format', 'json'], {
      input: 'FROM scratch\n',
    });
    expect(JSON.parse(printed)).toMatchObject([
      { instruction: 'FROM', args: ['scratch'], line: 1, endLine: 1 },
    ]);
  });
});
