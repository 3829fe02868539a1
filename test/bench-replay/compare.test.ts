import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CompareReport } from '../../src/bench/compare/compare';
import { ratioOf, statisticsOf } from '../../src/bench/compare/statistics';
import { cleanEnv } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describe('statistics of a comparison', () => {
  it('are mean, spread and median of what was measured', () => {
    expect(statisticsOf([1, 2, 3, 6])).toEqual({
      runs: [1, 2, 3, 6],
      mean: 3,
      deviation: 2.16,
      median: 2.5,
      min: 1,
      max: 6,
    });
    expect(statisticsOf([2])).toMatchObject({ mean: 2, deviation: 0, median: 2 });
  });

  it('carry the spread of both into a ratio', () => {
    const [slow, fast] = [statisticsOf([3, 5]), statisticsOf([1, 3])];
    expect(ratioOf(slow, fast)).toEqual({ mean: 2, deviation: 1.581 });
  });
});

describeWith('bench compare', { root: true, programs: ['git'] }, () => {
  const temp = useTemp();

  it('builds by every builder on PATH in turn, and leaves the project as it was', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM scratch\nCOPY a /a\n',
      a: 'text\n',
    });
    // A builder that fails is left out, and its last words are told.
    const bin = temp.dir('bin');
    const calls = join(bin, 'calls');
    writeFileSync(
      join(bin, 'podman'),
      `#!/bin/sh\necho "$*" >> ${calls}\n[ "$1" != --version ] || exec echo podman version 0\necho no such thing >&2\nexit 1\n`,
    );
    chmodSync(join(bin, 'podman'), 0o755);
    const { code, stdout } = await mbuild.run(
      [
        'bench',
        'compare',
        '-n',
        '2',
        '--edit',
        'a',
        '--builder=mbuild',
        '--builder=podman',
        '--builder=buildah',
        '--format=json',
        context,
      ],
      { env: cleanEnv({ PATH: `${bin}:/usr/bin:/bin` }) },
    );
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as CompareReport;
    const [own, podman] = report.builders;
    expect(Object.keys(own?.results ?? {})).toEqual(['cold', 'cached', 'edited']);
    expect(own?.results.cold?.runs).toHaveLength(2);
    expect(podman).toMatchObject({
      version: 'podman version 0',
      problem: 'no such thing',
      results: {},
    });
    expect(report.notes).toContain('buildah is not installed');
    // podman takes a --runroot of at most 50 characters.
    const [, runroot = ''] = /--runroot (\S+)/.exec(readFileSync(calls, 'utf8')) ?? [];
    expect(runroot.length).toBeLessThanOrEqual(50);
    expect(readFileSync(join(context, 'a'), 'utf8')).toBe('text\n');
  }, 60_000);

  it.each([
    ['a builder that it does not know', ['--builder', 'bildah'], 'did you mean'],
    ['a file that is not there', ['--edit', 'missing'], 'there is no file missing'],
  ])('refuses %s', async (_, args, text) => {
    const context = writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\n' });
    const { code, stderr } = await new Mbuild(temp.dir('store')).run([
      'bench',
      'compare',
      ...args,
      context,
    ]);
    expect([code, stderr]).toEqual([125, expect.stringContaining(text)]);
  });
});
