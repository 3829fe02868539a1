import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase, smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { Mbuild, MBUILD } from '../support/mbuild';
import { describeWith, findProgram } from '../support/needs';
import { openToOthers, useTemp, writeFiles } from '../support/temp';

const FAILING = `FROM small-base
ENV FIRST=1
WORKDIR /srv
COPY src /srv/src
RUN echo made > /made
USER app
ARG SECOND="two words"
RUN --mount=type=bind,source=src,target=/ctx --mount=type=cache,target=/tmp/cache,uid=1000 --mount=type=secret,id=token,target=/tmp/token,uid=1000 --network=none cat /tmp/token > /tmp/cache/t; echo left > /tmp/left; exit 7
`;
const LOOK =
  'id -un; pwd; echo $FIRST $SECOND; cat /tmp/left /ctx/file /tmp/token; cat /.mbuild/history; ls /tmp/cache\n';
const SEEN = [
  'app',
  '/srv',
  '1 two words',
  'left',
  'file',
  'changed',
  'cat /tmp/token > /tmp/cache/t; echo left > /tmp/left; exit 7',
  't',
];

describeWith('mbuild debug', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  let root: string;
  let context: string;

  beforeEach(async () => {
    root = temp.dir('store');
    mbuild = new Mbuild(root);
    await smallBase(mbuild);
    context = writeFiles(temp.dir('context'), {
      Dockerfile: FAILING,
      'src/file': 'file\n',
      token: 's3cret-value',
      changed: 'changed\n',
    });
  });

  const secret = (file: string): string[] => ['--secret', `id=token,src=${join(context, file)}`];

  /** A build that fails; returns what it printed. */
  async function fail(...flags: string[]): Promise<string> {
    const { code, stderr } = await mbuild.run([
      'build',
      '--progress=plain',
      ...secret('token'),
      ...flags,
      context,
    ]);
    expect(code).toBe(1);
    return stderr;
  }

  /** Runs commands in a step's shell. */
  async function look(args: readonly string[], input: string): Promise<string[]> {
    const { stdout } = await mbuild.run(['debug', ...args], { input });
    return stdout.split('\n').slice(0, -1);
  }

  it('opens a shell in the step that failed, with its user, environment, mounts and history', async () => {
    expect(await fail()).toMatch(/^#\d+ kept for a day: mbuild debug \w+ opens a shell in it$/m);
    writeFiles(context, { 'src/file': 'edited since\n' });
    expect(await look(secret('changed'), LOOK)).toEqual(SEEN);
    expect(await look([], 'cat /proc/net/dev | grep -c :\n')).toEqual(['1']);
  });

  it('writes no value of a secret to the disk', async () => {
    writeFiles(context, {
      Dockerfile: 'FROM small-base\nARG PASSWORD\nRUN echo $PASSWORD | wc -c; false\n',
    });
    await fail('--build-arg', 'PASSWORD=s3cret-value');
    expect(spawnSync('grep', ['-rl', 's3cret-value', join(root, 'kept')]).status).toBe(1);
    const { stdout, stderr } = await mbuild.run(['debug', 'last'], { input: 'echo -$PASSWORD-\n' });
    expect(stdout).toBe('--\n');
    expect(stderr).toContain("PASSWORD is not set: a secret's value was in it");
  });

  it('shows the tree before a step, and after each earlier one', async () => {
    await fail();
    expect(await look(['--before'], 'ls /tmp/left 2>&1; cat /made\n')).toEqual([
      'ls: /tmp/left: No such file or directory',
      'made',
    ]);
    expect(await look([':5'], 'cat /made\n')).toEqual(['made']);
    expect(await look(['--before', ':5'], 'ls /made 2>&1; ls src\n')).toEqual([
      'ls: /made: No such file or directory',
      'file',
    ]);
    expect(await look(['last', ':4', 'ls', '/srv/src'], '')).toEqual(['file']);
  });

  it('shows steps of a build that went well, also those that stand on another stage', async () => {
    writeFiles(context, {
      Dockerfile:
        'FROM small-base AS one\nRUN echo one > /one\nFROM one\nRUN cat /one && echo two > /two\n',
    });
    await mbuild.build([context]);
    expect(await look([], 'cat /one /two\n')).toEqual(['one', 'two']);
    expect(await look(['--before', ':4'], 'ls /one /two 2>&1\n')).toEqual([
      'ls: /two: No such file or directory',
      '/one',
    ]);
  });

  it('changes nothing, and two may stand in one step', async () => {
    await fail();
    const both = await Promise.all([
      look([], 'echo a > /tmp/left; sleep 1; cat /tmp/left\n'),
      look([], 'echo b > /tmp/left; sleep 1; cat /tmp/left\n'),
    ]);
    expect(both).toEqual([['a'], ['b']]);
    expect(await look([], 'cat /tmp/left\n')).toEqual(['left']);
  });

  const busybox = findProgram('busybox');
  if (busybox === undefined) console.log('skipped: shells for scratch need busybox');
  (busybox === undefined ? it.skip : it)(
    "takes the machine's static busybox where the image has no shell, or an image of --tools",
    async () => {
      writeFiles(context, { Dockerfile: 'FROM scratch\nCOPY changed /file\nRUN ["/none"]\n' });
      await fail();
      expect(await look([], 'cat /file; ls /\n')).toEqual(expect.arrayContaining(['changed']));
      expect(await look(['--tools', 'small-base'], 'cat /file\n')).toEqual(['changed']);
      const { code, stderr } = await mbuild.run(['debug'], {
        env: { PATH: temp.dir('empty'), NODE: process.execPath },
      });
      if (code === 127 && stderr.includes('busybox')) expect(stderr).toContain('--tools busybox');
    },
  );

  it('is counted by system df, kept by a collection of garbage, gone after a prune', async () => {
    await fail();
    const df = ['system', 'df', '--format', '{{.Type}} {{.TotalCount}}'];
    expect(await mbuild.ok(df)).toContain('Failed Steps 1');
    await mbuild.ok(['rmi', '-f', 'small-base']);
    expect(await look([], 'cat /tmp/left\n')).toEqual(['left']);
    expect(await mbuild.ok(['builder', 'prune', '--dry-run'])).toContain(
      'Would delete failed steps:\n',
    );
    await mbuild.ok(['prune', '-af']);
    expect(await mbuild.ok(df)).toContain('Failed Steps 0');
    expect(readdirSync(join(root, 'layers'))).toEqual([]);
    const { code, stderr } = await mbuild.run(['debug']);
    expect([code, stderr]).toEqual([125, expect.stringContaining('is gone')]);
  });

  it('keeps what fits into --keep-failed, and nothing at 0', async () => {
    writeFiles(context, {
      Dockerfile: 'FROM small-base\nARG N\nRUN dd if=/dev/zero of=/big bs=1k count=600; false\n',
    });
    expect(await fail('--keep-failed=100k')).toContain('not kept: its files have 614.4kB');
    expect(await fail('--keep-failed=0')).not.toContain('kept');
    await fail('--keep-failed=1m', '--build-arg=N=1');
    await fail('--keep-failed=1m', '--build-arg=N=2');
    expect(readdirSync(join(root, 'kept'))).toHaveLength(1);
    expect(await look(['prev'], 'ls /big\n')).toEqual([]);
    expect(await look(['last'], 'ls /big\n')).toEqual(['/big']);
  });

  const script = findProgram('script');
  if (script === undefined) console.log('skipped: a terminal needs script of util-linux');
  (script === undefined ? it.skip : it)('gives a terminal where there is one', async () => {
    await fail();
    const { stdout } = spawnSync('script', ['-qec', `${MBUILD} debug`, '/dev/null'], {
      encoding: 'utf8',
      input: 'tty; cat /tmp/left; exit\n',
      env: { ...cleanEnv(), MBUILD_ROOT: root, TERM: 'xterm' },
    });
    expect(stdout).toContain('app in /srv, network none, shell /bin/');
    expect(stdout).toContain('/dev/');
    expect(stdout).toMatch(/^left\r$/m);
  });

  (script === undefined ? it.skip : it)(
    'with --on-error=shell a person stands in the step that failed, and decides',
    async () => {
      writeFiles(context, {
        Dockerfile:
          'FROM small-base\nRUN touch /flag; test -e /fixed\nRUN cat /fixed && echo more > /more\n',
      });
      const shown = await converse(
        `${MBUILD} build --on-error=shell -t taken ${context}`,
        { MBUILD_ROOT: root },
        [
          [/ # /, 'ls /flag && touch /dropped; exit'],
          [/or abort\? /, 'retry'],
          [/ # /, 'ls /dropped; echo by-hand > /fixed; exit'],
          [/or abort\? /, 'continue'],
        ],
      );
      expect(shown).toContain('ls: /dropped: No such file or directory');
      expect(shown).toContain('taken as it was left by hand, for this build alone');
      expect(shown).toContain('the image is not what the Dockerfile says');
      expect(await mbuild.ok(['run', '--rm', 'taken', 'cat', '/fixed', '/more'])).toBe(
        'by-hand\nmore',
      );
      // The cache has no record of the step: it fails again.
      expect(await mbuild.ok(['cache', 'ls'])).not.toContain('test -e /fixed');
      const { code, stderr } = await mbuild.run(['build', context]);
      expect([code, stderr]).toEqual([1, expect.stringContaining('test -e /fixed')]);
    },
  );

  it('with --on-error=shell and no terminal the step is kept and named', async () => {
    expect(await fail('--on-error=shell')).toContain('opens a shell in it');
  });

  it('works with a changed root alone', async () => {
    mbuild = new Mbuild(temp.dir('chroot'), { MBUILD_ISOLATION: 'chroot' });
    await smallBase(mbuild);
    writeFiles(context, { Dockerfile: FAILING.replace(' --network=none', '') });
    await fail();
    expect(await look(secret('changed'), LOOK)).toEqual(SEEN);
  });

  const canUse = ['setpriv', 'useradd', 'userdel', 'unshare'].every(
    (name) => findProgram(name) !== undefined,
  );
  if (!canUse) console.log('skipped: an ordinary user needs setpriv, useradd and unshare');

  /** Builds and looks as an ordinary user. */
  function lookAsUser(ranges: boolean, around: readonly string[] = []): string[] {
    const user = 'mbuild-debug-user';
    spawnSync('useradd', ['-M', '-s', '/bin/sh', user]);
    const place = temp.dir('user');
    try {
      if (ranges)
        execFileSync('usermod', [
          ...['--add-subuids', '700000-765535', '--add-subgids', '700000-765535', user],
        ]);
      const own = join(place, 'own');
      mkdirSync(own);
      const tar = smallBaseTar(place);
      openToOthers(place);
      openToOthers(context);
      execFileSync('chown', [user, own]);
      execFileSync('chmod', ['-R', 'a+rX', context, tar]);
      const id = execFileSync('id', ['-u', user]).toString().trim();
      const run = (args: readonly string[], input = ''): string => {
        const [program = '', ...words] = [
          ...around,
          ...['setpriv', '--reuid', id, '--regid', id, '--clear-groups', MBUILD],
          ...args,
        ];
        const env = { ...cleanEnv(), MBUILD_ROOT: join(own, 'store'), TMPDIR: own, HOME: own };
        return spawnSync(program, words, { encoding: 'utf8', input, env }).stdout;
      };
      run(['import', tar, 'small-base']);
      run(['build', ...secret('token'), context]);
      return run(['debug', ...secret('changed')], LOOK)
        .split('\n')
        .slice(0, -1);
    } finally {
      execFileSync('rm', ['-rf', join(place, 'own')]);
      execFileSync('userdel', [user]);
    }
  }

  (canUse ? it : it.skip)('works in a user namespace', () => {
    expect(lookAsUser(true)).toEqual(SEEN);
  });

  (canUse ? it : it.skip)('works with one id', () => {
    expect(lookAsUser(false)).toEqual(SEEN);
  });

  (canUse && findProgram('proot') !== undefined ? it : it.skip)('works with proot', () => {
    writeFiles(context, { Dockerfile: FAILING.replace(' --network=none', '') });
    const place = temp.dir('changed-root');
    const script = `mount --rbind / ${place} && exec chroot ${place} "$@"`;
    expect(lookAsUser(false, ['unshare', '--mount', 'sh', '-c', script, 'sh'])).toEqual(SEEN);
    expect(existsSync(join(place, 'etc'))).toBe(false);
  });
});

/** Runs a command on a terminal, and answers each prompt in turn. Returns all that was shown. */
function converse(
  line: string,
  env: Readonly<Record<string, string>>,
  answers: readonly (readonly [prompt: RegExp, answer: string])[],
): Promise<string> {
  const child = spawn('script', ['-qec', line, '/dev/null'], {
    env: { ...cleanEnv(), TERM: 'dumb', ...env },
  });
  let [shown, unseen, next] = ['', '', 0];
  return new Promise((resolve, reject) => {
    // A prompt that does not come shows in what was printed until then.
    const timer = setTimeout(() => child.kill(), 60_000);
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(timer);
      resolve(shown);
    });
    child.stdout.on('data', (data: Buffer) => {
      shown += data.toString();
      unseen += data.toString();
      const [prompt, answer] = answers[next] ?? [];
      if (prompt === undefined || !prompt.test(unseen)) return;
      next++;
      unseen = '';
      child.stdin.write(`${answer}\n`);
    });
  });
}
