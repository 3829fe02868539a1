import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { instructionSteps, Mbuild, MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';

describe.each(['crun', 'runc'])('a RUN step that %s runs', (runtime) => {
  describeWith('as mbuild itself does', { root: true, programs: [runtime] }, () => {
    const temp = useTemp();
    const flags = ['--isolation=oci', '--runtime', runtime];
    let mbuild: Mbuild;
    let root: string;

    beforeAll(async () => {
      root = temp.dir('store');
      mbuild = new Mbuild(root);
      await smallBase(mbuild);
    });

    function context(...lines: string[]): string {
      return writeFiles(temp.dir('context'), {
        Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
      });
    }

    async function output(...lines: string[]): Promise<readonly string[]> {
      const { steps } = await mbuild.build([...flags, context(...lines)]);
      return instructionSteps(steps).at(-1)?.log ?? [];
    }

    async function failure(
      line: string,
      ...more: string[]
    ): Promise<{ code: number; error: { code: string; message: string; exitCode?: number } }> {
      const { code, stderr } = await mbuild.run([
        'build',
        '--progress=rawjson',
        ...flags,
        ...more,
        context(line),
      ]);
      return {
        code,
        error: (
          JSON.parse(stderr.trim().split('\n').at(-1) ?? '') as {
            error: { code: string; message: string; exitCode?: number };
          }
        ).error,
      };
    }

    afterEach(() => {
      expect(mountsLeft(root)).toEqual([]);
      expect(readdirSync(join(root, 'sandbox')).filter((name) => name.startsWith('oci-'))).toEqual(
        [],
      );
      const groups = ['', ...readdirSync('/sys/fs/cgroup')].flatMap((name) =>
        names(join('/sys/fs/cgroup', name)),
      );
      expect(groups.filter((name) => name.startsWith('mbuild-oci-'))).toEqual([]);
    });

    it('has the same rights, streams, host name, limits and network files', async () => {
      expect(
        await output(
          'RUN grep -E "^(Cap(Inh|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):" /proc/self/status; hostname; umask; id -u; cat /etc/hosts | head -1; echo out > /dev/stdout',
        ),
      ).toEqual([
        'CapInh:\t0000000000000000',
        'CapEff:\t00000000800405fb',
        'CapBnd:\t00000000800405fb',
        'CapAmb:\t0000000000000000',
        'NoNewPrivs:\t0',
        'Seccomp:\t2',
        'buildkitsandbox',
        '0022',
        '0',
        '127.0.0.1\tlocalhost buildkitsandbox',
        'out',
      ]);
    });

    it('cannot open devices that a layer holds, nor write to /proc/sys, nor mount', async () => {
      expect(
        await output(
          'RUN grep " / / " /proc/self/mountinfo | grep -c nodev; (: > /proc/sys/kernel/hostname) 2>/dev/null || echo read-only; mount -t tmpfs x /mnt 2>/dev/null || unshare -m true 2>/dev/null || echo refused; [ "$(head -c 1 /proc/timer_list | wc -c)" = 0 ] && echo masked',
        ),
      ).toEqual(['1', 'read-only', 'refused', 'masked']);
    });

    it('has mounts of every kind, and leaves none of them in the layer', async () => {
      const lines = [
        'RUN --mount=type=cache,target=/c echo kept > /c/file',
        'RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=type=secret,id=s,target=/run/s --mount=type=bind,target=/ctx cat /c/file /run/s; touch /t/x; ls /ctx',
      ];
      const secret = writeFiles(temp.dir('secret'), { s: 'geheim\n' });
      const { steps } = await mbuild.build([
        ...flags,
        '--secret',
        `id=s,src=${join(secret, 's')}`,
        '-t',
        'mounts',
        context(...lines),
      ]);
      expect(instructionSteps(steps).at(-1)?.log).toEqual(['kept', '***', 'Dockerfile']);
      expect((await mbuild.inspect('mounts')).RootFS.Layers).toHaveLength(
        (await mbuild.inspect('small-base')).RootFS.Layers.length,
      );
    });

    it('ends with the code of its command, and with errors in the same words', async () => {
      expect(await failure('RUN exit 7')).toMatchObject({
        code: 1,
        error: { code: 'EXEC_FAILED', exitCode: 7, message: 'RUN exited with code 7' },
      });
      expect(await failure('RUN ["no-such-program"]')).toMatchObject({
        code: 1,
        error: {
          code: 'EXEC_NOT_FOUND',
          exitCode: 127,
          message: 'no-such-program: executable file not found in $PATH',
        },
      });
      expect(await failure('RUN ["/etc/passwd"]')).toMatchObject({
        code: 1,
        error: { code: 'EXEC_FAILED', exitCode: 126 },
      });
    });

    it('leaves nothing running: not what the command left, not after --step-timeout, not after Ctrl-C', async () => {
      const mark = `98${process.pid}${runtime === 'crun' ? 1 : 2}`;
      await output(`RUN sleep ${mark} & echo left`);
      expect(
        (await failure(`RUN (sleep ${mark} &); sleep ${mark}`, '--step-timeout', '1s')).error.code,
      ).toBe('STEP_TIMEOUT');
      const build = spawn(
        MBUILD,
        [
          'build',
          '--progress=plain',
          ...flags,
          context(`RUN echo begun; (sleep ${mark} &); sleep ${mark}`),
        ],
        { env: cleanEnv({ MBUILD_ROOT: root }), stdio: ['ignore', 'ignore', 'pipe'] },
      );
      const ended = new Promise((resolve) => void build.on('exit', resolve));
      build.stderr.on('data', (data: Buffer) => {
        if (/\d begun/.test(data.toString())) build.kill('SIGINT');
      });
      expect(await ended).toBe(130);
      expect(
        readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(mark)),
      ).toEqual([]);
    });

    it('has no network with --network=none but a loopback', async () => {
      expect(await output('RUN --network=none ls /sys/class/net')).toEqual(['lo']);
    });

    it('is as another user what the Dockerfile says', async () => {
      expect(
        await output(
          'USER app',
          'RUN id -u; id -G; echo to > /dev/stdout; grep CapEff /proc/self/status',
        ),
      ).toEqual(['1000', expect.stringContaining('1000'), 'to', 'CapEff:\t0000000000000000']);
    });
  });
});

describeWith('--isolation=oci', { root: true }, () => {
  const temp = useTemp();

  it('names what is missing when there is no runtime', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
    const dir = writeFiles(temp.dir('context'), { Dockerfile: 'FROM small-base\nRUN true\n' });
    const { code, stderr } = await mbuild.run([
      'build',
      '--isolation=oci',
      '--runtime',
      '/no/runtime',
      dir,
    ]);
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('the runtime /no/runtime was not found'),
    ]);
  });
});

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}
