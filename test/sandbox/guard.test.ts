import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, copyFileSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { REPOSITORY } from '../support/mbuild';
import { describeWith, findProgram } from '../support/needs';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const BIN = join(REPOSITORY, 'bin/mbuild');

/** Ids of processes with this command line. */
function running(command: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').join(' ').trim() === command
        );
      } catch {
        return false; // it has ended
      }
    })
    .map(Number);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

/** An id that is nobody's here. */
const NOBODY = '65534';
const AS_NOBODY = ['setpriv', '--reuid', NOBODY, '--regid', NOBODY, '--clear-groups'];

interface Way {
  readonly isolation: string;
  /** In front of mbuild's command line. */
  readonly prefix: readonly string[];
}

const proot =
  findProgram('proot') !== undefined &&
  spawnSync('setpriv', [...AS_NOBODY.slice(1), BIN, '--version']).status === 0;
if (!proot)
  console.log(
    'skipped: who has no rights needs proot, setpriv, and a checkout that others can read',
  );
const ways: readonly Way[] = [
  { isolation: 'namespaces', prefix: [] },
  { isolation: 'chroot', prefix: [] },
  ...(proot ? [{ isolation: 'proot', prefix: AS_NOBODY }] : []),
];

describeWith('what a step leaves running', { root: true, programs: ['tar'] }, () => {
  const temp = useTemp();

  // One that stays a child, one in a session of its own, and two whose parent is gone as well;
  // numbers that no other process sleeps for.
  const seconds = [1, 2, 3, 4].map((i) => `${i}${process.pid}9`);
  const left = (): number[] => seconds.flatMap((number) => running(`sleep ${number}`));
  const [child, session, orphan, grandchild] = seconds.map(
    (number) => `sh -c ": > /${number}; exec sleep ${number}"`,
  );
  const leave = `${child} & setsid ${session} & (setsid ${orphan} & setsid sh -c '${grandchild} & exit' &); until ${seconds.map((number) => `[ -e /${number} ]`).join(' && ')}; do :; done`;

  /** Begins to build a RUN of such a command; the store's folder belongs to the user who builds. */
  function begin({ isolation, prefix }: Way, command: string): ChildProcess {
    const context = writeFiles(temp.dir('context'), {
      Dockerfile: `FROM scratch\nADD base.tar /\nRUN ${leave}; ${command}\n`,
    });
    copyFileSync(smallBaseTar(temp.dir('base')), join(context, 'base.tar'));
    const own = temp.dir('own');
    for (const dir of [context, own]) openToOthers(dir);
    chmodSync(join(context, 'base.tar'), 0o644);
    if (prefix.length > 0) chownSync(own, Number(NOBODY), Number(NOBODY));
    const [program = '', ...args] = [
      ...prefix,
      BIN,
      '--root',
      join(own, 'store'),
      `--isolation=${isolation}`,
      'build',
      '-q',
      context,
    ];
    return spawn(program, args, { env: cleanEnv({ TMPDIR: own, HOME: own }), stdio: 'ignore' });
  }

  /** Files of proot's own. */
  const prootFiles = (): string[] =>
    readdirSync('/tmp').filter((name) => /^proot(ed)?-/.test(name));

  test.each(ways)(
    'is gone when mbuild is killed with SIGKILL, with --isolation=$isolation',
    async (way) => {
      const before = prootFiles();
      const mbuild = begin(way, 'wait');
      try {
        await until(() => left().length === seconds.length);
        mbuild.kill('SIGKILL');
        await once(mbuild, 'exit');
        await until(
          () => left().length === 0 && prootFiles().every((name) => before.includes(name)),
        );
      } finally {
        for (const pid of left()) process.kill(pid, 'SIGKILL');
      }
    },
  );

  test('does not keep a build waiting that it has killed the init of', async () => {
    const mbuild = begin({ isolation: 'chroot', prefix: [] }, 'kill -9 $PPID; sleep 1000');
    try {
      expect(await once(mbuild, 'exit')).toEqual([1, null]);
    } finally {
      for (const pid of left()) process.kill(pid, 'SIGKILL');
    }
  });

  test.each(ways)('is gone when the step has ended, with --isolation=$isolation', async (way) => {
    expect(await once(begin(way, 'true'), 'exit')).toEqual([0, null]);
    expect(left()).toEqual([]);
  });
});
