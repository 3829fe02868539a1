import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { listXattrs } from '../../src/linux/xattr';
import { digestOf } from '../../src/oci/digest';
import { tarOf, type Member } from '../layer/trees';
import { smallBase } from '../support/bases';
import type { CommandResult } from '../support/command';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';

jest.setTimeout(120_000);

const DIR = { type: 'directory', mode: 0o755 } as const;
const link = (path: string, linkPath: string): Member => ({ path, linkPath, type: 'symlink' });
const hardLink = (path: string, linkPath: string): Member => ({ path, linkPath, type: 'link' });
const ups = '../'.repeat(24);

/**
 * Archives that try to leave the place that they are unpacked to: as layers, as what ADD unpacks,
 * as contexts. Whether one is refused or contained is told elsewhere; here nothing outside may have
 * been touched or read, not even an attribute.
 */
describeWith('mbuild withstands', { root: true, programs: ['zstd'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;
  /** A directory of the host that no archive may reach. */
  let host: string;
  let before: unknown;

  beforeAll(async () => {
    mbuild = new Mbuild(join(temp.dir('parent'), 'store'));
    host = writeFiles(temp.dir('host'), { secret: 'c4n4ry\n', 'sub/kept': 'kept\n' });
    await smallBase(mbuild);
  });

  beforeEach(() => {
    before = traces(host);
  });

  afterEach(() => {
    expect(traces(host)).toEqual(before);
    expect(
      [
        '/mbuild-hostile',
        '/tmp/mbuild-hostile',
        join(dirname(mbuild.root), 'mbuild-hostile'),
      ].filter((path) => existsSync(path)),
    ).toEqual([]);
    expect(readdirSync(dirname(mbuild.root))).toEqual(['store']);
  });

  /** Whoever changes anything of a file, adds a name for it included, changes its ctime. */
  function traces(dir: string): unknown {
    return [
      dir,
      ...readdirSync(dir, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => join(dir, name)),
    ].map((path) => {
      const { ctimeMs, nlink, mode, uid } = lstatSync(path);
      return [path, ctimeMs, nlink, mode, uid, listXattrs(path)];
    });
  }

  /** A docker archive of an image with such layers. */
  function imageOf(...layers: readonly Buffer[]): Buffer {
    const config = JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      config: {},
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
    });
    const manifest = JSON.stringify([
      {
        Config: 'config.json',
        RepoTags: ['hostile:latest'],
        Layers: layers.map((_, i) => `${i}.tar`),
      },
    ]);
    return tarOf(
      { path: 'manifest.json', content: manifest },
      { path: 'config.json', content: config },
      ...layers.map((content, i) => ({ path: `${i}.tar`, content })),
    );
  }

  async function load(...layers: readonly Buffer[]): Promise<CommandResult> {
    const file = join(temp.dir('image'), 'image.tar');
    writeFileSync(file, imageOf(...layers));
    return graceful(await mbuild.run(['load', '-i', file]));
  }

  /** What a build sees of it afterwards must not be the host's. */
  async function build(
    dockerfile: string,
    files: Readonly<Record<string, Uint8Array>> = {},
  ): Promise<CommandResult> {
    return graceful(
      await mbuild.run([
        'build',
        '--no-cache',
        '--progress=plain',
        writeFiles(temp.dir('context'), { ...files, Dockerfile: dockerfile }),
      ]),
    );
  }

  /** Refusals are errors that somebody thought of. */
  function graceful(result: CommandResult): CommandResult {
    expect([0, 1]).toContain(result.code);
    expect(result.stderr).not.toMatch(/\[INTERNAL\]|c4n4ry/);
    return result;
  }

  const LOOK = 'RUN cat /d/x/secret /x/secret /d/exfil /exfil /d/y /y; true';

  const ways: readonly (readonly [string, (host: string) => readonly Member[]])[] = [
    ['an absolute symlink', (to) => [link('x', to)]],
    ['a relative symlink', (to) => [link('x', `${ups.slice(0, -1)}${to}`)]],
    [
      'a chain of symlinks',
      (to) => [
        link('one', '../../..'),
        link('two', `one/${ups.slice(0, -1)}${to}`),
        link('x', 'two/.'),
      ],
    ],
    [
      'a symlink in a directory',
      (to) => [
        { path: 'deep', ...DIR },
        link('deep/up', '../..'),
        link('x', `deep/up/${ups.slice(0, -1)}${to}`),
      ],
    ],
    [
      'a directory that becomes a symlink',
      (to) => [{ path: 'x', ...DIR }, { path: 'x/in', content: '1' }, link('x', to)],
    ],
  ];
  const writes: readonly (readonly [string, readonly Member[]])[] = [
    ['a file', [{ path: 'x/mbuild-hostile', content: 'hostile' }]],
    ['a file that is there', [{ path: 'x/secret', content: 'hostile' }]],
    ['a hard link to it', [hardLink('y', 'x/secret')]],
    ['a hard link in it', [{ path: 'f', content: '1' }, hardLink('x/mbuild-hostile', 'f')]],
    ['a symlink', [link('x/mbuild-hostile', '/')]],
    ['a whiteout', [{ path: 'x/.wh.secret' }]],
    ['an opaque mark', [{ path: 'x/.wh..wh..opq' }]],
    [
      'attributes',
      [
        {
          path: 'x',
          ...DIR,
          mode: 0o777,
          uid: 7,
          xattrs: new Map([['user.evil', Buffer.from('1')]]),
        },
        { path: 'x/sub', ...DIR, mode: 0o777, uid: 7 },
      ],
    ],
    [
      'attributes of a file',
      [
        {
          path: 'x/secret',
          mode: 0o6777,
          uid: 7,
          xattrs: new Map([['security.capability', Buffer.alloc(20, 1)]]),
        },
      ],
    ],
    ['a device', [{ path: 'x/mbuild-hostile', type: 'char', device: { major: 1, minor: 3 } }]],
    ['a pipe', [{ path: 'x/mbuild-hostile', type: 'fifo' }]],
    [
      'a directory',
      [
        { path: 'x/mbuild-hostile', ...DIR },
        { path: 'x/sub/mbuild-hostile', content: '1' },
      ],
    ],
  ];

  describe.each(ways)('attack 12: through %s', (_, lead) => {
    test.each(writes)('%s, in a layer of its own and in the same', async (__, members) => {
      await load(tarOf(...lead(host), ...members));
      const { code } = await load(tarOf(...lead(host)), tarOf(...members));
      if (code === 0) await build(`FROM hostile\nCOPY --from=small-base / /\n${LOOK}\n`);
    });

    test.each(writes)('%s, out of ADD', async (__, members) => {
      await build(`FROM small-base\nADD a.tar /d/\n${LOOK}\n`, {
        'a.tar': tarOf(...lead(host), ...members),
      });
      await build(`FROM small-base\nADD a.tar /d/\nADD b.tar.gz /d/\nADD b.tar.gz /\n${LOOK}\n`, {
        'a.tar': tarOf(...lead(host)),
        'b.tar.gz': gzipSync(tarOf(...members)),
      });
    });
  });

  /** The cases by which npm's tar packages were left, as their advisories and tests tell them. */
  const npm: readonly (readonly [string, (host: string) => readonly Member[]])[] = [
    [
      'CVE-2024-12905: a hard link to a file above',
      (to) => [
        hardLink('exfil', `${ups.slice(0, -1)}${to}/secret`),
        { path: 'exfil', content: 'hostile' },
      ],
    ],
    [
      'CVE-2025-48387: a hard link through a symlink',
      (to) => [link('l', to), hardLink('exfil', 'l/secret'), { path: 'exfil', content: 'hostile' }],
    ],
    [
      'CVE-2025-59343: a symlink to a neighbour whose name begins alike',
      (to) => [
        link('x', `../${to.split('/').at(-1) ?? ''}`),
        { path: 'x/mbuild-hostile', content: '1' },
      ],
    ],
    [
      'CVE-2021-32803: a directory that was seen turns into a symlink',
      (to) => [{ path: 'x', ...DIR }, link('x', to), { path: 'x/mbuild-hostile', content: '1' }],
    ],
    [
      'CVE-2021-32804: absolute names with many slashes',
      (to) => [
        { path: `////${to}/mbuild-hostile`, content: '1' },
        { path: '///../mbuild-hostile', content: '1' },
      ],
    ],
    [
      'CVE-2021-37701: a symlink whose name ends in a backslash',
      (to) => [
        { path: 'x', ...DIR },
        link('x\\', to),
        link('x', to),
        { path: 'x\\/mbuild-hostile', content: '1' },
        { path: 'x/mbuild-hostile', content: '1' },
      ],
    ],
    [
      'CVE-2021-37712: names that are the same to some file systems',
      (to) => [
        { path: 'ca\u0301fe', ...DIR },
        link('c\u00e1fe', to),
        link('CAFE', to),
        { path: 'ca\u0301fe/mbuild-hostile', content: '1' },
        { path: 'c\u00e1fe/mbuild-hostile', content: '1' },
      ],
    ],
    [
      'CVE-2021-37713: a drive before a name that goes up',
      () => [
        { path: 'c:../mbuild-hostile', content: '1' },
        { path: 'c:/../../mbuild-hostile', content: '1' },
      ],
    ],
    [
      'CVE-2026-23745: targets of links are absolute',
      (to) => [
        hardLink('exfil', `${to}/secret`),
        link('x', `${to}/sub`),
        { path: 'exfil', content: 'hostile' },
        { path: 'x/mbuild-hostile', content: '1' },
      ],
    ],
    [
      'CVE-2026-24842: a hard link that goes up from its own directory',
      (to) => [
        { path: 'a/b/c', ...DIR },
        hardLink('a/b/c/exfil', `${ups.slice(0, -1)}${to}/secret`),
        hardLink('exfil', `a/../${ups.slice(0, -1)}${to}/secret`),
      ],
    ],
    [
      'CVE-2026-26960: a hard link through a chain of symlinks',
      (to) => [
        { path: 'a/b/c', ...DIR },
        link('a/b/c/up', '../..'),
        link('a/b/escape', `c/up/../../${ups.slice(0, -1)}${to}`),
        hardLink('exfil', 'a/b/escape/secret'),
        { path: 'exfil', content: 'hostile' },
      ],
    ],
    [
      'a symlink to itself, and one in the other',
      () => [
        link('x', 'x'),
        link('y', 'z'),
        link('z', 'y'),
        { path: 'x/mbuild-hostile', content: '1' },
        { path: 'y/mbuild-hostile', content: '1' },
      ],
    ],
    [
      'a name with a NUL in it',
      () => [{ path: 'a\0/../../mbuild-hostile'.padEnd(120, 'x'), content: '1' }],
    ],
    [
      'an empty name, and those of the root',
      () => [
        { path: '', content: '1' },
        { path: '.', content: '1' },
        { path: '/', content: '1' },
        { path: './.', type: 'symlink', linkPath: '/' },
      ],
    ],
    ['a name of many parts', () => [{ path: `${'a/'.repeat(20_000)}f`, content: '1' }]],
  ];

  test.each(npm)('attack 13: %s', async (_, members) => {
    const tar = tarOf(...members(host));
    await load(tar);
    await build(`FROM small-base\nADD a.tar /d/\n${LOOK}\n`, { 'a.tar': tar });
    const dockerfile = { path: 'Dockerfile', content: `FROM small-base\nCOPY . /d/\n${LOOK}\n` };
    graceful(
      await mbuild.run(['build', '--no-cache', '--progress=plain', '-'], {
        input: gzipSync(tarOf(dockerfile, ...members(host))),
      }),
    );
    graceful(await mbuild.run(['load'], { input: tar }));
    graceful(await mbuild.run(['import', '-', 'imported'], { input: tar }));
  });

  test.each([
    ['as a symlink to the host', (to: string) => link('Dockerfile', `${to}/secret`)],
    ['as a pipe', (): Member => ({ path: 'Dockerfile', type: 'fifo' })],
    [
      'as a device',
      (): Member => ({ path: 'Dockerfile', type: 'char', device: { major: 1, minor: 5 } }),
    ],
    [
      'and .dockerignore as a symlink to the host',
      (to: string) => link('.dockerignore', `${to}/secret`),
    ],
  ])('attack 16: a context brings its Dockerfile %s', async (_, member) => {
    const { code, stderr } = graceful(
      await mbuild.run(['build', '--progress=plain', '-'], { input: tarOf(member(host)) }),
    );
    expect([code, stderr]).toEqual([1, expect.stringMatching(/Dockerfile/)]);
  });

  test('attack 26: what ADD unpacks spoofs marks of overlay', async () => {
    const marks = new Map(
      ['trusted.overlay.opaque', 'trusted.overlay.redirect', 'user.overlay.opaque'].map((name) => [
        name,
        Buffer.from('y'),
      ]),
    );
    const { code, stderr } = await build(
      'FROM small-base\nRUN mkdir /bin2 && touch /bin2/kept\nADD a.tar /\nRUN ls /bin2 && ls /etc/passwd\n',
      {
        'a.tar': tarOf(
          { path: 'bin2', ...DIR, xattrs: marks },
          { path: 'etc', ...DIR, xattrs: marks },
        ),
      },
    );
    expect([code, stderr]).toEqual([0, expect.stringMatching(/kept.*\/etc\/passwd/s)]);
    const device = await build('FROM small-base\nADD a.tar /\nRUN ls -l /etc\n', {
      'a.tar': tarOf({ path: 'etc', type: 'char' }),
    });
    expect([device.code, device.stderr]).toEqual([1, expect.stringMatching(/device 0:0/)]);
  });

  test.each([
    // Against a smaller limit than the usual one, which a bomb takes long to reach.
    [
      'a bomb',
      (): Buffer =>
        execFileSync('zstd', ['-cq'], {
          input: tarOf({ path: 'zeros', content: Buffer.alloc(120_000_000) }),
        }),
    ],
    ['a sparse file of a petabyte', (): Buffer => sparse(9e14)],
  ])('attack 19: %s as an archive of strangers', async (_, make) => {
    const archive = make();
    const limited = new Mbuild(mbuild.root, { MBUILD_MAX_UNPACKED: '100m' });
    const context = writeFiles(temp.dir('context'), {
      'a.tar': archive,
      Dockerfile: 'FROM small-base\nADD a.tar /d/\n',
    });
    const commands = [
      ['build', '--progress=plain', context],
      ['build', '--progress=plain', '-'],
      ['import', '-', 'bomb'],
    ];
    for (const command of commands) {
      expect(graceful(await limited.run(command, { input: archive }))).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/LIMIT_EXCEEDED/),
      });
    }
  });

  /** PAX sparse format 1.0: one hole, and a length that is all that the file has. */
  function sparse(size: number): Buffer {
    const map = Buffer.from(`1\n${size}\n0\n`.padEnd(512, '\0'));
    const records = [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', 'hole'],
      ['GNU.sparse.realsize', String(size)],
    ];
    const pax = records.map(([key, value]) => record(`${key}=${value}`)).join('');
    const body = tarOf({ path: 'GNUSparseFile.0/hole', content: map });
    const head = tarOf({ path: 'pax', content: pax });
    head.write('x', 156);
    const sum = head
      .subarray(0, 512)
      .reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
    head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return Buffer.concat([head.subarray(0, head.length - 1024), body]);
  }

  function record(text: string): string {
    let length = text.length + 2;
    while (String(length).length + text.length + 2 !== length)
      length = String(length).length + text.length + 2;
    return `${length} ${text}\n`;
  }
});
