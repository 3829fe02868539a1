import { existsSync } from 'node:fs';
import { Mbuild } from '../support/mbuild';
import { casesOf, caseArgs, readCase, type FixtureCase } from '../support/fixtures';
import { useTemp } from '../support/temp';

/**
 * What `docker buildx bake --print` of buildx 0.29 printed for the files of fixtures/bake;
 * test/support/record-bake.sh records it anew. Objects are equal whatever the order of their
 * members.
 */
describe('bake --print', () => {
  const temp = useTemp();
  const cases = casesOf('bake');
  const print = (given: FixtureCase) =>
    new Mbuild(temp.dir()).run(['bake', '--print', ...caseArgs(given)], {
      cwd: given.dir,
      env: environmentOf(given),
    });

  it.each(cases.filter((given) => readCase(given, 'expected.json') !== undefined))(
    '$name: prints what buildx prints',
    async (given) => {
      const { stdout, stderr, code } = await print(given);
      expect({ stderr: stderr.replace(/[^]*warning[^]*/, ''), code }).toEqual({
        stderr: '',
        code: 0,
      });
      expect(JSON.parse(stdout)).toEqual(JSON.parse(readCase(given, 'expected.json') ?? ''));
    },
  );

  it.each(cases.filter((given) => readCase(given, 'expected-error') !== undefined))(
    '$name: is refused, as buildx refuses it',
    async (given) => {
      const { stdout, stderr, code } = await print(given);
      expect(stdout).toBe('');
      // An option that makes no sense has docker's code for that.
      expect(code).toBe(stderr.includes('[USAGE]') ? 125 : 1);
      expect(stderr).toMatch(/\[(BAKE_INVALID|USAGE)\]/);
    },
  );

  it('the cases are there', () => {
    expect(cases.length).toBeGreaterThanOrEqual(60);
    expect(cases.every(({ dir }) => existsSync(dir))).toBe(true);
  });
});

function environmentOf(given: FixtureCase): Record<string, string> {
  const lines = readCase(given, 'env')?.trimEnd().split('\n') ?? [];
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)));
}
