import { readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { resolvConf } from '../../src/sandbox/resolver';
import { smallBase } from '../support/bases';
import { instructionSteps, Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

describeWith(
  'what build --volume and --dns give to each RUN',
  { root: true, programs: ['crun'] },
  () => {
    const temp = useTemp();
    let mbuild: Mbuild;
    let folder: string;

    beforeAll(async () => {
      mbuild = new Mbuild(temp.dir('store'));
      await smallBase(mbuild);
    });
    beforeEach(() => {
      folder = writeFiles(temp.dir('volume'), { file: 'of the host\n' });
    });

    /** What the last step printed. */
    async function output(
      flags: readonly string[],
      ...lines: string[]
    ): Promise<readonly string[]> {
      const { steps } = await mbuild.build([
        ...flags,
        writeFiles(temp.dir('context'), {
          Dockerfile: ['FROM small-base', ...lines, ''].join('\n'),
        }),
      ]);
      return instructionSteps(steps).at(-1)?.log ?? [];
    }

    it.each(['namespaces', 'oci'])(
      'is a path of the host, with --isolation=%s, and no part of a layer',
      async (isolation) => {
        expect(
          await output(
            [`--isolation=${isolation}`, '-v', `${folder}:/opt/volume`],
            'RUN cat /opt/volume/file && echo new > /opt/volume/new',
            'RUN cat /opt/volume/new',
          ),
        ).toEqual(['new']);
        expect(readFileSync(join(folder, 'new'), 'utf8')).toBe('new\n');
        expect(
          await output(
            ['--no-cache', `--isolation=${isolation}`],
            'RUN find /opt 2>/dev/null || echo nothing',
          ),
        ).toEqual(['nothing']);
      },
    );

    it('may be one file, reached through a link, and read-only', async () => {
      const link = join(temp.dir('link'), 'link');
      symlinkSync(join(folder, 'file'), link);
      expect(
        await output(
          ['-v', `${link}:/etc/given:ro`],
          'RUN cat /etc/given; echo x 2>/dev/null > /etc/given || echo refused',
        ),
      ).toEqual(['of the host', 'refused']);
      expect(readFileSync(join(folder, 'file'), 'utf8')).toBe('of the host\n');
    });

    it('is known to the cache by its name, and not by what it holds', async () => {
      const context = writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM small-base\nRUN ls /v > /listing\n',
      });
      const cached = async (...flags: string[]) =>
        instructionSteps((await mbuild.build([...flags, context])).steps).map(
          (step) => step.cached,
        );
      expect(await cached('-v', `${folder}:/v`)).toEqual([false]);
      writeFiles(folder, { more: '' });
      expect(await cached('-v', `${folder}:/v`)).toEqual([true]);
      const { stderr } = await mbuild.build(['-v', `${folder}:/v:ro`, context]);
      expect(stderr).toMatch(/not cached: --volume/);
    });

    it.each([
      [['-v', 'name:/v'], 125, /invalid --volume "name:\/v"[^]*give a path of this machine/],
      [
        ['-v', '/nowhere/at/all:/v'],
        1,
        /> 2 │ RUN true[^]*\[HOST_PATH_NOT_FOUND\]|cannot mount \/nowhere\/at\/all in a step[^]*HOST_PATH_NOT_FOUND/,
      ],
      [
        ['--isolation=chroot', '-v', '/etc:/v'],
        1,
        /cannot mount \/etc of the host in a step: mounts are not possible here/,
      ],
      [['--dns', 'resolver'], 125, /invalid --dns "resolver"/],
    ])('refuses %s', async (flags, code, message) => {
      const before = readdirSync('/etc').length;
      const result = await mbuild.run([
        'build',
        '--no-cache',
        '--root',
        join(temp.dir('other'), 'store'),
        ...flags,
        writeFiles(temp.dir('context'), { Dockerfile: 'FROM scratch\nRUN true\n' }),
      ]);
      expect(result).toMatchObject({ code, stderr: expect.stringMatching(message) });
      expect(readdirSync('/etc').length).toBe(before);
    });

    it('are the lines of resolv.conf', async () => {
      const flags = [
        '--dns',
        '10.1.2.3',
        '--dns',
        'fd00::53',
        '--dns-search',
        'corp.example',
        '--dns-option',
        'ndots:2',
      ];
      expect(
        await output(flags, 'RUN grep -E "^(nameserver|search|options)" /etc/resolv.conf'),
      ).toEqual([
        'nameserver 10.1.2.3',
        'nameserver fd00::53',
        'search corp.example',
        'options ndots:2',
      ]);
    });
  },
);

describe('resolv.conf', () => {
  const own = Buffer.from(
    '# made by hand\nnameserver 1.1.1.1\nsearch a b\ndomain c\noptions rotate\n',
  );

  it.each([
    [{}, own.toString()],
    [
      { nameservers: ['9.9.9.9'] },
      '# made by hand\nsearch a b\ndomain c\noptions rotate\nnameserver 9.9.9.9\n',
    ],
    [{ search: ['.'] }, '# made by hand\nnameserver 1.1.1.1\noptions rotate\n'],
    [
      { search: ['x', 'y'], options: ['ndots:1'] },
      '# made by hand\nnameserver 1.1.1.1\nsearch x y\noptions ndots:1\n',
    ],
  ])('with %j keeps the other lines of the host', (given, expected) =>
    expect(resolvConf(given, own).toString()).toBe(expected),
  );
});
