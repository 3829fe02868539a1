import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild, REPOSITORY } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

/** Ids of processes with this command line. */
function running(command: string): number[] {
  return readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').join(' ').trim() === command;
    } catch {
      return false; // it has ended
    }
  }).map(Number);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

describeWith('mbuild is killed with SIGKILL while a step runs', { root: true }, () => {
  const temp = useTemp();

  test.each(['namespaces', 'chroot'])('and nothing of the step goes on, with --isolation=%s', async (isolation) => {
    const root = join(temp.dir(isolation), 'store');
    await smallBase(new Mbuild(root));
    // Numbers that no other process sleeps for.
    const seconds = [1, 2].map((i) => `${i}${process.pid}9`);
    const context = writeFiles(temp.dir('context'), { Dockerfile: `FROM small-base\nRUN sleep ${seconds[0]} & sleep ${seconds[1]}\n` });
    const left = (): number[] => seconds.flatMap((number) => running(`sleep ${number}`));
    const mbuild = spawn(join(REPOSITORY, 'bin/mbuild'), ['--root', root, `--isolation=${isolation}`, 'build', '-q', context], { env: cleanEnv(), stdio: 'ignore' });
    try {
      await until(() => left().length === 2);
      mbuild.kill('SIGKILL');
      await once(mbuild, 'exit');
      await until(() => left().length === 0);
    } finally {
      for (const pid of left()) process.kill(pid, 'SIGKILL');
    }
  });
});
