import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReplayReport, ReplayRun } from '../../src/bench/report';
import type { BenchReport } from '../../src/bench/run';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { History } from './history';

const COMMITS = 200;
/** Commits that are really built. */
const BUILT = 40;

describeWith('bench replay', { root: true, programs: ['git'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let history: History;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    history = new History(temp.dir('history'));
    history.grow(COMMITS);
  }, 120_000);

  async function replay(range: string, ...args: string[]): Promise<ReplayReport> {
    return JSON.parse(
      await mbuild.ok([
        'bench',
        'replay',
        '--git',
        range,
        '--format',
        'json',
        ...args,
        history.dir,
      ]),
    ) as ReplayReport;
  }

  function only(report: ReplayReport): ReplayRun {
    const [run] = report.runs;
    if (run === undefined) throw new Error('no run');
    return run;
  }

  it('predicts, step by step, what real builds of the same commits do', async () => {
    const range = `HEAD~${BUILT}..`;
    const predicted = only(await replay(range));
    // Built in a store of its own, where nothing is cached.
    const fresh = new Mbuild(temp.dir('fresh'));
    await smallBase(fresh);
    const real = JSON.parse(
      await fresh.ok(['bench', 'run', '--git', range, '--format', 'json', history.dir]),
    ) as BenchReport;
    expect(real.samples.map((sample) => sample.name)).toEqual(
      predicted.commits.map((commit) => commit.id),
    );
    let uncertain = 0;
    for (const [i, commit] of predicted.commits.entries()) {
      const sample = real.samples[i];
      expect(sample?.problem).toBe(commit.problem?.message);
      const certain = commit.steps
        .map((step, j) => ({ step, cached: sample?.steps[j]?.cached }))
        .filter(({ step }) => step.certain);
      uncertain += commit.steps.length - certain.length;
      expect({
        commit: commit.subject,
        steps: certain.map(({ step, cached }) => [step.name, cached ? 'hit' : 'miss']),
      }).toEqual({
        commit: commit.subject,
        steps: certain.map(({ step }) => [step.name, step.outcome]),
      });
    }
    expect(uncertain).toBeLessThan(predicted.totals.misses);
    expect(predicted.totals.hits).toBeGreaterThan(0);
  }, 300_000);

  it.each(['min', 'max'])(
    'predicts what fresh machines with one cache elsewhere do (mode=%s)',
    async (mode) => {
      const range = 'HEAD~6..';
      const predicted = only(await replay(range, '--policy', `registry=${mode}`));
      const base = join(temp.dir('base'), 'base.tar');
      await mbuild.ok(['save', '-o', base, 'small-base']);
      const folder = join(temp.dir('cache'), 'cache');
      let hits = 0;
      for (const commit of predicted.commits) {
        const machine = new Mbuild(temp.dir('machine'));
        await machine.ok(['load', '-q', '-i', base]);
        const tree = temp.dir('tree');
        execFileSync(
          'sh',
          ['-c', 'git -c tar.umask=0022 archive "$1" | tar -x -C "$2"', 'sh', commit.id, tree],
          { cwd: history.dir, env: cleanEnv() },
        );
        await machine.build([
          '--cache-from',
          `type=local,src=${folder}`,
          '--cache-to',
          `type=local,dest=${folder},mode=${mode},ignore-error=false`,
          tree,
        ]);
        const { steps } = JSON.parse(await machine.ok(['explain', '--format=json'])) as {
          steps: { name: string; cached: boolean }[];
        };
        const told = commit.steps.flatMap((step, i) =>
          step.certain ? [[step.name, step.outcome === 'hit', steps[i]?.cached]] : [],
        );
        expect({
          commit: commit.subject,
          real: told.map(([name, , real]) => [name, real]),
        }).toEqual({
          commit: commit.subject,
          real: told.map(([name, expected]) => [name, expected]),
        });
        hits += told.filter(([, expected]) => expected).length;
      }
      expect(hits).toBeGreaterThan(0);
    },
    120_000,
  );

  it('replays a whole history, and names what it cannot tell', async () => {
    const report = await replay('HEAD', '--all-parents');
    const run = only(report);
    expect(report.commits.length).toBeGreaterThanOrEqual(COMMITS);
    expect(run.commits[0]).toMatchObject({
      subject: 'no Dockerfile yet',
      problem: { kind: 'refused', message: 'there is no Dockerfile in this commit' },
      steps: [],
    });
    expect(run.commits[1]?.steps.every((step) => step.outcome === 'miss')).toBe(true);
    expect(report.notes).toContain(
      'base images are taken as they are now: whether they moved is not in the history',
    );
    expect(run.totals.hits + run.totals.misses).toBe(
      run.instructions.reduce((sum, row) => sum + row.builds, 0),
    );
    expect((await replay('HEAD')).notes.some((note) => /^\d+ merges: /.test(note))).toBe(true);
    const ignored = run.commits.find((commit) => commit.subject === 'a rename of what is ignored');
    expect(ignored?.misses).toBe(0);
  }, 120_000);

  it('says in the words of the build why steps miss', async () => {
    const { commits } = only(await replay('HEAD~60..'));
    const causes = commits
      .slice(1)
      .flatMap((commit) => commit.steps.flatMap((step) => step.why ?? []))
      .join('\n');
    expect(causes).toMatch(/^src\/lib\/f\d\.txt changed \([+−]\d+ B\)$/m);
    expect(causes).toMatch(/^mode 644→755 of run\.sh$/m);
    expect(causes).toMatch(/^parent step \d was rebuilt$/m);
  }, 60_000);

  it('compares policies: what is not kept is missed', async () => {
    const policies = [
      'local',
      'size=100',
      'age=1h',
      'registry=max',
      'registry=min',
      'size=100,evict=lru',
    ];
    const { runs } = await replay(
      'HEAD~60..',
      ...policies.flatMap((policy) => ['--policy', policy]),
    );
    expect(runs.map((run) => run.policy)).toEqual(policies);
    const [local, ...others] = runs.map((run) => run.totals.hits);
    for (const hits of others) expect(hits).toBeLessThanOrEqual(local ?? 0);
    const [, small, , max, min] = runs;
    expect(
      small?.commits.some((commit) => commit.steps.some((step) => step.outcome === 'evicted')),
    ).toBe(true);
    expect(min?.totals.hits).toBeLessThan(max?.totals.hits ?? 0);
    const wrong = await mbuild.run([
      'bench',
      'replay',
      '--git',
      'HEAD',
      '--policy',
      'forever',
      history.dir,
    ]);
    expect([wrong.code, wrong.stderr]).toEqual([
      125,
      expect.stringContaining('"forever" is not a policy'),
    ]);
  }, 60_000);

  it('compares Dockerfiles, and advises on the order', async () => {
    const files = writeFiles(temp.dir('variants'), {
      bad: 'FROM small-base\nCOPY . /app\nWORKDIR /app\nRUN npm ci\nRUN echo test\n',
      good: 'FROM small-base\nWORKDIR /app\nCOPY package.json .\nRUN npm ci\nCOPY . /app\nRUN echo test\n',
      'durations.json': '{"RUN npm ci": 30}',
    });
    const report = await replay(
      'HEAD~60..',
      '-f',
      `file:${join(files, 'bad')}`,
      '-f',
      `file:${join(files, 'good')}`,
      '--durations',
      join(files, 'durations.json'),
    );
    const [bad, good] = report.runs;
    expect(good?.totals.secondsRebuilt).toBeLessThan(bad?.totals.secondsRebuilt ?? 0);
    const [split] = bad?.advice ?? [];
    expect(split).toMatchObject({
      kind: 'split-copy',
      instruction: 'COPY . /app',
      behind: 'RUN npm ci',
      line: 2,
      behindLine: 4,
    });
    // What is advised is what the better file saves.
    const npm = (run: ReplayRun | undefined): number =>
      run?.instructions.find((row) => row.text === 'RUN npm ci')?.secondsRebuilt ?? 0;
    expect(split?.secondsSaved).toBeCloseTo(npm(bad) - npm(good), -1);
    expect(good?.advice.filter((advice) => advice.kind === 'split-copy')).toEqual([]);
  }, 60_000);

  it('models build arguments that are other for each commit', async () => {
    const report = only(await replay('HEAD~5..', '--build-arg', 'COMMIT=%H'));
    expect(report.advice).toContainEqual(
      expect.objectContaining({
        kind: 'move-arg',
        instruction: 'ARG COMMIT',
        line: 2,
      }),
    );
    for (const commit of report.commits.slice(1))
      expect(commit.steps[2]?.why ?? 'hit').toMatch(
        /^ARG COMMIT [0-9a-f]+…?→[0-9a-f]+…? \(declared on line 2, used by no later RUN\)$/,
      );
  }, 60_000);

  it('prints tables and CSV', async () => {
    const text = await mbuild.ok(['bench', 'replay', '--git', 'HEAD~5..', history.dir]);
    expect(text).toMatch(/^DOCKERFILE +POLICY +COMMITS +NOT REPLAYED/m);
    const file = join(temp.dir('csv'), 'report.csv');
    await mbuild.ok([
      'bench',
      'replay',
      '--git',
      'HEAD~5..',
      '--format',
      'csv',
      '-o',
      file,
      history.dir,
    ]);
    const rows = readFileSync(file, 'utf8').split('\r\n');
    expect(rows[0]).toBe(
      'dockerfile,policy,commit,line,instruction,outcome,certain,seconds,bytes,cause',
    );
    expect(rows.length).toBeGreaterThan(20);
  }, 60_000);

  it('names submodules, which it cannot look into', async () => {
    const other = new History(temp.dir('other'));
    other.git(
      '-c',
      'protocol.file.allow=always',
      'submodule',
      '--quiet',
      'add',
      history.dir,
      'vendor/library',
    );
    other.commit('a submodule');
    const notes = (
      JSON.parse(
        await mbuild.ok(['bench', 'replay', '--git', 'HEAD~1..', '--format', 'json', other.dir]),
      ) as ReplayReport
    ).notes;
    expect(notes).toContain(
      'vendor/library is a submodule: its files are in another repository, and it is taken as an empty directory',
    );
  }, 60_000);

  it.each([
    ['a range that git does not know', ['--git', 'no-such-branch..'], 1, 'no-such-branch'],
    ['no range', [], 125, 'nothing says which commits'],
    ['a range that looks like a flag', ['--git=--output=/tmp/x'], 125, 'is not a range of commits'],
  ])('refuses %s', async (_, args, code, text) => {
    const result = await mbuild.run(['bench', 'replay', ...args, history.dir]);
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(text)]);
  });

  it('builds one context several times: cold, warm and edited', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo 1 > /a\nCOPY file /\n',
      file: '',
    });
    const run = async (...args: string[]): Promise<string[]> =>
      (
        JSON.parse(
          await mbuild.ok(['bench', 'run', '-n', '2', '--format', 'json', ...args, context]),
        ) as BenchReport
      ).samples.map((sample) => `${sample.hits}/${sample.hits + sample.misses}`);
    expect(await run('--mode', 'cold')).toEqual(['0/2', '0/2']);
    expect(await run('--mode', 'warm')).toEqual(['2/2', '2/2']);
    expect(await run('--mode', 'edited', '--edit', 'file')).toEqual(['1/2', '1/2']);
    expect(readFileSync(join(context, 'file'), 'utf8')).toBe('');
  }, 60_000);
});
