import { readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { hasOwnPidMax } from '../../src/sandbox/namespaces/system-mounts';
import { makeCgroup, stepGroupName } from '../../src/sandbox/cgroups/cgroup';
import type { CgroupLimits } from '../../src/sandbox/cgroups/cgroup-limits';

/** Why limits of a kind cannot be tried here; `undefined` when they can. */
function obstacle(limits: CgroupLimits): string | undefined {
  const group = makeCgroup(stepGroupName(), limits);
  group.remove();
  return group.refused[0]?.reason;
}

describeWith('what RUN may use and do', { root: true }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  function context(...lines: string[]): string {
    return writeFiles(temp.dir('context'), {
      Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
    });
  }

  async function log(flags: readonly string[], ...lines: string[]): Promise<readonly string[]> {
    const { steps } = await mbuild.build([...flags, context(...lines)]);
    return instructionSteps(steps).at(-1)?.log ?? [];
  }

  const limited = (limits: CgroupLimits): typeof it => {
    const reason = obstacle(limits);
    if (reason !== undefined) console.log(`skipped: a limit cannot be set here: ${reason}`);
    return reason === undefined ? it : (it.skip as unknown as typeof it);
  };

  limited({ pids: 20 })(
    'a fork bomb ends at --pids-limit, and the step with an error',
    async () => {
      const { code, stderr } = await mbuild.run([
        'build',
        '--pids-limit',
        '20',
        context('RUN i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait'),
      ]);
      expect(code).toBe(1);
      expect(stderr).toMatch(/fork: (Resource temporarily unavailable|retry)|Cannot fork/);
    },
  );

  const ownPidMax = hasOwnPidMax(release());
  (ownPidMax ? it : it.skip)(
    `a step has 4096 processes where nothing is said, which the machine does not notice${ownPidMax ? '' : ' (skipped: needs Linux 6.14)'}`,
    async () => {
      const before = readFileSync('/proc/sys/kernel/pid_max', 'latin1');
      expect(await log([], 'RUN cat /proc/sys/kernel/pid_max')).toEqual(['4096']);
      expect(readFileSync('/proc/sys/kernel/pid_max', 'latin1')).toBe(before);
      expect(
        Number((await log(['--pids-limit=-1'], 'RUN echo all; cat /proc/sys/kernel/pid_max'))[1]),
      ).toBeGreaterThan(4096);
    },
  );

  it.each([
    ['6.14.0-rc1', true],
    ['6.13.9-arch1', false],
    ['7.0.0', true],
    ['5.15.0-91-generic', false],
  ])('Linux %s has a highest process id for each PID namespace: %s', (kernel, own) => {
    expect(hasOwnPidMax(kernel)).toBe(own);
  });

  limited({ memory: 64 << 20 })(
    'more memory than --memory ends a step, and the hint says so',
    async () => {
      const { code, stderr } = await mbuild.run([
        'build',
        '--memory=32m',
        context('RUN x=a; while true; do x=$x$x; done'),
      ]);
      expect(code).toBe(1);
      expect(stderr).toContain('needed more memory than --memory allows');
    },
  );

  limited({ cpusetCpus: '0' })('--cpuset-cpus keeps a step on those CPUs', async () => {
    expect(
      await log(['--resource', 'cpuset-cpus=0'], 'RUN grep ^Cpus_allowed_list /proc/self/status'),
    ).toEqual(['Cpus_allowed_list:\t0']);
  });

  it('limits are in no key: the same step with others is taken from the cache', async () => {
    const dir = context('RUN echo limits > /limits');
    await mbuild.build(['--memory', '1g', '--cpus', '.5', dir]);
    const { steps } = await mbuild.build(['--pids-limit=-1', '--step-timeout', '10m', dir]);
    expect(instructionSteps(steps).map(({ cached }) => cached)).toEqual([true]);
  });

  it('a step that takes longer than --step-timeout is killed with all that it started, and what came before is kept', async () => {
    const dir = context(
      'RUN echo before > /before',
      'RUN echo begun; (sleep 987321 &); sleep 987321',
    );
    const { code, stderr } = await mbuild.run([
      'build',
      '--progress=rawjson',
      '--step-timeout',
      '700ms',
      dir,
    ]);
    expect(code).toBe(1);
    const error = (
      JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as {
        error: { code: string; message: string; line: number; output: string };
      }
    ).error;
    expect(error).toMatchObject({ code: 'STEP_TIMEOUT', line: 3, output: 'begun\n' });
    expect(error.message).toBe(
      'RUN took longer than the 0.7 seconds of --step-timeout and was killed',
    );
    expect(
      readdirSync('/proc').filter(
        (pid) => /^\d+$/.test(pid) && commandLine(pid).includes('987321'),
      ),
    ).toEqual([]);
    const { steps } = await mbuild.build([context('RUN echo before > /before')]);
    expect(instructionSteps(steps).map(({ cached }) => cached)).toEqual([true]);
  });

  it('a step that fails is tried again with --retry-step, each time on the tree as it was', async () => {
    const line =
      'RUN --mount=type=cache,target=/c echo try >> /c/tries; [ ! -e /left ] || exit 9; touch /left; [ $(wc -l < /c/tries) = 3 ]';
    const dir = context(line);
    expect((await mbuild.run(['build', '--no-cache', dir])).code).toBe(1);
    const { stderr } = await mbuild.run(['build', '--progress=plain', '--retry-step', '1', dir]);
    expect(stderr).toContain('RUN exited with code 1; tried again, for the last time');
    expect(stderr).not.toContain('code 9');
    expect(
      (
        await mbuild.run([
          'build',
          '--progress=plain',
          '--retry-step=5',
          '--no-cache',
          context(line.replaceAll('/c/tries', '/c/more')),
        ])
      ).code,
    ).toBe(0);
  });

  it('capabilities can be added and dropped, and a step with others is another step', async () => {
    const line = 'RUN grep ^CapEff /proc/self/status';
    expect(await log([], line)).toEqual([expect.stringMatching(/800405fb$/)]);
    expect(await log(['--cap-add', 'mknod', '--cap-drop', 'CAP_CHOWN'], line)).toEqual([
      expect.stringMatching(/880405fa$/),
    ]);
    expect(await log(['--cap-drop', 'all'], line)).toEqual([expect.stringMatching(/0{16}$/)]);
    const { stderr } = await mbuild.run([
      'build',
      '--progress=plain',
      '--cap-drop',
      'kill',
      context(line),
    ]);
    expect(stderr).toContain('--cap-add and --cap-drop');
  });

  it('--no-new-privileges keeps setuid programs from giving rights', async () => {
    expect(await log([], 'RUN grep ^NoNewPrivs /proc/self/status')).toEqual(['NoNewPrivs:\t0']);
    expect(await log(['--no-new-privileges'], 'RUN grep ^NoNewPrivs /proc/self/status')).toEqual([
      'NoNewPrivs:\t1',
    ]);
  });

  it('the host name is buildkitsandbox, or that of --hostname or of BUILDKIT_SANDBOX_HOSTNAME', async () => {
    const line = 'RUN hostname; grep -c "localhost $(hostname)$" /etc/hosts';
    expect(await log([], line)).toEqual(['buildkitsandbox', '1']);
    expect(await log(['--hostname', 'here'], line)).toEqual(['here', '1']);
    expect(await log(['--build-arg', 'BUILDKIT_SANDBOX_HOSTNAME=there'], line)).toEqual([
      'there',
      '1',
    ]);
  });

  it('what a step took of the machine is in its result, in the events and in the record', async () => {
    const dir = context(
      'RUN i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; head -c 20000000 /dev/zero | tail -c 20000000 > /big',
    );
    const { stderr } = await mbuild.run(['build', '--progress=rawjson', dir]);
    const usage = stderr
      .split('\n')
      .filter((line) => line.includes('"kind":"usage"'))
      .map((line) => (JSON.parse(line) as { usage: Record<string, number> }).usage);
    expect(usage).toHaveLength(1);
    expect(usage[0]?.['userMs']).toBeGreaterThan(20);
    expect(usage[0]?.['peakMemory']).toBeGreaterThan(1 << 19);
    const explained = JSON.parse(await mbuild.ok(['explain', '--format', 'json'])) as {
      steps: { usage?: object }[];
    };
    expect(explained.steps.at(-1)?.usage).toEqual(usage[0]);
  });

  it.each([
    [['--memory', '1m'], '--memory 1m is too little'],
    [['--memory-swap', '1g'], '--memory-swap needs --memory'],
    [['--memory', '1g', '--memory-swap', '1m'], '--memory-swap 1m is less than --memory 1g'],
    [['--cpus', '0'], 'invalid --cpus "0"'],
    [['--cpus', '1', '--cpu-quota', '5000'], '--cpus cannot be used with --cpu-quota'],
    [['--cpuset-cpus', 'a'], 'invalid --cpuset-cpus "a"'],
    [['--pids-limit', 'many'], 'invalid --pids-limit "many"'],
    [['--resource', 'memroy=1g'], 'invalid --resource "memroy=1g"'],
    [['--step-timeout', 'soon'], 'invalid --step-timeout "soon"'],
    [['--cap-add', 'fly'], 'invalid --cap-add "fly"'],
  ])('%j is refused by name', async (flags, message) => {
    const { code, stderr } = await mbuild.run(['build', ...flags, context('RUN true')]);
    expect([code, stderr]).toEqual([125, expect.stringContaining(message)]);
  });
});

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}
