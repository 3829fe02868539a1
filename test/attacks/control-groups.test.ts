import { spawnSync } from 'node:child_process';
import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const NOBODY = 65534;
const AS_NOBODY = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];
/** Where a group can be made that is given to a user, as systemd gives them out. */
const GROUPS = ['/sys/fs/cgroup', '/sys/fs/cgroup/pids'].find((folder) =>
  existsSync(join(folder, 'cgroup.procs')),
);

/** What a step of an ordinary user does to what he owns outside of it. */
describeWith(
  'mbuild withstands',
  {
    root: true,
    programs: ['setpriv', 'tar'],
    also: () => (GROUPS === undefined ? 'there are no control groups' : undefined),
  },
  () => {
    const temp = useTemp();
    const isReachable = spawnSync('setpriv', [...AS_NOBODY, MBUILD, '--version']).status === 0;
    if (!isReachable)
      console.log('skipped: an ordinary user needs a checkout that others can read');

    (isReachable ? test : test.skip)(
      'attack 28: a step reaches for control groups and connections of the user that it runs for',
      () => {
        const own = temp.dir('own');
        const context = writeFiles(temp.dir('context'), {
          Dockerfile:
            'FROM scratch\nADD small-base.tar /\nRUN find /sys/fs /sys/kernel/security /sys/kernel/debug -name "given*" -o -path "*connections/*"; find /sys -type f -writable 2>/dev/null | grep -v "^/sys/fs/cgroup/cgroup\\." | while read -r file; do echo 0 2>/dev/null > "$file" && echo "$file"; done; echo looked\n',
        });
        copyFileSync(smallBaseTar(temp.dir('base')), join(context, 'small-base.tar'));
        for (const dir of [own, context]) {
          chownSync(dir, NOBODY, NOBODY);
          openToOthers(dir);
        }
        const group = join(GROUPS ?? '', `given-${process.pid}`);
        mkdirSync(group);
        try {
          for (const path of [group, join(group, 'cgroup.procs')]) chownSync(path, NOBODY, NOBODY);
          const { status, stdout, stderr } = spawnSync(
            'setpriv',
            [...AS_NOBODY, MBUILD, 'build', '--progress=plain', context],
            {
              encoding: 'utf8',
              env: { ...cleanEnv(), HOME: own, MBUILD_ROOT: join(own, 'store'), TMPDIR: own },
            },
          );
          expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
          expect(
            stderr
              .split('\n')
              .filter((line) => /^#\d+ \d+\.\d+ /.test(line))
              .map((line) => line.replace(/^#\d+ \S+ /, '')),
          ).toEqual(['looked']);
          expect(readFileSync(join(group, 'cgroup.procs'), 'utf8')).toBe('');
        } finally {
          rmdirSync(group);
        }
      },
    );
  },
);
