import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { makeNode } from '../../src/linux/mknod';
import { listXattrs } from '../../src/linux/xattr';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

/** What a step does to the server of its tree, or has it do. */
describeWith(
  'mbuild withstands',
  {
    root: true,
    programs: ['fuse-overlayfs', 'tar'],
    also: () => (existsSync('/dev/fuse') ? undefined : '/dev/fuse does not exist'),
  },
  () => {
    const temp = useTemp();
    let mbuild: Mbuild;
    let root: string;

    beforeAll(async () => {
      root = temp.dir('store');
      mbuild = new Mbuild(root, { MBUILD_SNAPSHOTTER: 'fuse-overlayfs' });
      await smallBase(mbuild);
    });

    async function output(dir: string, ...lines: string[]): Promise<readonly string[]> {
      writeFiles(dir, { Dockerfile: ['FROM small-base', ...lines, ''].join('\n') });
      const { steps } = await mbuild.build([dir]);
      return instructionSteps(steps).at(-1)?.log ?? [];
    }

    const layerFiles = (file: string): string[] =>
      readdirSync(join(root, 'layers'))
        .map((id) => join(root, 'layers', id, file))
        .filter((path) => existsSync(path));

    test('attack 26: a step makes the marks by which fuse-overlayfs hides files', async () => {
      expect(
        await output(
          temp.dir('context'),
          'RUN touch /.wh.etc /etc/.wh.passwd /tmp/.wh..wh..opq 2>&1 | grep -c Invalid',
        ),
      ).toEqual(['3']);
      // What it makes all the same is a deletion, as it may make one, or refused.
      expect(
        await output(
          temp.dir('context'),
          'RUN touch /empty; mv /empty /etc/.wh.group',
          'RUN ls /etc/group 2>/dev/null; ls -a /etc | grep wh; ls /etc/passwd',
        ),
      ).toEqual(['/etc/passwd']);
      for (const line of [
        'mkdir /.wh.d',
        'mkdir /etc/.wh..wh..opq',
        'ln -s x /.wh.l',
        'mkfifo /.wh.p',
        'echo x > /x; mv /x /.wh.m',
        'ln /etc/passwd /.wh.h',
        'mkdir /.wh.etc; rm -rf /etc; true',
      ]) {
        const dir = writeFiles(temp.dir('context'), {
          Dockerfile: `FROM small-base\nRUN ${line}\n`,
        });
        const { code, stderr } = await mbuild.run(['build', dir]);
        expect([line, code, stderr]).toEqual([
          line,
          1,
          expect.stringMatching(/\[(UNSUPPORTED|SANDBOX_FAILED)\]/),
        ]);
      }
      expect(
        await output(temp.dir('context'), 'RUN mknod /etc/passwd2 c 0 0 2>/dev/null || echo none'),
      ).toEqual(['none']);
    });

    test('attack 27: a step has the server read a device of the host that a layer holds', async () => {
      const dir = temp.dir('context');
      mkdirSync(join(dir, 'devices'));
      makeNode(join(dir, 'devices/null'), 'char', 0o666, { major: 1, minor: 3 });
      execFileSync('tar', [
        '--create',
        '--file',
        join(dir, 'devices.tar'),
        '--directory',
        join(dir, 'devices'),
        '.',
      ]);
      expect(
        await output(
          dir,
          'ADD devices.tar /x/',
          'RUN chmod 600 /x/null 2>/dev/null || mv /x/null /x/log 2>/dev/null || ln /x/null /x/l 2>/dev/null || echo refused',
        ),
      ).toEqual(['refused']);
      expect(
        ['null', 'log', 'l']
          .flatMap((name) => layerFiles(`x/${name}`))
          .filter((file) => !lstatSync(file).isCharacterDevice()),
      ).toEqual([]);
    });

    test('attack 27: a step looks for the server among its processes, and leaves its notes in a layer', async () => {
      expect(
        await output(
          temp.dir('context'),
          'RUN cat /proc/[0-9]*/comm | sort -u; ls /dev/fuse 2>/dev/null; chmod 711 /etc/passwd',
        ),
      ).toEqual(['cat', 'sh', 'sort']);
      expect(layerFiles('etc/passwd').flatMap((file) => listXattrs(file))).toEqual([]);
    });
  },
);
