import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { MBUILD, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { namesIn, useTemp, writeFiles } from '../support/temp';
import { gateOf } from './gate';

jest.setTimeout(120_000);

/** Starts a program with a PID namespace and a /proc of its own, as a container has them. */
const IN_A_CONTAINER = ['--fork', '--pid', '--mount-proc', '--kill-child'] as const;

describeWith(
  'a store that containers share, each with a PID namespace of its own',
  { root: true, programs: ['unshare', 'find'] },
  () => {
    const temp = useTemp();
    let mbuild: Mbuild;
    let context: string;
    const started: ChildProcess[] = [];

    beforeEach(async () => {
      mbuild = new Mbuild(temp.dir('shared'));
      await smallBase(mbuild);
      context = writeFiles(temp.dir('context'), {
        Dockerfile:
          'FROM small-base\nRUN echo first > /first\nRUN --mount=type=cache,id=gate,target=/gate touch /gate/here; while [ ! -e /gate/go ]; do sleep 0.05; done; cat /first > /second\n',
      });
    });
    afterEach(() => {
      for (const child of started.splice(0)) child.kill('SIGKILL');
    });

    const left = (): string[] =>
      ['tmp', 'active', 'leases', 'locks', 'present'].flatMap((folder) =>
        namesIn(join(mbuild.root, folder)).map((name) => `${folder}/${name}`),
      );
    const args = (...words: string[]): string[] => ['--root', mbuild.root, ...words];

    function start(
      program: string,
      words: readonly string[],
    ): {
      readonly child: ChildProcess;
      readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
    } {
      const child = spawn(program, words, { env: cleanEnv(), stdio: ['ignore', 'ignore', 'pipe'] });
      started.push(child);
      let stderr = '';
      child.stderr.on('data', (data: Buffer) => {
        stderr += data.toString();
      });
      return {
        child,
        ended: new Promise((resolve) => {
          child.once('close', (code) => resolve({ code, stderr }));
        }),
      };
    }

    it.each([
      [
        'in a container stays when the host collects',
        'unshare',
        [...IN_A_CONTAINER, MBUILD],
        MBUILD,
        [],
      ],
      [
        'on the host stays when a container collects',
        MBUILD,
        [],
        'unshare',
        [...IN_A_CONTAINER, MBUILD],
      ],
      [
        'in a container stays when another one collects',
        'unshare',
        [...IN_A_CONTAINER, MBUILD],
        'unshare',
        [...IN_A_CONTAINER, MBUILD],
      ],
    ])('what is built %s', async (_, builder, before, collector, words) => {
      const { ended } = start(builder, [...before, ...args('build', '-t', 'app', context)]);
      const gate = await gateOf(mbuild);
      for (const line of ['rmi -f small-base', 'builder prune -af', 'prune -af']) {
        expect(await start(collector, [...words, ...args(...line.split(' '))]).ended).toMatchObject(
          { code: 0 },
        );
      }
      writeFileSync(join(gate, 'go'), '');
      expect(await ended).toMatchObject({ code: 0 });
      expect((await mbuild.run(['run', '--rm', 'app', 'cat', '/second'])).stdout).toBe('first\n');
      expect(await mbuild.ok(['system', 'check'])).toMatch(/nothing is wrong/);
    });

    it('keeps nothing of a container that was killed', async () => {
      const { child, ended } = start('unshare', [
        ...IN_A_CONTAINER,
        MBUILD,
        ...args('build', context),
      ]);
      await gateOf(mbuild);
      child.kill('SIGKILL');
      await ended;
      await mbuild.ok(['prune', '-f']);
      // That of the host stays.
      expect(left()).toEqual([expect.stringMatching(/^present\//)]);
    });

    it('shows a container that runs in another one as running, and neither removes nor signals it', async () => {
      const { child } = start('unshare', [
        ...IN_A_CONTAINER,
        MBUILD,
        ...args('run', '--name', 'there', 'small-base', 'sleep', '1000'),
      ]);
      await until(
        async () =>
          (await mbuild.ok(['ps', '--format', '{{.Names}} {{.State}}'])) === 'there running',
      );
      for (const line of [
        'kill there',
        'stop -t 1 there',
        'rm -f there',
        'exec there true',
        'cp there:/etc/passwd -',
      ]) {
        expect(await mbuild.run(line.split(' '))).toMatchObject({
          code: expect.any(Number) as number,
          stderr: expect.stringContaining(
            'the container there runs in another PID namespace',
          ) as string,
        });
      }
      child.kill('SIGKILL');
      await until(
        async () =>
          (await mbuild.ok(['ps', '-a', '--format', '{{.Names}} {{.State}}'])) === 'there exited',
      );
      await mbuild.ok(['rm', 'there']);
      await mbuild.ok(['prune', '-f']);
    });
  },
);

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20);
}
