import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { straceMissing } from '../crash/faults';
import { cleanEnv } from '../support/command';
import { MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith(
  'a command whose outputs are files on a disk that cannot be synced',
  { programs: ['strace'], also: straceMissing },
  () => {
    const temp = useTemp();

    // The bridge to the C library would sync them, and wait for itself for ever when that fails.
    it('ends, with its exit code, and leaves the syncing to the kernel', () => {
      const dir = temp.dir('end');
      const [log, calls] = [join(dir, 'log'), join(dir, 'calls')];
      writeFileSync(join(dir, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /\n');
      const fd = openSync(log, 'w');
      try {
        const { status, error } = spawnSync(
          'strace',
          [
            '-f',
            '-qq',
            '-o',
            calls,
            '-e',
            'trace=fsync',
            '-e',
            'inject=fsync:error=EIO',
            MBUILD,
            '--root',
            join(dir, 'store'),
            'build',
            '--progress=plain',
            dir,
          ],
          {
            env: cleanEnv(),
            stdio: ['ignore', fd, fd],
            timeout: 60_000,
            killSignal: 'SIGKILL',
          },
        );
        expect({ status, error }).toEqual({ status: 0, error: undefined });
      } finally {
        closeSync(fd);
      }
      expect(readFileSync(log, 'utf8')).toMatch(/DONE/);
      expect(readFileSync(calls, 'utf8')).not.toMatch(/fsync\([12]\)/);
    });
  },
);

describe('a command that waits for what never comes', () => {
  const temp = useTemp();

  it('fails, and says that it is a fault of mbuild', () => {
    const dir = writeFiles(temp.dir('never'), {
      'context/Dockerfile': 'FROM scratch\nCOPY . /\n',
      ...Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`context/${i}`, `${i}`])),
      'never.js':
        "const { Worker } = require('node:worker_threads');\nWorker.prototype.postMessage = function () { this.ref = () => undefined; this.unref(); };\n",
    });
    const { status, stderr } = spawnSync(
      MBUILD,
      ['--root', join(dir, 'store'), 'build', join(dir, 'context')],
      { env: cleanEnv({ NODE_OPTIONS: `--require ${join(dir, 'never.js')}` }), encoding: 'utf8' },
    );
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(
        /it waits for something that can never happen[^]*\[INTERNAL\]/,
      ) as string,
    });
  });
});

describe('a command under a profiler', () => {
  const temp = useTemp();

  it('leaves the profile', () => {
    const dir = writeFiles(temp.dir('profile'), {
      'context/Dockerfile': 'FROM scratch\nCOPY Dockerfile /\n',
    });
    const { status } = spawnSync(
      process.execPath,
      [
        '--cpu-prof',
        `--cpu-prof-dir=${join(dir, 'profiles')}`,
        join(MBUILD, '../start.cjs'),
        '--root',
        join(dir, 'store'),
        'build',
        join(dir, 'context'),
      ],
      { env: cleanEnv() },
    );
    expect({ status, profiles: readdirSync(join(dir, 'profiles')).length }).toEqual({
      status: 0,
      profiles: 1,
    });
  });
});
