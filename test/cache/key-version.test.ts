import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KEY_VERSION } from '../../src/cache/key';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

const DOCKERFILE =
  'FROM small-base\nCOPY app.txt /\nRUN date +%s%N > /when\nRUN cat app.txt when > /all\n';

describeWith('a store that another version of mbuild wrote', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeEach(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    context = writeFiles(temp.dir('context'), { Dockerfile: DOCKERFILE, 'app.txt': 'app\n' });
  });

  const records = (): string[] => readdirSync(join(mbuild.root, 'cache', 'records')).sort();
  const families = (): string[] =>
    readdirSync(join(mbuild.root, 'cache', 'families')).flatMap((family) =>
      readdirSync(join(mbuild.root, 'cache', 'families', family)),
    );
  const builds = (): string[] => {
    const [project = ''] = readdirSync(join(mbuild.root, 'builds'));
    return readdirSync(join(mbuild.root, 'builds', project))
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(mbuild.root, 'builds', project, name));
  };
  const causes = (stderr: string): string[] =>
    [...stderr.matchAll(/^#\d+ not cached: (.*)$/gm)].map(([, why = '']) => why);

  /**
   * Gives every key and result of the store the hash that a version with another form of keys would
   * have made.
   */
  function rewrite(form: string, told: boolean): void {
    const other = (key: string): string =>
      createHash('sha256').update(`${form} ${key}`).digest('hex');
    const text = (file: string): string =>
      readFileSync(file, 'utf8').replace(/(?<!sha256:)\b[0-9a-f]{64}\b/g, other);
    for (const name of records()) {
      const file = join(mbuild.root, 'cache', 'records', name);
      writeFileSync(
        join(mbuild.root, 'cache', 'records', `${other(name.slice(0, 64))}.json`),
        text(file),
      );
      rmSync(file);
    }
    for (const family of readdirSync(join(mbuild.root, 'cache', 'families'))) {
      const folder = join(mbuild.root, 'cache', 'families', family);
      for (const key of readdirSync(folder))
        renameSync(join(folder, key), join(folder, other(key)));
      renameSync(folder, join(mbuild.root, 'cache', 'families', other(family)));
    }
    for (const file of builds()) {
      const { keys: _keys, ...record } = JSON.parse(text(file)) as Record<string, unknown>;
      writeFileSync(file, JSON.stringify(told ? { ...record, keys: form } : record));
    }
  }

  it.each([
    ['mbuild-key-1', true],
    ['mbuild-key-99', true],
    ['mbuild-key-1', false],
  ])(
    'with keys of the form %s (on record: %s) is put aside, which misses say; its images stay, and its records go',
    async (form, told) => {
      const first = await mbuild.build(['-t', 'earlier', context]);
      rewrite(form, told);
      const before = records();
      const { steps, stderr } = await mbuild.build(['-t', 'later', context]);
      expect(instructionSteps(steps).map(({ cached }) => cached)).toEqual([false, false, false]);
      const why = `built before by another version of mbuild, whose cache this one cannot use${told ? ` (${form}, here ${KEY_VERSION})` : ''}`;
      expect(causes(stderr)).toEqual([why, why, why]);
      expect(stderr).not.toContain('cannot be read');
      expect(await mbuild.ok(['run', '--rm', 'earlier', 'cat', '/app.txt'])).toBe('app');
      expect((await mbuild.inspect('earlier')).Id).toBe(first.id);
      expect(
        instructionSteps((await mbuild.build([context])).steps).every(({ cached }) => cached),
      ).toBe(true);
      expect(records().filter((name) => before.includes(name))).toEqual(before);
      await mbuild.ok(['prune', '-f']);
      expect(records().filter((name) => before.includes(name))).toEqual([]);
      expect(families().length).toBe(
        records().filter((name) =>
          /"kind":"(run|copy)"/.test(
            readFileSync(join(mbuild.root, 'cache', 'records', name), 'utf8'),
          ),
        ).length,
      );
      expect(await mbuild.ok(['run', '--rm', 'earlier', 'cat', '/app.txt'])).toBe('app');
      expect(
        instructionSteps((await mbuild.build([context])).steps).every(({ cached }) => cached),
      ).toBe(true);
      expect((await mbuild.run(['system', 'check'])).code).toBe(0);
    },
  );

  it('in files of another form is put aside, not taken for damage, and goes a month later', async () => {
    await mbuild.build(['-t', 'earlier', context]);
    for (const name of records()) {
      const file = join(mbuild.root, 'cache', 'records', name);
      writeFileSync(
        file,
        JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), version: 2 }),
      );
    }
    for (const file of builds())
      writeFileSync(
        file,
        JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), version: 2 }),
      );
    const before = records();
    expect(await mbuild.ok(['cache', 'ls', '--format', '{{.ID}}'])).toBe('');
    expect(await mbuild.ok(['builds', '-aq'])).toBe('');
    await mbuild.ok(['prune', '-f']);
    expect(records()).toEqual(before);
    expect(await mbuild.ok(['run', '--rm', 'earlier', 'cat', '/app.txt'])).toBe('app');
    writeFileSync(join(context, 'Dockerfile'), DOCKERFILE.replace('cat app.txt', 'cat /app.txt'));
    const { stderr } = await mbuild.build([context]);
    expect(stderr).not.toContain('cannot be read');
    const version = 'built before by another version of mbuild, whose cache this one cannot use';
    expect(causes(stderr)).toEqual([version, version, 'no earlier build of this step']);
    // What was built anew has this version's records; the last step's is left of the other version.
    for (const name of records()) utimesSync(join(mbuild.root, 'cache', 'records', name), 1, 1);
    await mbuild.ok(['prune', '-f']);
    const left = records().map(
      (name) =>
        (
          JSON.parse(readFileSync(join(mbuild.root, 'cache', 'records', name), 'utf8')) as {
            version: number;
          }
        ).version,
    );
    expect(left).not.toContain(2);
    expect(families().length).toBeLessThanOrEqual(3);
  });

  it('is told of beside what was edited since', async () => {
    await mbuild.build([context]);
    rewrite('mbuild-key-1', true);
    writeFileSync(join(context, 'app.txt'), 'longer\n');
    expect(causes((await mbuild.build([context])).stderr)[0]).toBe(
      `app.txt changed (+3 B), built before by another version of mbuild, whose cache this one cannot use (mbuild-key-1, here ${KEY_VERSION})`,
    );
  });
});
