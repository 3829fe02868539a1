import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command, succeed } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';

jest.setTimeout(120_000);

describeWith('containers', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  // Whatever a test has left: no process of a container outlives this.
  afterEach(async () => {
    const all = (await mbuild.ok(['ps', '-aq'])).split('\n').filter(Boolean);
    if (all.length > 0) await mbuild.ok(['rm', '-f', '-v', ...all]);
  });
  afterAll(() => expect(mountsLeft(mbuild.root)).toEqual([]));

  it('go with a prune that was agreed to, but for those that do not stand still', async () => {
    await mbuild.ok(['run', '--name', 'kept', '--label', 'keep', 'small-base', 'true']);
    await mbuild.ok([
      'create',
      '--name',
      'started',
      'small-base',
      'sh',
      '-c',
      'while :; do sleep 1; done',
    ]);
    await changed('head -c 1000 /dev/zero > /x');
    expect(await mbuild.run(['container', 'prune'], { input: 'n\n' })).toMatchObject({
      code: 1,
      stdout:
        'WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ',
    });
    expect(await mbuild.ok(['container', 'prune', '--dry-run', '--filter', 'label!=keep'])).toMatch(
      /^Would delete Containers:\n(?:[0-9a-f]{64}\n){2}\nTotal reclaimable space: /,
    );
    const child = spawn(MBUILD, ['container', 'prune', '--filter', 'label!=keep'], {
      env: cleanEnv({ MBUILD_ROOT: mbuild.root }),
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let printed = '';
    const ended = once(child, 'close');
    await new Promise<void>((resolve) =>
      child.stdout.on('data', (data: Buffer) => {
        printed += data.toString();
        if (printed.includes('[y/N]')) resolve();
      }),
    );
    await mbuild.ok(['start', 'started']);
    child.stdin.end('y\n');
    await ended;
    expect(printed).toMatch(
      /\[y\/N\] Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed space: 1kB\n$/,
    );
    expect((await mbuild.ok(['ps', '-a', '--format', '{{.Names}}'])).split('\n').sort()).toEqual([
      'kept',
      'started',
    ]);
  });

  /** A file system with a change in it: the id of a stopped container. */
  async function changed(script: string, ...flags: string[]): Promise<string> {
    const name = `c${Math.random().toString(36).slice(2)}`;
    await mbuild.ok(['run', '--name', name, ...flags, 'small-base', 'sh', '-c', script]);
    return name;
  }

  /** A container that runs in the background; it has executed its command, and said `ready`. */
  async function running(script: string, ...flags: string[]): Promise<string> {
    const id = await mbuild.ok(['run', '-d', ...flags, 'small-base', 'sh', '-c', `${script}`]);
    await until(async () => (await mbuild.run(['logs', id])).stdout.includes('ready'));
    return id;
  }

  describe('run', () => {
    it('passes on both outputs and the exit code', async () => {
      expect(
        await mbuild.run([
          'run',
          '--rm',
          'small-base',
          'sh',
          '-c',
          'echo out; echo err >&2; exit 7',
        ]),
      ).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' });
    });

    it('passes standard input on with -i, and only then', async () => {
      expect(
        (await mbuild.run(['run', '--rm', '-i', 'small-base', 'cat'], { input: 'typed\n' })).stdout,
      ).toBe('typed\n');
      expect(
        (
          await mbuild.run(['run', '--rm', '-i', 'small-base', 'cat', '/dev/stdin'], {
            input: 'typed\n',
          })
        ).stdout,
      ).toBe('typed\n');
      expect(
        (await mbuild.run(['run', '--rm', 'small-base', 'cat'], { input: 'typed\n' })).stdout,
      ).toBe('');
    });

    it('with -t passes on all that is written before the terminal is closed', async () => {
      const runs = await Promise.all(
        Array.from({ length: 6 }, () =>
          mbuild.run([
            'run',
            '--rm',
            '-t',
            'small-base',
            'sh',
            '-c',
            'stty -opost; seq 100000 130000; echo END',
          ]),
        ),
      );
      expect(runs.map(({ code, stdout }) => [code, stdout.length, stdout.slice(-4)])).toEqual(
        runs.map(() => [0, 30001 * 7 + 4, 'END\n']),
      );
    });

    it('with -t ends when nobody reads its output any more', async () => {
      const { stdout, stderr } = await command(
        'sh',
        ['-c', '"$0" run --rm -t small-base seq 1 100000 | head -n 1', MBUILD],
        { env: { PATH: process.env['PATH'] ?? '', MBUILD_ROOT: mbuild.root } },
      );
      expect([stdout, stderr]).toEqual(['1\r\n', '']);
    });

    it('passes bytes on as they are', async () => {
      const bytes = Buffer.from(Array.from({ length: 256 * 1024 }, (_, i) => (i * 7) % 256));
      const file = join(temp.dir(), 'bytes');
      await succeed('sh', ['-c', `"$0" run --rm -i small-base cat > "$1"`, MBUILD, file], {
        input: bytes,
        env: { PATH: process.env['PATH'] ?? '', MBUILD_ROOT: mbuild.root },
      });
      expect(readFileSync(file).equals(bytes)).toBe(true);
    });

    it.each([
      [['small-base', 'no-such-program'], 127, /no-such-program/],
      [['small-base', '/no/such/program'], 127, /\/no\/such\/program/],
      [['small-base', '/etc'], 126, /permission denied/],
      [['small-base'], 125, /no command specified/],
      [['--user', 'nobody-there', 'small-base', 'true'], 125, /nobody-there/],
      [['--no-such-flag', 'small-base', 'true'], 125, /--no-such-flag/],
      [['--privileged', 'small-base', 'true'], 125, /--privileged is not supported/],
      [['--pull', 'never', 'no-such-image', 'true'], 125, /no-such-image/],
      [['--cap-add', 'FLYING', 'small-base', 'true'], 125, /FLYING/],
      [['-v', 'a:b:c:d', 'small-base', 'true'], 125, /--volume/],
      [['-p', 'nonsense', 'small-base', 'true'], 125, /--publish/],
      [['-t', '-i', 'small-base', 'true'], 125, /not a TTY/],
    ])('%j ends with %d', async (args, code, message) => {
      const result = await mbuild.run(['run', '--rm', ...args]);
      expect(result.code).toBe(code);
      expect(result.stderr).toMatch(message);
    });

    it('takes the entrypoint, the command, the variables, the directory and the user of the image, and of the command line', async () => {
      const dir = writeFiles(temp.dir(), {
        Dockerfile:
          'FROM small-base\nENV A=image B=image\nWORKDIR /work\nUSER app\nENTRYPOINT ["sh", "-c"]\nCMD ["echo $A $B; pwd; id -un"]\n',
      });
      await mbuild.build(['-t', 'configured', dir]);
      expect(await mbuild.ok(['run', '--rm', 'configured'])).toBe('image image\n/work\napp');
      expect(
        await mbuild.ok(['run', '--rm', '-e', 'B=given', '-w', '/tmp', '-u', '0', 'configured']),
      ).toBe('image given\n/tmp\nroot');
      expect(await mbuild.ok(['run', '--rm', 'configured', 'echo words'])).toBe('words');
      expect(
        await mbuild.ok(['run', '--rm', '--entrypoint', 'echo', 'configured', 'other', 'words']),
      ).toBe('other words');
      expect(
        await mbuild.ok(
          [
            'run',
            '--rm',
            '-e',
            'FROM_HERE',
            '-e',
            'NOT_HERE',
            'configured',
            'echo $FROM_HERE-${NOT_HERE-unset}',
          ],
          { env: { FROM_HERE: 'here' } },
        ),
      ).toBe('here-unset');
    });

    it('makes a working directory that is not there', async () => {
      expect(await mbuild.ok(['run', '--rm', '-w', '/not/there', 'small-base', 'pwd'])).toBe(
        '/not/there',
      );
    });

    it('has its id as the host name, and the files of the network', async () => {
      const out = await mbuild.ok([
        'run',
        '--rm',
        '--add-host',
        'db:10.1.2.3',
        'small-base',
        'sh',
        '-c',
        'hostname; cat /etc/hostname; grep -c "$(hostname)" /etc/hosts; grep db /etc/hosts',
      ]);
      const [name, file, lines, db] = out.split('\n');
      expect([name?.length, file, lines, db]).toEqual([12, name, '1', '10.1.2.3\tdb']);
      expect(await mbuild.ok(['run', '--rm', '--hostname', 'box', 'small-base', 'hostname'])).toBe(
        'box',
      );
    });

    it('never writes to the layers of the image', async () => {
      await changed('echo changed > /etc/passwd; rm -r /home');
      expect(
        await mbuild.ok(['run', '--rm', 'small-base', 'sh', '-c', 'head -1 /etc/passwd; ls /home']),
      ).toBe('root:x:0:0:root:/root:/bin/sh\napp');
    });

    it('lets an ordinary user open its streams', async () => {
      expect(
        await mbuild.run([
          'run',
          '--rm',
          '-u',
          'app',
          'small-base',
          'sh',
          '-c',
          'echo out > /dev/stdout; echo err > /dev/stderr',
        ]),
      ).toEqual({ code: 0, stdout: 'out\n', stderr: 'err\n' });
    });

    it('keeps the container, unless it is told to remove it', async () => {
      await mbuild.ok(['run', '--name', 'kept', 'small-base', 'true']);
      await mbuild.ok(['run', '--rm', '--name', 'gone', 'small-base', 'true']);
      expect(await mbuild.ok(['ps', '-a', '--format', '{{.Names}} {{.State}}'])).toBe(
        'kept exited',
      );
      expect((await mbuild.run(['run', '--name', 'kept', 'small-base', 'true'])).stderr).toMatch(
        /kept is in use/,
      );
    });

    it.each([
      ['SIGTERM', 'echo ready; sleep 1000', 143],
      ['SIGINT', 'echo ready; sleep 1000', 130],
      [
        'SIGTERM',
        'trap "trap - TERM; kill -TERM $$" TERM; echo ready; while :; do sleep 0.1; done',
        143,
      ],
      ['SIGTERM', 'trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.1; done', 5],
    ] as const)('hands %s on to `%s`', async (signal, script, code) => {
      let pid = 0;
      let ready = false;
      const ended = mbuild.run(['run', '--rm', 'small-base', 'sh', '-c', script], {
        onStart: (started) => (pid = started),
        onStdout: () => (ready = true),
      });
      await until(() => ready);
      process.kill(pid, signal);
      expect((await ended).code).toBe(code);
      expect(await mbuild.ok(['ps', '-aq'])).toBe('');
    });

    it('ends what the command left running', async () => {
      const mark = `61${process.pid}`;
      await mbuild.ok(['run', '--rm', 'small-base', 'sh', '-c', `sleep ${mark} & echo started`]);
      expect((await command('pgrep', ['-f', `sleep ${mark}`])).stdout).toBe('');
    });

    it('dies with the mbuild that watches it', async () => {
      let pid = 0;
      let ready = false;
      const ended = mbuild.run(
        ['run', '--name', 'orphan', 'small-base', 'sh', '-c', 'echo ready; sleep 1000'],
        { onStart: (started) => (pid = started), onStdout: () => (ready = true) },
      );
      await until(() => ready);
      process.kill(pid, 'SIGKILL');
      await ended;
      expect(await mbuild.ok(['ps', '-a', '--format', '{{.Names}} {{.State}}'])).toBe(
        'orphan exited',
      );
    });

    it('has its limits again when what ran it was killed, and leaves no control group in the end', async () => {
      for (const args of [
        [
          'run',
          '--name',
          'limited',
          '--pids-limit',
          '50',
          'small-base',
          'sh',
          '-c',
          'echo ready; sleep 1000',
        ],
        ['start', '-a', 'limited'],
      ]) {
        let pid = 0;
        let ready = false;
        const ended = mbuild.run(args, {
          onStart: (started) => (pid = started),
          onStdout: () => (ready = true),
        });
        await until(() => ready);
        process.kill(pid, 'SIGKILL');
        expect((await ended).stderr).not.toContain('EEXIST');
      }
      const id = await mbuild.ok(['inspect', '--format', '{{.Id}}', 'limited']);
      await mbuild.ok(['rm', 'limited']);
      expect(await succeed('find', ['/sys/fs/cgroup', '-name', `mbuild-${id}`])).toBe('');
    });

    it('stops reading when nobody reads what it prints', async () => {
      const { stdout } = await command(
        'sh',
        ['-c', '"$0" run --rm small-base yes | head -1', MBUILD],
        { env: { PATH: process.env['PATH'] ?? '', MBUILD_ROOT: mbuild.root } },
      );
      expect(stdout).toBe('y\n');
    });
  });

  describe('mounts and rights', () => {
    it('shows a directory or a file of the host, read-only when asked', async () => {
      const dir = writeFiles(temp.dir(), { 'in/file': 'content', single: 'one' });
      const { stdout, stderr } = await mbuild.run([
        'run',
        '--rm',
        '-v',
        `${dir}/in:/a`,
        '-v',
        `${dir}/in:/b:ro`,
        '-v',
        `${dir}/single:/etc/single`,
        'small-base',
        'sh',
        '-c',
        'cat /a/file /etc/single; echo new > /a/new; echo no > /b/no',
      ]);
      expect(stdout).toBe('contentone');
      expect(stderr).toMatch(/Read-only file system/);
      expect(readdirSync(join(dir, 'in')).sort()).toEqual(['file', 'new']);
    });

    it('keeps a volume by its name, and fills a new one with what the image has there', async () => {
      await mbuild.ok([
        'run',
        '--rm',
        '-v',
        'shared:/home',
        'small-base',
        'sh',
        '-c',
        'echo kept > /home/app/file',
      ]);
      expect(
        await mbuild.ok([
          'run',
          '--rm',
          '-v',
          'shared:/mnt',
          'small-base',
          'sh',
          '-c',
          'cat /mnt/app/file; stat -c %u /mnt/app',
        ]),
      ).toBe('kept\n1000');
    });

    it('gives each container a volume of its own for a VOLUME of the image', async () => {
      const dir = writeFiles(temp.dir(), {
        Dockerfile: 'FROM small-base\nRUN mkdir /data && echo image > /data/file\nVOLUME /data\n',
      });
      await mbuild.build(['-t', 'with-volume', dir]);
      await mbuild.ok([
        'run',
        '--name',
        'first',
        'with-volume',
        'sh',
        '-c',
        'echo mine > /data/file',
      ]);
      expect(await mbuild.ok(['run', '--rm', 'with-volume', 'cat', '/data/file'])).toBe('image');
      expect(await mbuild.ok(['diff', 'first'])).toBe('');
      const volumes = (): string[] =>
        readdirSync(join(mbuild.root, 'volumes')).filter((name) => /^[0-9a-f]{64}$/.test(name));
      expect(volumes()).toHaveLength(1);
      await mbuild.ok(['rm', '-v', 'first']);
      expect(volumes()).toEqual([]);
    });

    it('has a file system in memory with --tmpfs, and none to write to with --read-only', async () => {
      const { stdout, stderr } = await mbuild.run([
        'run',
        '--rm',
        '--read-only',
        '--tmpfs',
        '/scratch:size=1m',
        'small-base',
        'sh',
        '-c',
        'echo x > /scratch/file && df -k /scratch | tail -1 | awk "{print \\$2}"; echo x > /file',
      ]);
      expect(stdout).toBe('1024\n');
      expect(stderr).toMatch(/Read-only file system/);
    });

    it.each([
      [[], '00000000800405fb'],
      [['--cap-drop', 'ALL'], '0000000000000000'],
      [['--cap-drop', 'ALL', '--cap-add', 'NET_RAW'], '0000000000002000'],
    ])('has the capabilities of %j', async (flags, wanted) => {
      expect(
        await mbuild.ok([
          'run',
          '--rm',
          ...flags,
          'small-base',
          'grep',
          'CapEff',
          '/proc/self/status',
        ]),
      ).toBe(`CapEff:\t${wanted}`);
    });

    it('cannot open the program that set it up, nor anything of the host by way of it', async () => {
      const out = await mbuild.run([
        'run',
        '--rm',
        'small-base',
        'sh',
        '-c',
        'printf "#!/proc/self/exe\\n" > /x; chmod +x /x; /x; ls -l /proc/1/exe; (: > /proc/1/exe) 2>&1; ls /proc/1/fd | tr "\\n" " "',
      ]);
      expect(out.stdout).toMatch(/\/proc\/1\/exe -> \/bin\/busybox/);
      expect(out.stdout).toMatch(/Text file busy/);
    });

    it('limits processes, where the machine lets it', async () => {
      const { stdout, stderr } = await mbuild.run([
        'run',
        '--rm',
        '--pids-limit',
        '8',
        'small-base',
        'sh',
        '-c',
        '(for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done) 2>&1; true',
      ]);
      if (!stderr.includes('cannot be set on this machine')) expect(stdout).toMatch(/fork/);
    });

    it('sees its own control group as the first, in which programs look for their limits', async () => {
      expect(
        await mbuild.ok([
          'run',
          '--rm',
          '--pids-limit',
          '50',
          '--memory',
          '100m',
          'small-base',
          'sh',
          '-c',
          "grep -v ':/$' /proc/self/cgroup || echo own",
        ]),
      ).toBe('own');
    });
  });

  describe('in the background', () => {
    it('runs until it ends, with its state, its log and its exit code', async () => {
      const id = await running(
        'echo ready; echo oops >&2; while [ ! -e /go ]; do sleep 0.05; done; exit 4',
        '--name',
        'back',
      );
      expect(id).toMatch(/^[0-9a-f]{64}$/);
      expect(
        await mbuild.ok([
          'ps',
          '--no-trunc',
          '--format',
          '{{.ID}} {{.Names}} {{.Image}} {{.State}}',
        ]),
      ).toBe(`${id} back small-base running`);
      // It may end with the container.
      await mbuild.run(['exec', 'back', 'touch', '/go']);
      expect(await mbuild.ok(['wait', 'back'])).toBe('4');
      expect(await mbuild.ok(['ps', '-q'])).toBe('');
      expect(await mbuild.ok(['ps', '-a', '--format', '{{.Status}}'])).toMatch(
        /^Exited \(4\) .* ago$/,
      );
      expect(await mbuild.run(['logs', 'back'])).toEqual({
        code: 0,
        stdout: 'ready\n',
        stderr: 'oops\n',
      });
    });

    it('says at once when the command cannot be executed', async () => {
      const result = await mbuild.run(['run', '-d', 'small-base', 'no-such-program']);
      expect(result).toMatchObject({
        code: 127,
        stdout: '',
        stderr: expect.stringMatching(/no-such-program/),
      });
    });

    it('shows the last lines of a log, with times, and follows it to the end', async () => {
      await running(
        'for i in 1 2 3; do echo line $i; done; echo ready; while [ ! -e /go ]; do sleep 0.05; done; echo last',
        '--name',
        'talker',
      );
      expect(await mbuild.ok(['logs', '--tail', '2', 'talker'])).toBe('line 3\nready');
      expect(await mbuild.ok(['logs', '-t', '--tail', '1', 'talker'])).toMatch(
        /^\d{4}-\d\d-\d\dT[\d:.]+Z ready$/,
      );
      let go: Promise<unknown> | undefined;
      const followed = mbuild.ok(['logs', '-f', '--tail', '1', 'talker'], {
        onStdout: () => (go ??= mbuild.run(['exec', 'talker', 'touch', '/go'])),
      });
      expect(await followed).toBe('ready\nlast');
      await go;
    });

    it('stops by the signal of the image, or by force when that is ignored', async () => {
      const polite = await running(
        'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done',
      );
      await mbuild.ok(['stop', polite]);
      expect(await mbuild.ok(['wait', polite])).toBe('3');
      const deaf = await running('trap "" TERM; echo ready; while :; do sleep 0.1; done');
      await mbuild.ok(['stop', '-t', '0', deaf]);
      expect(await mbuild.ok(['wait', deaf])).toBe('137');
      const plain = await running('echo ready; exec sleep 1000');
      await mbuild.ok(['stop', plain]);
      expect(await mbuild.ok(['wait', plain])).toBe('143');
    });

    it('gets any signal by kill', async () => {
      const id = await running('trap "echo got it" USR1; echo ready; while :; do sleep 0.1; done');
      await mbuild.ok(['kill', '-s', 'USR1', id]);
      await until(async () => (await mbuild.ok(['logs', id])).includes('got it'));
      await mbuild.ok(['kill', id]);
      expect(await mbuild.ok(['wait', id])).toBe('137');
      expect((await mbuild.run(['kill', id])).stderr).toMatch(/is not running/);
    });

    it('starts again with what it had written', async () => {
      const name = await changed('cat /count 2>/dev/null; echo x >> /count');
      await mbuild.ok(['start', name]);
      await mbuild.ok(['wait', name]);
      expect((await mbuild.run(['start', '-a', name])).stdout).toBe('x\nx\n');
    });

    it('is not removed while it runs, unless forced', async () => {
      const id = await running('echo ready; sleep 1000');
      expect(await mbuild.run(['rm', id])).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/is running/),
      });
      expect(await mbuild.ok(['rm', '-f', id])).toBe(id);
      expect(await mbuild.ok(['ps', '-aq'])).toBe('');
      expect(readdirSync(join(mbuild.root, 'containers'))).toEqual([]);
    });

    it('is gone by itself with --rm', async () => {
      await running('echo ready; sleep 0.5', '--rm');
      await until(async () => (await mbuild.ok(['ps', '-aq'])) === '');
      expect(readdirSync(join(mbuild.root, 'containers'))).toEqual([]);
    });

    it('is found by a part of its id, and a wrong name is answered with a near one', async () => {
      const id = await running('echo ready; sleep 1000', '--name', 'findable');
      expect(await mbuild.ok(['logs', id.slice(0, 6)])).toBe('ready');
      expect((await mbuild.run(['logs', 'findible'])).stderr).toMatch(/findable/);
    });

    it.each([
      [['status=running'], ['one']],
      [['name=tw'], ['two']],
      [['label=kind=b'], ['two']],
      [['ancestor=small-base', 'exited=0'], ['two']],
      [['since=one'], ['two']],
    ])('is listed by %j', async (filters, names) => {
      await running('echo ready; sleep 1000', '--name', 'one', '--label', 'kind=a');
      await mbuild.ok(['run', '--name', 'two', '--label', 'kind=b', 'small-base', 'true']);
      const out = await mbuild.ok([
        'ps',
        '-a',
        '--format',
        '{{.Names}}',
        ...filters.flatMap((filter) => ['-f', filter]),
      ]);
      expect(out.split('\n')).toEqual(names);
    });
  });

  it('is inspected as docker shows it', async () => {
    await mbuild.run([
      'run',
      '--name',
      'seen',
      '-e',
      'A=b',
      '-v',
      'vol:/data:ro',
      '-l',
      'k=v',
      'small-base',
      'sh',
      '-c',
      'exit 3',
    ]);
    const [view] = JSON.parse(await mbuild.ok(['inspect', 'seen'])) as Record<string, unknown>[];
    expect(view).toMatchObject({
      Id: expect.stringMatching(/^[0-9a-f]{64}$/),
      Name: '/seen',
      Path: 'sh',
      Args: ['-c', 'exit 3'],
      Image: (await mbuild.inspect('small-base')).Id,
      State: { Status: 'exited', Running: false, ExitCode: 3, Pid: 0 },
      Config: { Image: 'small-base', Env: ['A=b'], Labels: { k: 'v' } },
      Mounts: [{ Type: 'volume', Name: 'vol', Destination: '/data', RW: false }],
    });
    expect(await mbuild.ok(['inspect', '-f', '{{.State.ExitCode}} {{.Config.Tty}}', 'seen'])).toBe(
      '3 false',
    );
    expect((await mbuild.run(['inspect', '--type', 'image', 'seen'])).stderr).toMatch(
      /no such image/,
    );
  });

  describe('exec', () => {
    it('runs a command in all namespaces of the container', async () => {
      const id = await running(
        'echo shared > /file; echo ready; sleep 1000',
        '-e',
        'A=b',
        '--hostname',
        'inside',
      );
      expect(
        await mbuild.ok([
          'exec',
          id,
          'sh',
          '-c',
          'cat /file; echo $A; hostname; tr "\\0" " " < /proc/1/cmdline',
        ]),
      ).toMatch(/^shared\nb\ninside\nsleep 1000/);
      for (const kind of ['pid', 'mnt', 'ipc', 'uts', 'net']) {
        const inside = await mbuild.ok([
          'exec',
          id,
          'sh',
          '-c',
          `readlink /proc/1/ns/${kind}; readlink /proc/self/ns/${kind}`,
        ]);
        expect(new Set(inside.split('\n')).size).toBe(1);
      }
      const caps = await mbuild.ok([
        'exec',
        id,
        'sh',
        '-c',
        'grep CapEff /proc/1/status /proc/self/status | cut -d: -f3',
      ]);
      expect(new Set(caps.split('\n').map((line) => line.trim())).size).toBe(1);
    });

    it('has the exit codes of run, and the user, directory, variables and input that it is given', async () => {
      const id = await running('echo ready; sleep 1000');
      expect((await mbuild.run(['exec', id, 'sh', '-c', 'exit 9'])).code).toBe(9);
      expect((await mbuild.run(['exec', id, 'nope'])).code).toBe(127);
      expect((await mbuild.run(['exec', id, '/etc'])).code).toBe(126);
      expect((await mbuild.run(['exec', 'no-such-container', 'true'])).code).toBe(125);
      expect(
        await mbuild.ok(
          [
            'exec',
            '-i',
            '-u',
            'app',
            '-w',
            '/tmp',
            '-e',
            'X=1',
            id,
            'sh',
            '-c',
            'id -un; pwd; echo $X; cat',
          ],
          { input: 'typed' },
        ),
      ).toBe('app\n/tmp\n1\ntyped');
    });

    it('has no more rights than the container was given, and sees no more of the host', async () => {
      const id = await running(
        'echo ready; sleep 1000',
        '--no-new-privileges',
        '--cap-drop',
        'ALL',
        '--ulimit',
        'nofile=77',
      );
      const facts = [
        'sh',
        '-c',
        'grep -E "NoNewPrivs|Seccomp:|CapBnd|CapEff" /proc/self/status; ulimit -n; for name in cgroup ipc mnt net pid uts user; do readlink /proc/self/ns/$name; done',
      ];
      const first = await mbuild.ok([
        'exec',
        id,
        'sh',
        '-c',
        'grep -E "NoNewPrivs|Seccomp:|CapBnd|CapEff" /proc/1/status; ulimit -n; for name in cgroup ipc mnt net pid uts user; do readlink /proc/1/ns/$name; done',
      ]);
      expect(await mbuild.ok(['exec', id, ...facts])).toBe(first);
      expect(first).toMatch(/NoNewPrivs:\t1/);
    });

    it('is refused where nothing runs', async () => {
      const name = await changed('true');
      expect(await mbuild.run(['exec', name, 'true'])).toMatchObject({
        code: 125,
        stderr: expect.stringMatching(/is not running/),
      });
    });
  });

  describe('diff, commit and export', () => {
    it('tells additions, changes and deletions', async () => {
      const name = await changed(
        'echo a > /new; mkdir -p /dir/in; rm /etc/group; chmod 700 /home; rm -r /var; mkdir /var; touch /var/x',
      );
      expect((await mbuild.ok(['diff', name])).split('\n')).toEqual([
        'A /dir',
        'A /dir/in',
        'C /etc',
        'D /etc/group',
        'C /home',
        'A /new',
        'C /var',
        'D /var/tmp',
        'A /var/x',
      ]);
    });

    it('makes an image with the change on top, and leaves the old one as it is', async () => {
      const name = await changed(
        'echo a > /new; ln /new /second; rm /etc/group; chown 7:8 /new; chmod 4755 /new',
        '-e',
        'GIVEN=yes',
      );
      const id = await mbuild.ok([
        'commit',
        '-m',
        'a message',
        '-a',
        'Ada',
        '-c',
        'ENV B=c',
        '-c',
        'CMD ["cat", "/new"]',
        '-c',
        'EXPOSE 80',
        name,
        'changed:1',
      ]);
      const [before, after] = [
        await mbuild.inspect('small-base'),
        await mbuild.inspect('changed:1'),
      ];
      expect(after.Id).toBe(id);
      expect(after.RootFS.Layers.slice(0, -1)).toEqual(before.RootFS.Layers);
      expect(after.Config).toMatchObject({
        Env: ['GIVEN=yes', 'B=c'],
        Cmd: ['cat', '/new'],
        ExposedPorts: { '80/tcp': {} },
      });
      expect(await mbuild.ok(['run', '--rm', 'changed:1'])).toBe('a');
      expect(
        await mbuild.ok([
          'run',
          '--rm',
          'changed:1',
          'sh',
          '-c',
          'stat -c "%a %u %g %h" /new; ls /etc/group 2>&1 | wc -l; test /new -ef /second && echo linked',
        ]),
      ).toBe('4755 7 8 2\n1\nlinked');
      expect((await mbuild.run(['run', '--rm', 'small-base', 'cat', '/new'])).code).toBe(1);
      expect(await mbuild.ok(['history', '--format', '{{.Comment}}', 'changed:1'])).toMatch(
        /^a message/,
      );
    });

    it('makes an image of a container that runs, which goes on', async () => {
      const id = await running('echo a > /new; echo ready; while :; do sleep 0.1; done');
      await mbuild.ok(['commit', id, 'of-running']);
      expect(await mbuild.ok(['run', '--rm', 'of-running', 'cat', '/new'])).toBe('a');
      expect(await mbuild.ok(['exec', id, 'echo', 'alive'])).toBe('alive');
    });

    it('adds no layer where nothing changed', async () => {
      const name = await changed('true');
      await mbuild.ok(['commit', name, 'same']);
      expect((await mbuild.inspect('same')).RootFS).toEqual(
        (await mbuild.inspect('small-base')).RootFS,
      );
    });

    it.each([
      ['RUN true', /RUN cannot be/],
      ['COPY a b', /COPY cannot be/],
      ['NONSENSE', /NONSENSE/],
      ['ENV', /ENV/],
    ])('refuses --change %j', async (change, message) => {
      const name = await changed('true');
      const result = await mbuild.run(['commit', '-c', change, name]);
      expect(result.code).toBe(1);
      expect(result.stderr).toMatch(message);
    });

    it('writes the whole file system as a tar, without what the sandbox brought', async () => {
      const name = await changed('echo a > /new; rm /etc/group');
      const tar = join(temp.dir(), 'root.tar');
      await mbuild.ok(['export', '-o', tar, name]);
      const names = (await succeed('tar', ['tf', tar])).split('\n');
      expect(names).toEqual(expect.arrayContaining(['new', 'etc/passwd', 'bin/sh']));
      expect(
        names.filter((entry) =>
          /^(etc\/(group|hosts|hostname|resolv.conf)|proc\/.+|sys\/.+|dev\/.+)$/.test(entry),
        ),
      ).toEqual([]);
      await mbuild.ok(['import', '-c', 'CMD ["cat", "/new"]', tar, 'imported']);
      expect(await mbuild.ok(['run', '--rm', 'imported'])).toBe('a');
    });

    it('keeps an image that a container stands on', async () => {
      await mbuild.ok(['tag', 'small-base', 'only-name']);
      const name = await changed('echo a > /new');
      await mbuild.ok(['commit', name, 'to-be-removed']);
      await mbuild.ok(['run', '--name', 'user', 'to-be-removed', 'true']);
      expect(await mbuild.run(['rmi', 'to-be-removed'])).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/IMAGE_IN_USE/),
      });
      await mbuild.ok(['rmi', '-f', 'to-be-removed']);
      await mbuild.ok(['start', '-a', 'user']);
      await mbuild.ok(['commit', 'user', 'again']);
      expect(await mbuild.ok(['run', '--rm', 'again', 'cat', '/new'])).toBe('a');
    });
  });

  describe.each(['running', 'stopped'])('cp with a %s container', (state) => {
    let name: string;
    let host: string;

    beforeEach(async () => {
      const script =
        'mkdir -p /dir/sub; echo in > /dir/file; ln -s / /dir/up; ln -s "$HOST" /escape; ln -s /etc /link';
      host = writeFiles(temp.dir('host'), {
        file: 'from the host',
        'tree/a': 'a',
        'tree/sub/b': 'b',
      });
      symlinkSync('/etc/shadow', join(host, 'tree/link'));
      const flags = ['-e', `HOST=${host}`];
      name =
        state === 'running'
          ? await running(`${script}; echo ready; while :; do sleep 0.1; done`, ...flags)
          : await changed(script, ...flags);
    });

    const read = (path: string): string => readFileSync(join(host, path), 'utf8');
    const inside = async (path: string): Promise<string> => {
      await mbuild.ok(['cp', `${name}:${path}`, join(host, 'read-back')]);
      return read('read-back');
    };

    it('copies a file out: to a new name, over a file, into a directory', async () => {
      await mbuild.ok(['cp', `${name}:/dir/file`, join(host, 'copy')]);
      await mbuild.ok(['cp', `${name}:/dir/file`, join(host, 'file')]);
      await mbuild.ok(['cp', `${name}:dir/file`, join(host, 'tree')]);
      expect([read('copy'), read('file'), read('tree/file')]).toEqual(['in\n', 'in\n', 'in\n']);
    });

    it('copies a file in: to a new name, over a file, into a directory', async () => {
      await mbuild.ok(['cp', join(host, 'file'), `${name}:/new`]);
      await mbuild.ok(['cp', join(host, 'file'), `${name}:/dir/file`]);
      await mbuild.ok(['cp', join(host, 'file'), `${name}:/tmp`]);
      expect([await inside('/new'), await inside('/dir/file'), await inside('/tmp/file')]).toEqual(
        Array(3).fill('from the host'),
      );
    });

    it('copies directories as a whole, or their contents', async () => {
      await mbuild.ok(['cp', join(host, 'tree'), `${name}:/made`]);
      await mbuild.ok(['cp', join(host, 'tree'), `${name}:/dir`]);
      await mbuild.ok(['cp', `${host}/tree/.`, `${name}:/tmp`]);
      expect([
        await inside('/made/sub/b'),
        await inside('/dir/tree/a'),
        await inside('/tmp/sub/b'),
      ]).toEqual(['b', 'a', 'b']);
      await mbuild.ok(['cp', `${name}:/dir/.`, join(host, 'out')]);
      expect(readdirSync(join(host, 'out')).sort()).toEqual(['file', 'sub', 'tree', 'up']);
    });

    it('copies a tar out of and into standard streams', async () => {
      const tar = await mbuild.run(['cp', `${name}:/dir/file`, '-']);
      expect(tar.stdout.slice(0, 4)).toBe('file');
      const made = await command(
        'sh',
        ['-c', 'tar c -C "$2" file | "$0" cp - "$1":/tmp', MBUILD, name, host],
        { env: { PATH: process.env['PATH'] ?? '', MBUILD_ROOT: mbuild.root } },
      );
      expect(made.code).toBe(0);
      expect(await inside('/tmp/file')).toBe('from the host');
    });

    it('follows the links of the container inside the container alone', async () => {
      const before = statSync(host).mtimeMs;
      expect((await mbuild.run(['cp', '/etc/hostname', `${name}:/escape/written`])).code).not.toBe(
        0,
      );
      expect(
        (await mbuild.run(['cp', `${name}:/escape/file`, join(temp.dir(), 'x')])).stderr,
      ).toMatch(/no such file/);
      expect(statSync(host).mtimeMs).toBe(before);
      await mbuild.ok(['cp', join(host, 'file'), `${name}:/dir/up/tmp/through`]);
      await mbuild.ok(['cp', join(host, 'file'), `${name}:/link/through`]);
      expect([await inside('/tmp/through'), await inside('/etc/through')]).toEqual(
        Array(2).fill('from the host'),
      );
    });

    it.each([
      ['CONTAINER:/nope', '.', /nope/],
      ['/no/such/file', 'CONTAINER:/', /no\/such\/file/],
      ['/etc/hostname', 'CONTAINER:/no/such/dir/', /no such directory/],
      ['a', 'b', /CONTAINER:PATH/],
    ])('refuses %s %s', async (from, to, message) => {
      const result = await mbuild.run([
        'cp',
        from.replace('CONTAINER', name),
        to.replace('CONTAINER', name),
      ]);
      expect(result.code).not.toBe(0);
      expect(result.stderr).toMatch(message);
    });
  });

  describe('a private network that cannot be made', () => {
    it.each([[['-d']], [[]]])('run %j fails with 125, and nothing was executed', async (how) => {
      const programs = temp.dir('programs');
      symlinkSync(process.execPath, join(programs, 'node'));
      const name = `helpless${how.length}`;
      const result = await mbuild.run(
        ['run', ...how, '--name', name, '-p', '80', 'small-base', 'sh', '-c', 'echo ran'],
        { env: { PATH: programs } },
      );
      expect(result).toMatchObject({
        code: 125,
        stdout: '',
        stderr: expect.stringContaining('a private network needs slirp4netns'),
      });
      expect(await mbuild.ok(['logs', name])).toBe('');
      expect(
        await mbuild.ok(['ps', '-a', '--filter', `name=${name}`, '--format', '{{.State}}']),
      ).toBe('created');
    });
  });

  it('--security-opt no-new-privileges is obeyed', async () =>
    expect(
      await mbuild.ok([
        ...['run', '--rm', '--security-opt', 'no-new-privileges', 'small-base'],
        ...['grep', '^NoNewPrivs', '/proc/self/status'],
      ]),
    ).toBe('NoNewPrivs:\t1'));

  describeWith('a private network', { programs: ['slirp4netns'] }, () => {
    it("reaches the container through published ports, and not the host's loopback from it", async () => {
      const id = await running(
        'mkdir /www; echo hello > /www/index.html; httpd -p 80 -h /www; echo ready; sleep 1000',
        '-p',
        '80',
      );
      const ports = await mbuild.ok(['ps', '--format', '{{.Ports}}']);
      const port = /:(\d+)->80\/tcp/.exec(ports)?.[1] ?? '';
      expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('hello\n');
      expect(
        (await mbuild.run(['exec', id, 'wget', '-T', '2', '-qO-', `http://10.0.2.2:${port}/`]))
          .code,
      ).not.toBe(0);
      expect((await mbuild.run(['run', '-p', `${port}:80`, 'small-base', 'true'])).stderr).toMatch(
        /cannot be published/,
      );
      expect(
        await mbuild.run(['run', '-d', '-p', `${port}:80`, 'small-base', 'sleep', '1000']),
      ).toMatchObject({
        code: 125,
        stdout: '',
        stderr: expect.stringMatching(/cannot be published.*\[CONTAINER_CONFLICT\]/s),
      });
    });
  });

  describeWith('a terminal', { programs: ['tmux'] }, () => {
    it('is a real one: it has a size that follows, Ctrl-C and Ctrl-D', async () => {
      const socket = `mbuild-${process.pid}`;
      const tmux = (...args: string[]) =>
        command('tmux', ['-L', socket, '-f', '/dev/null', ...args]);
      const shows = (text: RegExp): Promise<void> =>
        until(async () => text.test((await tmux('capture-pane', '-p')).stdout));
      try {
        await tmux(
          'new-session',
          '-d',
          '-x',
          '90',
          '-y',
          '30',
          `MBUILD_ROOT=${mbuild.root} ${MBUILD} run --rm -it small-base sh; echo exit=$?; sleep 1000`,
        );
        await shows(/^\/ #/m);
        await tmux('send-keys', 'tty; stty size; sleep 60', 'Enter');
        await shows(/\/dev\/pts\/0\n30 90/);
        await tmux('send-keys', 'C-c');
        await shows(/\^C/);
        await tmux('resize-window', '-x', '100', '-y', '40');
        await until(async () => {
          await tmux('send-keys', 'stty size', 'Enter');
          return /40 100/.test((await tmux('capture-pane', '-p')).stdout);
        });
        await tmux('send-keys', 'C-d');
        await shows(/exit=0/);
      } finally {
        await tmux('kill-server');
      }
    });

    it('is given to exec, too', async () => {
      const socket = `mbuild-exec-${process.pid}`;
      const tmux = (...args: string[]) =>
        command('tmux', ['-L', socket, '-f', '/dev/null', ...args]);
      const id = await running('echo ready; sleep 1000');
      try {
        await tmux(
          'new-session',
          '-d',
          `MBUILD_ROOT=${mbuild.root} ${MBUILD} exec -it ${id} sh -c 'tty; test -t 0 && echo yes; exit 6'; echo exit=$?; sleep 1000`,
        );
        await until(async () =>
          /\/dev\/pts\/0\nyes\nexit=6/.test((await tmux('capture-pane', '-p')).stdout),
        );
      } finally {
        await tmux('kill-server');
      }
    });
  });
});

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 30));
}
