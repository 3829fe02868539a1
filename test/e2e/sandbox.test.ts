import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv, command } from '../support/command';
import { instructionSteps, Mbuild, MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';

describeWith('a RUN step', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  /** Builds `FROM small-base`, the given lines, and returns what the last step wrote. */
  async function output(...lines: string[]): Promise<readonly string[]> {
    const { steps } = await mbuild.build([context(...lines)]);
    return instructionSteps(steps).at(-1)?.log ?? [];
  }

  function context(...lines: string[]): string {
    return writeFiles(temp.dir('context'), {
      Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
    });
  }

  it.each(['pid', 'mnt', 'ipc', 'uts', 'cgroup'])('has a %s namespace of its own', async (kind) => {
    const [inside] = await output(`RUN readlink /proc/self/ns/${kind}`);
    expect(inside).toMatch(new RegExp(`^${kind}:\\[\\d+\\]$`));
    expect(inside).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
  });

  it('shares the network of the host, unless it is told not to', async () => {
    expect(await output('RUN readlink /proc/self/ns/net')).toEqual([
      readlinkSync('/proc/self/ns/net'),
    ]);
    expect(await output('RUN --network=none readlink /proc/self/ns/net')).not.toEqual([
      readlinkSync('/proc/self/ns/net'),
    ]);
  });

  it('sees its own processes alone', async () => {
    const processes = await output("RUN ls /proc | grep '^[0-9]' | wc -l");
    expect(Number(processes[0])).toBeLessThan(8);
  });

  it('has nothing of the host in its mounts or its file descriptors', async () => {
    const mounts = (await output('RUN cat /proc/self/mountinfo')).map((line) => line.split(' ')[4]);
    expect(
      mounts.filter(
        (target) => !/^\/($|proc|sys|dev|etc\/(resolv\.conf|hosts|hostname))/.test(target ?? ''),
      ),
    ).toEqual([]);
    // Without a pipe, whose ends the shell would have for a moment; the directory that the pattern
    // was looked up in is closed by then.
    expect(
      await output(
        'RUN for file in /proc/$$/fd/*; do [ -L $file ] && echo ${file##*/}; done; true',
      ),
    ).toEqual(['0', '1', '2']);
  });

  it('mounts nothing that is seen outside, even where it may mount', async () => {
    const mark = `leak${process.pid}`;
    let outside: string | undefined;
    const dir = context(
      `RUN --security=insecure mkdir /m && mount -t tmpfs ${mark} /m && echo mounted && sleep 1 && umount /m && rmdir /m`,
    );
    const build = spawn(
      MBUILD,
      ['build', '--progress=plain', '--allow', 'security.insecure', dir],
      { env: cleanEnv({ MBUILD_ROOT: mbuild.root }), stdio: ['ignore', 'ignore', 'pipe'] },
    );
    build.stderr.on('data', (data: Buffer) => {
      if (/\d mounted$/m.test(data.toString()))
        outside = readFileSync('/proc/self/mountinfo', 'latin1');
    });
    expect(await new Promise((resolve) => void build.on('close', resolve))).toBe(0);
    expect(outside).toBeDefined();
    expect(outside).not.toContain(mark);
  });

  it('does not reach the store, by no path and by no process', async () => {
    expect(
      await output(
        `RUN for root in "" /proc/1/root /proc/self/root /proc/1/cwd/.. ../../../..; do [ -e "$root${mbuild.root}" ] && echo reached; done; echo looked`,
      ),
    ).toEqual(['looked']);
    expect((statSync(mbuild.root).mode & 0o777).toString(8)).toBe('700');
  });

  it('reads /sys, and cannot write to it or to /proc/sys', async () => {
    expect(
      await output(
        'RUN [ -d /sys/kernel ] && echo readable; (: > /sys/kernel/uevent_helper) 2>/dev/null || echo sys is read-only; (: > /proc/sys/kernel/hostname) 2>/dev/null || echo proc/sys is read-only',
      ),
    ).toEqual(['readable', 'sys is read-only', 'proc/sys is read-only']);
  });

  it('finds the masked paths empty', async () => {
    expect(
      await output(
        'RUN for path in /proc/kcore /proc/keys /proc/timer_list; do if [ -e $path ]; then head -c 1 $path | wc -c; else echo 0; fi; done',
      ),
    ).toEqual(['0', '0', '0']);
  });

  it('has the usual devices and no others', async () => {
    const [names = ''] = await output('RUN ls /dev | tr "\\n" " "; echo');
    const usual = [
      'fd',
      'full',
      'mqueue',
      'null',
      'ptmx',
      'pts',
      'random',
      'shm',
      'stderr',
      'stdin',
      'stdout',
      'tty',
      'urandom',
      'zero',
    ];
    expect(
      names
        .trim()
        .split(' ')
        .filter((name) => !usual.includes(name) && name !== 'core' && name !== 'console'),
    ).toEqual([]);
    expect(names.trim().split(' ')).toEqual(
      expect.arrayContaining(['null', 'zero', 'random', 'urandom', 'fd', 'stdout']),
    );
    expect(
      await output(
        'RUN echo gone > /dev/null; head -c 2 /dev/zero | wc -c; echo out > /dev/stdout',
      ),
    ).toEqual(['2', 'out']);
  });

  it('has the default capabilities and no inherited ones', async () => {
    const status = await output('RUN grep ^Cap /proc/self/status');
    const sets = new Map(status.map((line) => line.split(/:\s*/) as [string, string]));
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service sys_chroot
    // setfcap
    const eleven = 0x800405fbn;
    expect(BigInt(`0x${sets.get('CapEff') ?? ''}`)).toBe(eleven);
    expect(BigInt(`0x${sets.get('CapBnd') ?? ''}`)).toBe(eleven);
    expect(BigInt(`0x${sets.get('CapInh') ?? ''}`)).toBe(0n);
    expect(BigInt(`0x${sets.get('CapAmb') ?? ''}`)).toBe(0n);
    const asUser = await output('USER app', 'RUN grep ^CapEff /proc/self/status');
    expect(asUser).toEqual([expect.stringMatching(/0{16}$/)]);
  });

  it("looks its user up in the image's own passwd and group", async () => {
    expect(await output('USER app', 'RUN id -u; id -g; id -G; echo $HOME')).toEqual([
      '1000',
      '1000',
      '1000 44 50',
      '/home/app',
    ]);
    expect(
      await output(
        'RUN echo "late:x:77:78::/late:/bin/sh" >> /etc/passwd',
        'USER late',
        'RUN id -u; id -g',
      ),
    ).toEqual(['77', '78']);
  });

  it('has PATH and HOME, what ENV and ARG say, and nothing of the environment of mbuild', async () => {
    const lines = await mbuild.build(
      [
        '--build-arg',
        'ARGUMENT=a',
        context(
          'ARG ARGUMENT',
          'ENV VARIABLE=v',
          'RUN env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort',
        ),
      ],
      { env: { LEAKED: 'x' } },
    );
    expect(instructionSteps(lines.steps).at(-1)?.log).toEqual([
      'ARGUMENT=a',
      'HOME=/root',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'VARIABLE=v',
    ]);
  });

  it('gets names resolved, and leaves nothing of that in the image', async () => {
    const dir = context(
      'RUN [ -s /etc/resolv.conf ] && grep -q localhost /etc/hosts && echo resolved',
      'RUN rm -f /tmp/nothing',
    );
    const { steps } = await mbuild.build(['-t', 'resolving', dir]);
    expect(instructionSteps(steps)[0]?.log).toEqual(['resolved']);
    const listed = await mbuild.ok(['history', '--format', '{{.Size}}', 'resolving']);
    expect(listed.split('\n').slice(0, 2)).toEqual(['0B', '0B']);
    expect((await mbuild.inspect('resolving')).RootFS.Layers.length).toBeLessThanOrEqual(3);
  });

  it.each(['namespaces', 'chroot'])(
    'is warned of writes to /etc/hosts and /etc/resolv.conf, which are lost (%s)',
    async (isolation) => {
      const dir = context(
        `RUN echo 127.0.0.2 me >> /etc/hosts && cat /etc/resolv.conf > /dev/null && : ${isolation}`,
        `RUN rm -f /etc/resolv.conf; echo > /etc/resolv.conf; : ${isolation}`,
        'RUN ! grep me /etc/hosts && cp /etc/resolv.conf /tmp/',
      );
      const { stderr } = await mbuild.build([`--isolation=${isolation}`, dir]);
      expect(stderr.match(/WriteIsLost: RUN wrote to \S+.*\(line \d\)/g)).toEqual([
        expect.stringMatching(/wrote to \/etc\/hosts, .*\(line 2\)$/),
        expect.stringMatching(/wrote to \/etc\/resolv.conf, .*\(line 3\)$/),
      ]);
    },
  );

  it('whose mount has no place in a read-only one is told which, and what to do', async () => {
    const dir = context(
      'RUN --mount=type=bind,target=/ctx --mount=type=cache,target=/ctx/none true',
    );
    const { code, stderr } = await mbuild.run(['build', dir]);
    expect(code).toBe(1);
    expect(stderr).toContain(
      'cannot mount on /ctx/none: the path does not exist in the read-only mount on /ctx',
    );
    expect(stderr).toMatch(/hint: create it there, .* writable \(rw\)/);
    const rw = 'RUN --mount=type=bind,target=/ctx,rw --mount=type=cache,target=/ctx/none true';
    await mbuild.build([context(rw)]);
  });

  it("that finds the disk full is told that it is the store's", async () => {
    const place = temp.dir('full');
    const dir = context('RUN head -c 90000000 /dev/zero > /big');
    const base = join(temp.dir('base'), 'base.tar');
    await mbuild.ok(['save', '-o', base, 'small-base']);
    const script =
      'mount -t tmpfs -o size=40m none "$0" && "$1" --root "$0/s" load -q -i "$2" && exec "$1" --root "$0/s" build "$3"';
    const { code, stderr } = await command(
      'unshare',
      ['--mount', 'sh', '-c', script, place, MBUILD, base, dir],
      { env: cleanEnv() },
    );
    expect(code).toBe(1);
    expect(stderr).toContain('not kept: the disk of the store is full');
    expect(stderr).toMatch(
      /hint: the disk of the store \(.*\/s\) is full: free space with `mbuild system prune`/,
    );
  });

  it('reads an empty standard input', async () => {
    expect(await output('RUN cat | wc -c')).toEqual(['0']);
  });

  it('passes on all that it writes, on both streams', async () => {
    const lines = await output(
      'RUN for i in $(seq 1 3000); do echo "line $i"; done; echo error >&2',
    );
    expect(lines.filter((line) => line.startsWith('line '))).toHaveLength(3000);
    expect(lines).toContain('line 3000');
    expect(lines).toContain('error');
  });

  it.each([
    ['RUN exit 3', /exit(ed with)? code:? 3/],
    ["RUN sh -c 'kill -9 $$'; exit $?", /137|SIGKILL/],
    ['RUN ["/no/such"]', /\/no\/such/],
  ])('%s fails the build with its code', async (line, message) => {
    const result = await mbuild.run(['build', '--progress=plain', context(line)]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).toMatch(/Dockerfile:2/);
  });

  it('takes its background processes with it', async () => {
    await output('RUN sleep 98765431 > /dev/null 2>&1 & echo started');
    expect(processesNamed('98765431')).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'ends with its whole tree on %s, and the store stays sound',
    async (signal) => {
      const dir = context(
        'RUN echo kept > /kept',
        'RUN (sleep 98765432 & setsid sleep 98765432 & echo sta""rted; sleep 98765432)',
      );
      let pid = 0;
      const result = await mbuild.run(['build', '--progress=plain', dir], {
        onStart: (started) => (pid = started),
        onStderr: (text) => {
          if (/\d started/.test(text)) process.kill(pid, signal);
        },
      });
      expect(result.code).toBe(signal === 'SIGINT' ? 130 : 143);
      expect(processesNamed('98765432')).toEqual([]);
      expect(mountsLeft(mbuild.root)).toEqual([]);

      const { steps } = await mbuild.build([
        context('RUN echo kept > /kept', `RUN echo ${signal}; cat /kept`),
      ]);
      expect(instructionSteps(steps).map((step) => step.cached)).toEqual([true, false]);
      expect(instructionSteps(steps)[1]?.log).toEqual([signal, 'kept']);
    },
  );

  function processesNamed(text: string): string[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          return readFileSync(join('/proc', pid, 'cmdline'), 'latin1').includes(`sleep\0${text}`);
        } catch {
          return false; // ended meanwhile
        }
      });
  }
});
