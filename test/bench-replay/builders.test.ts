import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ReplayReport } from '../../src/bench/report';
import type { BenchReport } from '../../src/bench/run';
import { smallBase } from '../support/bases';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';
import { BuilderHistory, COMMITS, SEEDS } from './builder-history';

/** What record-builders.ts has recorded: a character a step, `h` found and `m` built. */
interface Recorded {
  readonly versions: Readonly<Record<string, string>>;
  readonly histories: readonly {
    readonly seed: number;
    readonly commits: readonly Readonly<Record<string, string>>[];
  }[];
}

const RECORDED = JSON.parse(
  readFileSync(join(__dirname, 'recorded-builders.json'), 'utf8'),
) as Recorded;

/** Policies that were recorded. */
const POLICIES = ['buildkit', 'docker-classic', 'buildah'] as const;

describeWith('replayed policies', { programs: ['git'] }, () => {
  const temp = useTemp();

  async function replay(mbuild: Mbuild, dir: string, policies: readonly string[]) {
    return JSON.parse(
      await mbuild.ok([
        'bench',
        'replay',
        '--git',
        'HEAD',
        '--format',
        'json',
        ...policies.flatMap((policy) => ['--policy', policy]),
        dir,
      ]),
    ) as ReplayReport;
  }

  it.each(RECORDED.histories.map(({ seed, commits }) => [seed, commits] as const))(
    'find what docker and buildah found, step by step: history %i',
    async (seed, commits) => {
      const history = new BuilderHistory(temp.dir('history'), seed, 'base-of-a-history');
      for (let i = 1; i < COMMITS; i++) history.next();
      const report = await replay(new Mbuild(temp.dir('store')), history.dir, POLICIES);
      for (const [at, policy] of POLICIES.entries()) {
        const replayed = report.runs[at]?.commits ?? [];
        const bySubject = new Map(replayed.map((commit) => [commit.subject, commit]));
        // A rename is two commits, of which the last was built. What may be found, as it takes files of a stage, is left out.
        const told = commits.map(({ commit = '', ...found }) => {
          const steps = bySubject.get(commit)?.steps ?? [];
          const letters = [...(found[policy] ?? '')];
          const isSure = (i: number): boolean => steps[i]?.certain === true;
          return {
            predicted: `${commit}: ${steps.map(({ outcome, certain }) => (certain ? outcome.slice(0, 1).replace('e', 'm') : '?')).join('')}`,
            recorded: `${commit}: ${letters.map((letter, i) => (isSure(i) ? letter : '?')).join('')}`,
          };
        });
        expect({ policy, told: told.map(({ predicted }) => predicted) }).toEqual({
          policy,
          told: told.map(({ recorded }) => recorded),
        });
        const all = told.map(({ predicted }) => predicted.replace(/^.*: /, '')).join('');
        expect(all.split('?').length - 1).toBeLessThan(all.length / 4);
      }
    },
    60_000,
  );
});

describeWith('mbuild on the same histories', { root: true, programs: ['git'] }, () => {
  const temp = useTemp();

  it.each(SEEDS)(
    'builds what was predicted, step by step: history %i',
    async (seed) => {
      const history = new BuilderHistory(temp.dir('history'), seed, 'small-base');
      for (let i = 1; i < COMMITS; i++) history.next();
      const mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild);
      const predicted = JSON.parse(
        await mbuild.ok(['bench', 'replay', '--git', 'HEAD', '--format', 'json', history.dir]),
      ) as ReplayReport;
      const real = JSON.parse(
        await mbuild.ok(['bench', 'run', '--git', 'HEAD', '--format', 'json', history.dir]),
      ) as BenchReport;
      const commits = predicted.runs[0]?.commits ?? [];
      expect(commits.length).toBeGreaterThanOrEqual(COMMITS);
      expect(real.samples.map(({ name }) => name)).toEqual(commits.map(({ id }) => id));
      for (const [at, { subject, steps, problem }] of commits.entries()) {
        const sample = real.samples[at];
        expect([problem, sample?.problem]).toEqual([undefined, undefined]);
        const told = steps.map((step, j) => [step.name, step.outcome === 'hit', step.certain, j]);
        expect({
          subject,
          steps: told.filter(([, , certain]) => certain).map(([name, hit]) => [name, hit]),
        }).toEqual({
          subject,
          steps: told
            .filter(([, , certain]) => certain)
            .map(([name, , , j]) => [name, sample?.steps[Number(j)]?.cached]),
        });
      }
    },
    120_000,
  );
});
