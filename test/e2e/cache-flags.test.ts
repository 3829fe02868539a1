import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith('what is asked of the cache', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** A checkout as a umask leaves it. */
  function checkout(umask: number): string {
    const dir = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nCOPY . /files\nCOPY --chmod=0640 plain /\n',
      plain: 'plain\n',
      'folder/run.sh': '#!/bin/sh\n',
    });
    for (const [name, mode] of [
      ['plain', 0o666],
      ['folder/run.sh', 0o777],
      ['folder', 0o777],
      ['.', 0o777],
      ['Dockerfile', 0o666],
    ] as const)
      chmodSync(join(dir, name), mode & ~umask);
    return dir;
  }

  it('--context-modes=git finds files of another umask the same, and gives them the modes that git knows', async () => {
    const flags = ['--context-modes=git', '-t', 'modes'];
    const first = await mbuild.build([...flags, checkout(0o022)]);
    const other = await mbuild.build([...flags, checkout(0o077)]);
    expect(instructionSteps(other.steps).map((step) => step.cached)).toEqual([true, true]);
    expect(other.id).toBe(first.id);
    const fresh = await mbuild.build([...flags, '--no-cache', checkout(0o002)]);
    expect(fresh.id).toBe(first.id);
    expect(
      await mbuild.ok([
        'run',
        '--rm',
        'modes',
        'stat',
        '-c',
        '%a %n',
        '/files',
        '/files/plain',
        '/files/folder',
        '/files/folder/run.sh',
        '/plain',
      ]),
    ).toBe('755 /files\n644 /files/plain\n755 /files/folder\n755 /files/folder/run.sh\n640 /plain');
    const env = { MBUILD_CONTEXT_MODES: 'git' };
    expect((await mbuild.run(['plan', checkout(0o077)], { env })).stdout).toContain(
      '2 of 2 steps from the cache',
    );
    const own = await mbuild.build([checkout(0o077)]);
    expect(own.stderr).toContain('(umask?)');
  });

  it('--no-cache-from runs what stands on a line or below it again', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN touch /a\nRUN date +%N > /b\nRUN touch /c\n',
    });
    await mbuild.build([context]);
    const { steps, stderr } = await mbuild.build(['--no-cache-from=3', context]);
    expect(instructionSteps(steps).map((step) => step.cached)).toEqual([true, false, false]);
    expect(stderr).toContain('not cached: requested with --no-cache-from');
  });

  it('--no-cache-filter runs a stage again', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM small-base AS a\nRUN cat /proc/sys/kernel/random/uuid > /a\nFROM small-base\nRUN touch /b\nCOPY --from=a /a /a\n',
    });
    await mbuild.build([context]);
    const { steps, stderr } = await mbuild.build(['--no-cache-filter=a', context]);
    expect(instructionSteps(steps).map((step) => step.cached)).toEqual([false, true, false]);
    expect(stderr).toContain('not cached: requested with --no-cache-filter');
  });

  it('plan tells of all targets', async () => {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile:
        'FROM small-base AS a\nRUN touch /only-a\nFROM small-base AS b\nRUN touch /only-b\nFROM small-base AS c\nRUN touch /only-c\n',
    });
    await mbuild.build(['--target=a', context]);
    const text = await mbuild.ok(['plan', '--target=a', '--target=b', context]);
    expect(text).toMatch(/HIT.*\n.*MISS/);
    expect(text).toContain('1 of 2 steps from the cache');
    expect(text).not.toContain('only-c');
  });
});
