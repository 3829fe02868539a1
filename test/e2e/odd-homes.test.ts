import { chownSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { command, type CommandResult } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const temp = useTemp();

/** A user of OpenShift's kind: a number without an entry in passwd, in group 0, without rights. */
const POD_USER = 1_000_650_000;
const AS_POD = [
  'setpriv',
  `--reuid=${POD_USER}`,
  '--regid=0',
  '--clear-groups',
  '--bounding-set=-all',
  '--inh-caps=-all',
  '--no-new-privs',
];

/** Runs a shell script with nothing in its environment but PATH and what is given. */
function shell(
  script: string,
  env: Readonly<Record<string, string>> = {},
  prefix: readonly string[] = [],
): Promise<CommandResult> {
  const [program = 'sh', ...words] = [...prefix, 'sh', '-c', script];
  return command(program, words, {
    env: { PATH: process.env.PATH ?? '', MBUILD, ...env },
  });
}

function context(): string {
  const dir = writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\nCOPY x /x\n', x: 'x' });
  openToOthers(dir);
  return dir;
}

describeWith('a user without a home', { root: true, programs: ['setpriv'] }, () => {
  let root: string;
  let dir: string;
  beforeAll(() => {
    const place = temp.dir('pod');
    openToOthers(place);
    root = join(place, 'data');
    mkdirSync(root);
    chownSync(root, POD_USER, 0);
    dir = context();
  });

  test('builds in a store that is named', async () => {
    const made = await shell(`"$MBUILD" --root ${root}/s build -q ${dir}`, {}, AS_POD);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toMatch(/^sha256:/);
  });

  test('is told to name a store', async () => {
    const refused = await shell(`"$MBUILD" build -q ${dir}`, {}, AS_POD);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toBe(
      'error: the user has no home directory for the store\n' +
        '[USAGE] hint: name a directory with --root or MBUILD_ROOT, or set HOME\n',
    );
  });

  test('is told to name a file for credentials', async () => {
    const refused = await shell(
      `echo p | "$MBUILD" --root ${root}/s login -u u --password-stdin 127.0.0.1:1`,
      {},
      AS_POD,
    );
    expect(refused.stderr).not.toContain('INTERNAL');
    expect(refused.code).not.toBe(0);
  });

  test('may have a HOME that is not there', async () => {
    const made = await shell(
      `"$MBUILD" --root ${root}/s build -q ${dir}; "$MBUILD" --root ${root}/s images -q; "$MBUILD" doctor; true`,
      { HOME: '/nonexistent' },
      AS_POD,
    );
    expect(made.stderr).toBe('');
  });
});

/** What a TMPDIR may be that nothing can be made in. */
const BAD_TMPDIRS = ['/nonexistent', '/proc', '/etc/hostname'];

describeWith('a TMPDIR that cannot be used', { root: true }, () => {
  test.each(BAD_TMPDIRS)(
    '%s: contexts from elsewhere go to the store, and leave it',
    async (tmpdir) => {
      const root = temp.dir('store');
      const dir = context();
      const env = { HOME: '/root', TMPDIR: tmpdir, MBUILD_ROOT: root };
      const made = await shell(
        `set -e; "$MBUILD" build -q ${dir}
       tar -C ${dir} -c . | "$MBUILD" build -q -
       printf 'FROM scratch\\nLABEL a=b\\n' | "$MBUILD" build -q -
       printf 'FROM scratch\\nLABEL a=b\\n' | "$MBUILD" build --check -q -
       "$MBUILD" doctor >/dev/null
       "$MBUILD" bench run --times 1 ${dir} >/dev/null`,
        env,
      );
      expect(made).toMatchObject({ code: 0, stderr: '' });
      expect(readdirSync(join(root, 'tmp'))).toEqual([]);
    },
  );
});

describeWith('a root file system that is read-only', { root: true, programs: ['unshare'] }, () => {
  test('a build with RUN needs no more than the store', async () => {
    const root = temp.dir('store');
    const mbuild = new Mbuild(root);
    await smallBase(mbuild);
    const dir = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo x > /x && cat /x\nCOPY . /c/\n',
    });
    const made = await shell(
      `mount --bind ${root} ${root} && mount -o remount,bind,ro / || exit 77
       for m in $(awk '$5 != "/" && $5 != "${root}" && $5 !~ "^/(proc|sys|dev)" {print $5}' /proc/self/mountinfo); do
         mount -o remount,bind,ro $m 2>/dev/null; done
       touch /tmp/x 2>/dev/null && exit 78
       "$MBUILD" build -q ${dir} && "$MBUILD" run --rm small-base true && "$MBUILD" images -q | wc -l
       tar -C ${dir} -c . | "$MBUILD" build -q -`,
      { HOME: '/root', MBUILD_ROOT: root },
      ['unshare', '-m', '--propagation', 'private'],
    );
    expect(made.stderr).toBe('');
    expect(made.code).toBe(0);
  });
});

describeWith('a working directory that has been deleted', { root: true }, () => {
  const within = (script: string, root: string): Promise<CommandResult> =>
    shell(`d=$(mktemp -d) && cd $d && rmdir $d; ${script}`, {
      HOME: '/root',
      MBUILD_ROOT: root,
      TMPDIR: process.env.TMPDIR ?? '/tmp',
    });

  test('does not matter to what names no path in it', async () => {
    const root = temp.dir('store');
    const made = await within(
      `"$MBUILD" build -q -t a ${context()} && "$MBUILD" images -q && "$MBUILD" inspect a >/dev/null && "$MBUILD" system df >/dev/null && "$MBUILD" version >/dev/null`,
      root,
    );
    // The shell that starts mbuild has its say, too.
    const said = made.stderr.replace(/^sh: .*getcwd.*\n/gm, '');
    expect({ code: made.code, said }).toEqual({ code: 0, said: '' });
  });

  test.each([
    'build .',
    'build -f Dockerfile .',
    'context files',
    'load -i x',
    'parse Dockerfile',
    '--root s images',
  ])('%s is an ordinary error', async (line) => {
    const refused = await within(`"$MBUILD" ${line}`, temp.dir('store'));
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).not.toContain('INTERNAL');
    expect(refused.stderr).toMatch(/^\[[A-Z_]+\]/m);
  });
});

describeWith('standard streams that are closed', { root: true }, () => {
  test.each(['<&-', '>&-', '2>&-', '<&- >&-', '<&- >&- 2>&-'])('%s', async (closed) => {
    const root = temp.dir('store');
    const mbuild = new Mbuild(root);
    await smallBase(mbuild);
    const dir = writeFiles(temp.dir('context'), {
      Dockerfile: 'FROM small-base\nRUN echo hello\n',
    });
    const env = { HOME: '/root', MBUILD_ROOT: root };
    const made = await shell(`"$MBUILD" build -t a ${dir} ${closed}; echo code $? >&7`, env, [
      'sh',
      '-c',
      'exec 7>&1; exec "$@"',
      'sh',
    ]);
    expect(made.stdout + made.stderr).toContain('code 0');
    expect(made.stderr).not.toContain('INTERNAL');
    expect(await mbuild.ok(['images', '-q'])).toMatch(/^\w{12}\n\w{12}$/);
    const ran = await shell(`"$MBUILD" run --rm a true ${closed}; echo code $? >&7`, env, [
      'sh',
      '-c',
      'exec 7>&1; exec "$@"',
      'sh',
    ]);
    expect(ran.stdout + ran.stderr).toContain('code 0');
  });
});
