import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, succeed } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('what builds leave', { root: true, programs: ['git'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let context: string;

  beforeEach(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    context = writeFiles(temp.dir('context'), { Dockerfile: 'FROM small-base\nRUN echo hello\n' });
  });

  const builds = (): string[] => readdirSync(folder()).filter((name) => name.endsWith('.json'));
  const folder = (): string =>
    join(mbuild.root, 'builds', readdirSync(join(mbuild.root, 'builds'))[0] ?? '');

  /** Records of earlier builds of the same project, beside the one that is there. */
  function addBuilds(count: number): void {
    const [name = ''] = readdirSync(folder()).filter((file) => file.endsWith('.json'));
    const record = JSON.parse(readFileSync(join(folder(), name), 'utf8')) as object;
    for (let i = 0; i < count; i++) {
      const id = `aaaa${String(i).padStart(9, '0')}`;
      writeFileSync(
        join(folder(), `${id}.json`),
        JSON.stringify({ ...record, id, started: '2001-01-01T00:00:00.000Z' }),
      );
    }
  }

  it('is a hundred records of a project at most', async () => {
    await mbuild.build([context]);
    addBuilds(120);
    await mbuild.build([context]);
    expect(builds()).toHaveLength(100);
  });

  it('is counted by system df, named by a dry run and gone after a prune; what misses are explained with stays', async () => {
    await mbuild.build([context]);
    addBuilds(20);
    const df = await mbuild.ok([
      'system',
      'df',
      '--format',
      '{{.Type}}: {{.TotalCount}} {{.Reclaimable}}',
    ]);
    expect(df).toMatch(/^Build Records: 21 [1-9]/m);
    expect(df).toMatch(/^Cache Mounts: 0 0B$/m);
    const dry = await mbuild.ok(['builder', 'prune', '--dry-run']);
    expect(dry).toContain('Would delete build records:\naaaa');
    expect(builds()).toHaveLength(21);
    expect(
      await mbuild.ok(['prune', '-f', '--filter', 'until=2000-01-01T00:00:00Z']),
    ).not.toContain('build records');
    expect(await mbuild.ok(['builder', 'prune', '-f'])).toContain('Deleted build records:\naaaa');
    expect(builds()).toHaveLength(10);
    expect(await mbuild.ok(['explain'])).toContain('RUN echo hello');
  });

  it('is, of repositories, what was used in the last two days, or nothing with --all', async () => {
    const repository = writeFiles(temp.dir('repository'), {
      Dockerfile: 'FROM small-base\nRUN true\n',
    });
    for (const args of [
      ['init', '-q', '-b', 'main', '.'],
      ['add', '.'],
      ['-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-qm', 'one'],
    ])
      await succeed('git', args, { cwd: repository, env: cleanEnv() });
    await mbuild.build([`file://${repository}/.git#main`]);
    const kept = (): string[] =>
      readdirSync(join(mbuild.root, 'git')).filter((name) => !name.endsWith('.lock'));
    expect(await mbuild.ok(['system', 'df', '--format', '{{.Type}}: {{.TotalCount}}'])).toContain(
      'Fetched Sources: 1',
    );
    expect(await mbuild.ok(['builder', 'prune', '-f'])).not.toContain('repositories');
    expect(kept()).toHaveLength(1);
    const [name = ''] = kept();
    utimesSync(join(mbuild.root, 'git', `${name}.lock`), 1, 1);
    expect(await mbuild.ok(['prune', '--dry-run'])).toContain(
      `Would delete fetched repositories:\nfile://${repository}/.git`,
    );
    expect(await mbuild.ok(['builder', 'prune', '-f'])).toContain('Deleted fetched repositories:');
    expect(kept()).toEqual([]);
    await mbuild.build([`file://${repository}/.git#main`]);
    await mbuild.ok(['builder', 'prune', '-af']);
    expect(kept()).toEqual([]);
  });

  it('is, of cache mounts, none after a builder prune, as docker has it; or those that a filter picks', async () => {
    const fill = (): Promise<unknown> =>
      mbuild.build(['-f', '-', context], {
        input: `FROM small-base\nRUN --mount=type=cache,target=/root/.npm echo ${Math.random()} > /root/.npm/x\nRUN --mount=type=cache,id=other,target=/o echo ${Math.random()} > /o/x\n`,
      });
    const mounts = (): Promise<string> => mbuild.ok(['cache-mount', 'ls', '--format', '{{.ID}}']);
    const results = async (): Promise<number> =>
      (await mbuild.ok(['cache', 'ls', '--format', '{{.ID}}'])).split('\n').filter(Boolean).length;
    await fill();
    expect(await mbuild.ok(['builder', 'prune', '--dry-run'])).toContain(
      'Would delete cache mounts:\n/root/.npm\nother\n',
    );
    for (const args of [
      ['builder', 'prune', '-f', '--filter', 'type=regular'],
      ['builder', 'prune', '-f', '--filter', 'until=24h'],
      ['builder', 'prune', '-af', '--keep-storage', '1gb'],
      ['prune', '-f'],
    ])
      await mbuild.ok(args);
    expect(await mounts()).toBe('/root/.npm\nother');
    await fill();
    const before = await results();
    expect(before).toBeGreaterThan(0);
    expect(await mbuild.ok(['builder', 'prune', '-f', '--filter', 'type=exec.cachemount'])).toMatch(
      /^Deleted cache mounts:\n\/root\/\.npm\nother\n\nTotal:\t\d+B$/,
    );
    expect([await mounts(), await results()]).toEqual(['', before]);
    await fill();
    expect(await mbuild.ok(['builder', 'prune', '-f'])).toContain(
      'Deleted cache mounts:\n/root/.npm\nother\n',
    );
    expect(await mounts()).toBe('');
    expect(
      (await mbuild.run(['builder', 'prune', '-f', '--filter', 'type=exec.cachemounts'])).stderr,
    ).toContain('did you mean "exec.cachemount"?');
  });

  it('is, of notes about evicted results, those of the last month', async () => {
    await mbuild.build([context]);
    await mbuild.ok(['builder', 'prune', '-af']);
    const marks = join(mbuild.root, 'cache', 'evicted');
    const [mark = ''] = readdirSync(marks);
    expect(mark).not.toBe('');
    utimesSync(join(marks, mark), 1, 1);
    await mbuild.ok(['builder', 'prune', '-f']);
    expect(existsSync(join(marks, mark))).toBe(false);
  });
});
