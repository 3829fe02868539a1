import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { smallBase, smallBaseTar } from '../support/bases';
import { cleanEnv } from '../support/command';
import { instructionSteps, Mbuild, MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { mountsLeft, useTemp, writeFiles } from '../support/temp';

const FLAGS = ['--snapshotter=fuse-overlayfs'];

/**
 * Where what fuse-overlayfs copies up differs from what overlay does, and what a deletion can meet.
 * Version 1.14 ignores the umask of a pipe.
 */
const CORNERS = `
FROM scratch AS base
ADD small-base.tar /
RUN mkdir -p /d/sub /g /h /m; echo a > /d/a; ln /d/a /d/hard; ln -s a /d/link; (umask 0; mkfifo /d/pipe); echo f > /d/sub/f; echo x > /g/x; chown 3:4 /g/x /g; \
    chmod 2775 /g; echo s > /m/suid; chmod 4755 /m/suid; truncate -s 1M /m/sparse; find /d /g /h /m -exec touch -h -d '2020-09-13 12:26:40' {} +
FROM base
RUN echo more >> /d/sub/f
RUN chown 5:6 /d/pipe; chown -h 5:6 /d/link; chmod 600 /g/x
RUN mv /d/sub/f /d/sub/g
RUN touch /h/new; rm /h/new
RUN ln /d/a /d/third; touch /m/suid
RUN rm -r /g; mkdir /g; echo y > /g/y
RUN cp -a /d /h/e
RUN mkdir /m/n; mv /m/sparse /m/n/; printf x | dd of=/m/n/sparse bs=1 seek=500000 conv=notrunc
RUN rm -rf /d/sub && ln -s /etc /d/sub; rm /m/suid; mkdir /m/suid
RUN chmod 700 /h; chown 7:8 /m/n; touch -d '2019-01-01 00:00:00' /h
RUN sed -i s/root/ROOT/ /etc/group; rm -rf /home; mkdir -p /home/app/x
RUN rm -rf /m/* /d; (umask 0; mkfifo /m/p); touch /m/.hidden
`;

const missing = (): string | undefined =>
  existsSync('/dev/fuse') ? undefined : '/dev/fuse does not exist';

describeWith(
  'trees by fuse-overlayfs',
  { root: true, programs: ['fuse-overlayfs', 'tar'], also: missing },
  () => {
    const temp = useTemp();
    let root: string;
    let mbuild: Mbuild;

    beforeAll(async () => {
      root = temp.dir('store');
      mbuild = new Mbuild(root, { MBUILD_SNAPSHOTTER: 'fuse-overlayfs' });
      await smallBase(mbuild);
    });

    afterEach(() => {
      expect(serversOf(root)).toEqual([]);
      expect(mountsLeft(root)).toEqual([]);
    });

    function context(...lines: string[]): string {
      return writeFiles(temp.dir('context'), {
        Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
      });
    }

    async function output(...lines: string[]): Promise<readonly string[]> {
      const { steps } = await mbuild.build([context(...lines)]);
      return instructionSteps(steps).at(-1)?.log ?? [];
    }

    /** Starts a build whose last step says `begun` and goes on. */
    async function begun(...lines: string[]): Promise<{
      child: ReturnType<typeof spawn>;
      stderr: () => string;
      ended: Promise<number | null>;
    }> {
      const child = spawn(MBUILD, ['build', '--progress=plain', context(...lines)], {
        env: cleanEnv({ MBUILD_ROOT: root, MBUILD_SNAPSHOTTER: 'fuse-overlayfs' }),
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let stderr = '';
      const ended = once(child, 'close').then(([code]) => code as number | null);
      await new Promise<void>((resolve) => {
        child.stderr.on('data', (chunk: Buffer) => {
          stderr += chunk.toString();
          if (/ begun$/m.test(stderr)) resolve();
        });
        child.on('close', () => resolve());
      });
      return { child, stderr: () => stderr, ended };
    }

    test('what is copied up, replaced and deleted is in the image as overlay has it', async () => {
      const dir = writeFiles(temp.dir('context'), { Dockerfile: CORNERS.trimStart() });
      copyFileSync(smallBaseTar(temp.dir('base')), join(dir, 'small-base.tar'));
      // Later than the times of what is below, so that a new time is told from an old one.
      const build = (...flags: string[]): Promise<string> =>
        new Mbuild(temp.dir('own')).ok([
          ...flags,
          'build',
          '-q',
          '--source-date-epoch',
          '1750000000',
          dir,
        ]);
      expect(await build(...FLAGS)).toBe(await build('--snapshotter=overlay'));
    });

    test('a hundred and twenty layers are one tree', async () => {
      const lines = Array.from({ length: 120 }, (_, i) => `COPY Dockerfile /many/f${i}`);
      expect(await output(...lines, 'RUN ls /many | wc -l; rm /many/f7; ls /many | wc -l')).toEqual(
        ['120', '119'],
      );
    });

    test('trees of other stages are mounted beside the root, and what is written there is gone afterwards', async () => {
      const dir = writeFiles(temp.dir('context'), {
        Dockerfile: `
FROM small-base AS other
COPY Dockerfile /s/file
FROM small-base
RUN --mount=type=bind,from=other,source=/s,target=/a,rw --mount=type=bind,target=/c echo x >> /a/file && ls /a /c | sort && tail -n 1 /a/file
RUN --mount=type=bind,from=other,source=/s,target=/a ls /a; tail -n 1 /a/file | cut -c 1-3
`.trimStart(),
      });
      const { steps } = await mbuild.build([dir]);
      expect(
        instructionSteps(steps)
          .slice(-2)
          .map(({ log }) => log),
      ).toEqual([
        [expect.any(String), '/a:', '/c:', 'Dockerfile', 'file', 'x'],
        ['file', 'RUN'],
      ]);
    });

    test('a cache over an initial content is the same one when the kernel mounts it', async () => {
      const mount = '--mount=type=cache,target=/k,from=other,source=/c';
      const dir = writeFiles(temp.dir('context'), {
        Dockerfile: `FROM small-base AS other\nRUN mkdir -p /c/d; touch /c/a /c/b /c/d/x\nFROM small-base\nRUN ${mount} rm /k/a; rm -r /k/d; mkdir /k/d; echo 1 >> /k/n\n`,
      });
      await mbuild.build([dir]);
      for (const kind of ['overlay', 'fuse-overlayfs']) {
        writeFiles(dir, {
          Dockerfile: `FROM small-base AS other\nRUN mkdir -p /c/d; touch /c/a /c/b /c/d/x\nFROM small-base\nRUN ${mount} : ${kind}; ls -A /k; ls -A /k/d\n`,
        });
        const { steps } = await mbuild.build([`--snapshotter=${kind}`, dir]);
        expect(instructionSteps(steps).at(-1)?.log).toEqual(['b', 'd', 'n']);
      }
    });

    test('a server that is killed fails its step with one error, and nothing of the step is kept', async () => {
      const { stderr, ended } = await begun('RUN echo begun; sleep 60; true');
      killServer(root, 'SIGKILL');
      expect(await ended).toBe(1);
      expect(stderr()).toMatch(
        /RUN echo begun.*\n.*\[SANDBOX_FAILED\] hint: .*the result of the command is lost/s,
      );
      expect(stderr()).toContain(
        'fuse-overlayfs, which gave the command its files, was killed by SIGKILL',
      );
    });

    test('a step that goes well although its server is gone is a failure all the same', async () => {
      const { stderr, ended } = await begun(
        'RUN trap "" TERM; echo begun; read -t 20 x < /dev/zero; while :; do :; done',
      );
      killServer(root, 'SIGTERM');
      expect(await ended).toBe(1);
      expect(stderr()).toContain('[SANDBOX_FAILED]');
    });

    test('neither server nor mount outlives an mbuild that is killed', async () => {
      const { child, ended } = await begun('RUN echo begun; sleep 60');
      expect(serversOf(root)).toHaveLength(1);
      child.kill('SIGKILL');
      await ended;
      for (let i = 0; i < 200 && serversOf(root).length > 0; i++)
        await new Promise((resolve) => setTimeout(resolve, 50));
    });

    test('where the program is missing, or no program of that kind, that is said before the command runs', async () => {
      const programs = temp.dir('path');
      symlinkSync(process.execPath, join(programs, 'node'));
      const dir = context('RUN echo never');
      const absent = await mbuild.run(['build', dir], { env: { PATH: programs } });
      expect([absent.code, absent.stderr]).toEqual([
        1,
        expect.stringMatching(
          /--snapshotter=fuse-overlayfs does not work here: the program fuse-overlayfs is missing\n.*apt-get install fuse-overlayfs/s,
        ),
      ]);
      writeFileSync(join(programs, 'fuse-overlayfs'), '#!/bin/sh\nexit 3\n');
      chmodSync(join(programs, 'fuse-overlayfs'), 0o755);
      const broken = await mbuild.run(['build', dir], { env: { PATH: programs } });
      expect([broken.code, broken.stderr]).toEqual([
        1,
        expect.stringMatching(
          /fuse-overlayfs cannot change a file of a tree \(E\w+\)\n.*install another version/s,
        ),
      ]);
    });

    test('containers keep what they write from start to start; diff, commit and cp read it, and diff refuses while it is served', async () => {
      await mbuild.ok([
        'run',
        '--name',
        'box',
        'small-base',
        'sh',
        '-c',
        'rm /etc/group; rm -r /home/app; mkdir /home/app; touch /home/app/z; chmod 600 /etc/passwd',
      ]);
      const expected = 'C /etc\nD /etc/group\nC /etc/passwd\nC /home\nC /home/app\nA /home/app/z';
      expect(await mbuild.ok(['diff', 'box'])).toBe(expected);
      await mbuild.ok(['start', '-a', 'box']);
      expect(await mbuild.ok(['diff', 'box'])).toBe(expected);
      await mbuild.ok(['commit', 'box', 'boxed']);
      expect(
        await mbuild.ok([
          '--snapshotter=overlay',
          'run',
          '--rm',
          'boxed',
          'sh',
          '-c',
          'ls /etc/group 2>/dev/null; ls /home/app; stat -c %a /etc/passwd',
        ]),
      ).toBe('z\n600');
      const out = temp.dir('out');
      await mbuild.ok(['cp', 'box:/home/app/.', out]);
      expect(readdirSync(out)).toEqual(['z']);
      await mbuild.ok(['rm', 'box']);
      await mbuild.ok(['run', '-d', '--name', 'busy', 'small-base', 'sleep', '60']);
      try {
        const refused = await mbuild.run(['diff', 'busy']);
        expect([refused.code, refused.stderr]).toEqual([
          1,
          expect.stringMatching(
            /changes of busy cannot be read while it runs on fuse-overlayfs\n\[UNSUPPORTED\] hint: mbuild stop busy/,
          ),
        ]);
      } finally {
        await mbuild.ok(['rm', '-f', 'busy']);
      }
    });
  },
);

/** Servers of a store's trees, by their log. */
function serversOf(root: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return (
          readFileSync(`/proc/${pid}/comm`, 'utf8') === 'fuse-overlayfs\n' &&
          readlinkSync(`/proc/${pid}/fd/2`).startsWith(root)
        );
      } catch {
        return false;
      }
    });
}

function killServer(root: string, signal: NodeJS.Signals): void {
  const [server, ...more] = serversOf(root);
  if (server === undefined || more.length > 0) throw new Error('there is not one server');
  process.kill(server, signal);
}
