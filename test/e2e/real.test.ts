import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debianBase, debianMissing, nodeBase, npmrcForBuild } from '../support/bases';
import { copyFixture } from '../support/fixtures';
import { fixture, instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

// Packages come over the network, from wherever this machine gets its own.
jest.setTimeout(300_000);

describeWith(
  'images that people build',
  { root: true, programs: ['mmdebstrap', 'npm'], also: debianMissing },
  () => {
    const temp = useTemp();
    let mbuild: Mbuild;

    beforeAll(async () => {
      mbuild = new Mbuild(temp.dir('store'));
      await debianBase(mbuild);
    });

    it('installs Debian packages with apt, and keeps file capabilities and attributes', async () => {
      const context = copyFixture(fixture('real', 'debian-packages'), join(temp.dir(), 'context'));
      const { id, steps } = await mbuild.build(['-t', 'packages', context]);
      expect(instructionSteps(steps)[0]?.log.some((line) => line.startsWith('Setting up jq'))).toBe(
        true,
      );
      expect((await mbuild.run(['run', '--rm', 'packages'])).stdout).toBe(
        '42\n/usr/local/bin/capable cap_net_bind_service=ep\nbuild',
      );
      expect(await mbuild.ok(['run', '--rm', 'packages', 'dpkg', '--verify', 'jq'])).toBe('');

      const again = await mbuild.build(['-t', 'packages', context]);
      expect(again.id).toBe(id);
      expect(instructionSteps(again.steps).every((step) => step.cached)).toBe(true);
    });

    it('leaves no trace of the sandbox in what apt changed', async () => {
      const listing = await mbuild.ok([
        'run',
        '--rm',
        'packages',
        'sh',
        '-c',
        'ls -A /proc/1/root/dev >/dev/null 2>&1; stat -c "%n %s" /etc/hosts /etc/resolv.conf 2>&1 | wc -l',
      ]);
      expect(listing).toBe('2');
      const tar = join(temp.dir(), 'root.tar');
      await mbuild.build(['--output', `type=tar,dest=${tar}`, fixture('real', 'debian-packages')]);
      const names = execFileSync('tar', ['-tvf', tar], { maxBuffer: 1 << 28 })
        .toString()
        .split('\n');
      expect(
        names.filter(
          (line) =>
            /\s(\.\/)?(proc|sys|dev)\/.+/.test(line) &&
            !/^[cl]/.test(line) &&
            !/dev\/(pts|shm)\/$/.test(line),
        ),
      ).toEqual([]);
      expect(names.filter((line) => / (\.\/)?etc\/(resolv\.conf|hosts)$/.test(line))).toEqual([]);
    });

    describe('a Node service in two stages', () => {
      let context: string;

      beforeAll(async () => {
        await nodeBase(mbuild);
        context = copyFixture(fixture('real', 'node-service'), join(temp.dir(), 'context'));
        writeFileSync(join(context, '.npmrc'), npmrcForBuild());
        await mbuild.build(['-t', 'service', context]);
      });

      it('starts, answers on loopback, and ends when it is asked to', async () => {
        let pid = 0;
        let output = '';
        const ended = mbuild.run(['run', '--rm', 'service'], {
          onStart: (started) => (pid = started),
          onStdout: (text) => (output += text),
        });
        try {
          const port = await Promise.race([
            waitFor(() => /listening on (\d+)/.exec(output)?.[1]),
            ended.then(({ stderr }) => Promise.reject(new Error(`the service ended: ${stderr}`))),
          ]);
          const response = await fetch(`http://127.0.0.1:${port}/type/page.html`, {
            headers: { connection: 'close' },
          });
          expect(await response.text()).toBe('text/html for 33\n');
        } finally {
          process.kill(pid, 'SIGTERM');
        }
        expect(await ended).toMatchObject({ code: 0, stderr: '' });
      });

      it('keeps nothing of the first stage but what was copied', async () => {
        expect((await mbuild.run(['run', '--rm', 'service', 'ls', '/root/.npmrc'])).code).not.toBe(
          0,
        );
        expect(await mbuild.ok(['history', '--no-trunc', 'service'])).not.toContain('npm ci');
      });

      it('builds only the last part again when the source changes', async () => {
        writeFileSync(
          join(context, 'server.js'),
          'console.log(require("mime").getType("a.css"));\n',
        );
        const { steps } = await mbuild.build(['-t', 'service:edited', context]);
        const npm = instructionSteps(steps).find((step) => step.name.includes('npm ci'));
        expect(npm).toMatchObject({ cached: true });
        expect((await mbuild.run(['run', '--rm', 'service:edited'])).stdout).toBe('text/css\n');
      });
    });
  },
);

async function waitFor<T>(look: () => T | undefined): Promise<T> {
  for (let tries = 0; ; tries++) {
    if (tries > 600) throw new Error('waited half a minute for nothing');
    const found = look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
