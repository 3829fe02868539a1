import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { applyLayer, completeApplied } from '../../src/layer/apply';
import type { Applied, ApplySource } from '../../src/layer/layer';
import { isMbuildError } from '../../src/diagnostics/error';
import { getXattr, listXattrs } from '../../src/linux/xattr';
import { digestOf, type DiffID } from '../../src/oci/digest';
import {
  LIMITS,
  describeTree,
  needsRoot,
  tarOf,
  useDirectory,
  whenRoot,
  type Member,
} from './trees';

const dir = useDirectory();
let count = 0;

function apply(
  tar: Buffer,
  facts: {
    readonly parents?: readonly string[];
    readonly out?: string;
    readonly limits?: Partial<typeof LIMITS>;
  } & Partial<ApplySource> = {},
): Promise<Applied> {
  const path = `${dir()}/${count++}.tar`;
  writeFileSync(path, tar);
  const { parents, out = `${dir()}/out`, limits, ...source } = facts;
  return applyLayer({ path, compression: 'none', ...source }, out, {
    xattrs: 'trusted',
    limits: { ...LIMITS, ...limits },
    parents,
  });
}

const DIR = { type: 'directory', mode: 0o755 } as const;
const names = (inside = ''): string[] => readdirSync(`${dir()}/out/${inside}`).sort();
const isWhiteout = (path: string): boolean =>
  lstatSync(path).isCharacterDevice() && lstatSync(path).rdev === 0;

describe('unpacking a layer', () => {
  it('makes directories that have no entry and names them', async () => {
    const applied = await apply(
      tarOf({ path: 'a/b/c', content: 'x' }, { path: 'a', ...DIR, mode: 0o700, mtime: 5 }),
    );
    expect(applied.implied).toEqual(['', 'a/b']);
    expect(statSync(`${dir()}/out/a`)).toMatchObject({ mode: 0o40700, mtimeMs: 5000 });
    expect(statSync(`${dir()}/out/a/b`)).toMatchObject({ mode: 0o40755, mtimeMs: 0 });
  });

  it('gives the root the attributes of its entry', async () => {
    const applied = await apply(
      tarOf({ path: '.', ...DIR, mode: 0o1770, mtime: 7 }, { path: './f' }),
    );
    expect(applied.implied).toEqual([]);
    expect(statSync(`${dir()}/out`)).toMatchObject({ mode: 0o41770, mtimeMs: 7000 });
  });

  it('takes the target of a hard link from the root of the tree', async () => {
    await apply(tarOf({ path: 'a', content: '1' }, { path: './d', type: 'link', linkPath: '/a' }));
    expect(names()).toEqual(['a', 'd']);
    expect(lstatSync(`${dir()}/out/d`).ino).toBe(lstatSync(`${dir()}/out/a`).ino);
  });

  it('lets later entries replace earlier ones', async () => {
    await apply(
      tarOf(
        { path: 'file-to-dir', content: 'x' },
        { path: 'file-to-dir', ...DIR },
        { path: 'file-to-dir/in' },
        { path: 'dir-to-file', ...DIR },
        { path: 'dir-to-file/in' },
        { path: 'dir-to-file', content: 'now' },
        { path: 'twice', content: 'long content' },
        { path: 'twice', content: 'short' },
        { path: 'link', type: 'symlink', linkPath: 'twice' },
        { path: 'link', content: 'own' },
        { path: 'dir', ...DIR, mode: 0o700 },
        { path: 'dir/in' },
        { path: 'dir', ...DIR, mode: 0o711 },
      ),
    );
    const read = (name: string): string => readFileSync(`${dir()}/out/${name}`, 'utf8');
    expect([
      names('file-to-dir'),
      read('dir-to-file'),
      read('twice'),
      read('link'),
      names('dir'),
    ]).toEqual([['in'], 'now', 'short', 'own', ['in']]);
    expect(statSync(`${dir()}/out/dir`).mode & 0o777).toBe(0o711);
  });

  whenRoot(`writes deletions in overlay's form${needsRoot}`, async () => {
    await apply(
      tarOf(
        { path: '.wh.gone' },
        { path: 'd', ...DIR },
        { path: 'd/.wh..wh..opq' },
        { path: 'd/.wh.x' },
        { path: 'e/.wh..wh..opq' },
      ),
    );
    expect([isWhiteout(`${dir()}/out/gone`), isWhiteout(`${dir()}/out/d/x`)]).toEqual([true, true]);
    expect(getXattr(`${dir()}/out/d`, 'trusted.overlay.opaque')).toEqual(Buffer.from('y'));
    expect(getXattr(`${dir()}/out/e`, 'trusted.overlay.opaque')).toEqual(Buffer.from('y'));
  });

  whenRoot(`keeps what the layer itself has at a deleted name${needsRoot}`, async () => {
    await apply(
      tarOf(
        { path: 'f', content: 'x' },
        { path: '.wh.f' },
        { path: '.wh.g' },
        { path: 'g', content: 'y' },
        { path: '.wh.d' },
        { path: 'd/in' },
        { path: 'e', ...DIR },
        { path: '.wh.e' },
      ),
    );
    expect([
      readFileSync(`${dir()}/out/f`, 'utf8'),
      readFileSync(`${dir()}/out/g`, 'utf8'),
      names('d'),
      names('e'),
    ]).toEqual(['x', 'y', ['in'], []]);
    for (const name of ['d', 'e'])
      expect(getXattr(`${dir()}/out/${name}`, 'trusted.overlay.opaque')).toEqual(Buffer.from('y'));
  });

  it('skips what aufs left behind', async () => {
    await apply(
      tarOf(
        { path: '.wh..wh.aufs' },
        { path: '.wh..wh.plnk', ...DIR },
        { path: '.wh..wh.plnk/1.2', content: 'x' },
        { path: 'a' },
      ),
    );
    expect(names()).toEqual(['a']);
  });

  whenRoot(`keeps setuid, owners and capabilities together${needsRoot}`, async () => {
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    await apply(
      tarOf({
        path: 'f',
        content: 'x',
        mode: 0o6755,
        uid: 1000,
        gid: 5,
        xattrs: new Map([['security.capability', capability]]),
        mtime: 9,
      }),
    );
    expect(statSync(`${dir()}/out/f`)).toMatchObject({
      mode: 0o106755,
      uid: 1000,
      gid: 5,
      mtimeMs: 9000,
    });
    expect(getXattr(`${dir()}/out/f`, 'security.capability')).toEqual(capability);
  });

  it('reports hard links to files of the layers below', async () => {
    const applied = await apply(
      tarOf(
        { path: 'a', type: 'link', linkPath: 'etc/passwd' },
        { path: 'b', type: 'link', linkPath: 'a' },
        { path: 'c', type: 'link', linkPath: 'x' },
        { path: 'c', content: 'own' },
      ),
    );
    expect(applied.foreignLinks).toEqual([
      ['a', 'etc/passwd'],
      ['b', 'etc/passwd'],
    ]);
    expect(names()).toEqual(['c']);
  });

  it('reads a part of a file', async () => {
    const tar = tarOf({ path: 'a', content: 'x' });
    const applied = await apply(Buffer.concat([Buffer.from('before'), tar, Buffer.from('after')]), {
      start: 6,
      length: tar.length,
      diffId: digestOf(tar) as never,
    });
    expect(applied.size).toBe(tar.length);
  });

  it.each([
    ['one member', (tar: Buffer) => gzipSync(tar)],
    [
      'several members',
      (tar: Buffer) => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
    ],
  ])('reads gzip of %s and verifies both digests', async (_, pack) => {
    const tar = tarOf({ path: 'a', content: 'x'.repeat(3000) });
    const blob = pack(tar);
    await apply(blob, {
      compression: 'gzip',
      digest: digestOf(blob),
      diffId: digestOf(tar) as never,
    });
    expect(readFileSync(`${dir()}/out/a`, 'utf8')).toHaveLength(3000);
    await expect(
      apply(blob, { compression: 'gzip', digest: digestOf('other'), out: `${dir()}/out2` }),
    ).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    await expect(
      apply(blob, {
        compression: 'gzip',
        diffId: digestOf('other') as never,
        out: `${dir()}/out3`,
      }),
    ).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  it('reads zstd of several frames', async () => {
    const tar = tarOf({ path: 'a', content: 'x'.repeat(3000) });
    const frame = (bytes: Buffer): Buffer => execFileSync('zstd', ['-cq'], { input: bytes });
    const applied = await apply(
      Buffer.concat([frame(tar.subarray(0, 512)), frame(tar.subarray(512))]),
      { compression: 'zstd', diffId: digestOf(tar) as never },
    );
    expect(applied.entries).toBe(1);
  });
});

describe('over its parents', () => {
  const parent = (name: string): string => `${dir()}/${name}`;

  it('a name leads through their symlinks, inside the root', async () => {
    mkdirSync(`${parent('p')}/usr/lib`, { recursive: true });
    chmodSync(`${parent('p')}/usr/lib`, 0o711);
    symlinkSync('/../../usr/lib', `${parent('p')}/lib`);
    const applied = await apply(tarOf({ path: 'lib/f', content: 'x' }), { parents: [parent('p')] });
    expect(
      describeTree(`${dir()}/out`, { mtimes: false }).map((line) => line.split(' ').slice(0, 2)),
    ).toEqual([
      ['"usr"', '40755'],
      ['"usr/lib"', '40711'],
      ['"usr/lib/f"', '100644'],
    ]);
    expect(applied.implied).toEqual(['', 'usr', 'usr/lib']);
  });

  it('a name that crosses a symlink of its own layer is refused', async () => {
    const members = [
      { path: 'x', type: 'symlink', linkPath: '../../../etc' },
      { path: 'x/passwd', content: 'mine' },
    ] as const;
    await expect(apply(tarOf(...members), { parents: [] })).rejects.toMatchObject({
      code: 'ARCHIVE_UNSAFE',
    });
  });

  it('a directory takes the place of their symlink when it has an entry', async () => {
    mkdirSync(`${parent('p')}/real`, { recursive: true });
    symlinkSync('real', `${parent('p')}/d`);
    await apply(tarOf({ path: 'd', ...DIR }, { path: 'd/f' }), { parents: [parent('p')] });
    expect(names()).toEqual(['d']);
  });

  it('a hard link brings up its target', async () => {
    mkdirSync(`${parent('p')}/etc`, { recursive: true });
    writeFileSync(`${parent('p')}/etc/f`, 'below', { mode: 0o640 });
    mkdirSync(parent('top'));
    await apply(tarOf({ path: 'g', type: 'link', linkPath: 'etc/f' }), {
      parents: [parent('top'), parent('p')],
    });
    expect(lstatSync(`${dir()}/out/g`)).toMatchObject({
      ino: lstatSync(`${dir()}/out/etc/f`).ino,
      mode: 0o100640,
      size: 5,
    });
    await expect(
      apply(tarOf({ path: 'g', type: 'link', linkPath: 'etc/none' }), {
        parents: [parent('p')],
        out: `${dir()}/out2`,
      }),
    ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });

  it('links that go in circles are refused', async () => {
    mkdirSync(parent('p'), { recursive: true });
    symlinkSync('b', `${parent('p')}/a`);
    symlinkSync('a', `${parent('p')}/b`);
    await expect(apply(tarOf({ path: 'a/f' }), { parents: [parent('p')] })).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
      message: expect.stringContaining('too many symbolic links'),
    });
  });

  whenRoot(`an opaque root hides them name by name${needsRoot}`, async () => {
    mkdirSync(`${parent('p')}/etc`, { recursive: true });
    mkdirSync(`${parent('p')}/usr`);
    await apply(tarOf({ path: '.wh..wh..opq' }, { path: 'usr', ...DIR }), {
      parents: [parent('p')],
    });
    expect(isWhiteout(`${dir()}/out/etc`)).toBe(true);
    expect(getXattr(`${dir()}/out/usr`, 'trusted.overlay.opaque')).toEqual(Buffer.from('y'));
  });

  it('what was unpacked without them is completed', async () => {
    mkdirSync(`${parent('p')}/usr/lib`, { recursive: true });
    chmodSync(`${parent('p')}/usr`, 0o700);
    chmodSync(parent('p'), 0o711);
    const applied = await apply(tarOf({ path: 'usr/lib/f' }));
    expect(completeApplied(applied, `${dir()}/out`, [parent('p')], { xattrs: 'trusted' })).toBe(
      true,
    );
    expect(statSync(`${dir()}/out/usr`).mode & 0o777).toBe(0o700);
    expect(statSync(`${dir()}/out`).mode & 0o777).toBe(0o711);
  });

  it('what leads through their symlinks or links to their files must be applied again', async () => {
    mkdirSync(`${parent('p')}/usr/lib`, { recursive: true });
    symlinkSync('usr/lib', `${parent('p')}/lib`);
    const through = await apply(tarOf({ path: 'lib/f' }));
    expect(completeApplied(through, `${dir()}/out`, [parent('p')], { xattrs: 'trusted' })).toBe(
      false,
    );
    const linked = await apply(tarOf({ path: 'g', type: 'link', linkPath: 'usr/x' }), {
      out: `${dir()}/out2`,
    });
    expect(completeApplied(linked, `${dir()}/out2`, [parent('p')], { xattrs: 'trusted' })).toBe(
      false,
    );
  });
});

describe('a hostile layer', () => {
  const out = { type: 'symlink', path: 'x' } as const;
  const attacks: readonly (readonly [string, readonly Member[]])[] = [
    ['a name that goes up', [{ path: '../escaped', content: 'x' }]],
    ['a name that goes up further in', [{ path: 'a/b/../../../escaped', content: 'x' }]],
    ['an absolute name', [{ path: '/escaped', content: 'x' }]],
    ['an absolute name that goes up', [{ path: '/../escaped', content: 'x' }]],
    ['a directory above', [{ path: '..', ...DIR }]],
    ['a deletion above', [{ path: '../.wh.victim' }]],
    ['a deletion of ..', [{ path: 'a', ...DIR }, { path: 'a/.wh...' }]],
    ['a deletion of .', [{ path: '.wh..' }]],
    ['a deletion of nothing', [{ path: '.wh.' }]],
    ['a file in a deletion', [{ path: '.wh.a/b' }]],
    [
      'a hard link above',
      [
        { path: 'a', type: 'link', linkPath: '../victim' },
        { path: 'a', content: 'x' },
      ],
    ],
    [
      'a hard link through a symlink',
      [
        { ...out, linkPath: '..' },
        { path: 'a', type: 'link', linkPath: 'x/victim' },
      ],
    ],
    ['a 0:0 device', [{ path: 'a', type: 'char' }]],
    ['a file as the root', [{ path: '.', content: 'x' }]],
    ['a symlink as the root', [{ path: '/', type: 'symlink', linkPath: '..' }]],
    ...(['..', '/', '/tmp', '../../..'] as const).flatMap(
      (linkPath) =>
        [
          [
            `a file through a symlink to ${linkPath}`,
            [
              { ...out, linkPath },
              { path: 'x/escaped', content: 'x' },
            ],
          ],
          [
            `a deletion through a symlink to ${linkPath}`,
            [{ ...out, linkPath }, { path: 'x/.wh.victim' }],
          ],
          [
            `an opaque mark through a symlink to ${linkPath}`,
            [{ ...out, linkPath }, { path: 'x/.wh..wh..opq' }],
          ],
          [
            `a directory through a symlink to ${linkPath}`,
            [
              { ...out, linkPath },
              { path: 'x/escaped', ...DIR },
            ],
          ],
          [
            `a symlink through a symlink to ${linkPath}`,
            [
              { ...out, linkPath },
              { path: 'x/escaped', type: 'symlink', linkPath: '/' },
            ],
          ],
          [
            `a hard link made through a symlink to ${linkPath}`,
            [
              { path: 'f' },
              { ...out, linkPath },
              { path: 'x/escaped', type: 'link', linkPath: 'f' },
            ],
          ],
          [
            `a pipe through a symlink to ${linkPath}`,
            [
              { ...out, linkPath },
              { path: 'x/escaped', type: 'fifo' },
            ],
          ],
        ] as (readonly [string, readonly Member[]])[],
    ),
  ];

  const surroundings = (): string[] =>
    describeTree(dir()).filter((line) => !/^"(out|\d+\.tar)/.test(line));
  const prepare = (): string[] => {
    writeFileSync(`${dir()}/victim`, 'precious');
    return surroundings();
  };

  it.each(attacks)('is refused for %s', async (_, members) => {
    const before = prepare();
    await expect(apply(tarOf(...members))).rejects.toMatchObject({
      code: 'ARCHIVE_UNSAFE',
      message: expect.stringMatching(/^the layer's entry .+ is refused: /),
    });
    expect(surroundings()).toEqual(before);
    expect(existsSync('/escaped') || existsSync('/tmp/escaped')).toBe(false);
  });

  it.each(attacks)('reaches nothing outside the tree over parents, with %s', async (_, members) => {
    const before = prepare();
    await apply(tarOf(...members), { parents: [] }).catch((error: unknown) => {
      if (!isMbuildError(error)) throw error;
    });
    expect(surroundings()).toEqual(before);
    expect(existsSync('/escaped') || existsSync('/tmp/escaped')).toBe(false);
  });

  it('does not write through a symlink that it replaces', async () => {
    const before = prepare();
    await apply(
      tarOf(
        { ...out, linkPath: '../victim' },
        { path: 'x', content: 'owned' },
        { path: 'y', type: 'symlink', linkPath: '..' },
        { path: 'y', ...DIR },
        { path: 'y/f', content: '1' },
      ),
    );
    expect(surroundings()).toEqual(before);
    expect(readFileSync(`${dir()}/out/x`, 'utf8')).toBe('owned');
  });

  it('does not change what a symlink points to', async () => {
    const before = prepare();
    await apply(
      tarOf(
        {
          ...out,
          linkPath: '../victim',
          mode: 0o6777,
          uid: 1,
          gid: 1,
          mtime: 1,
          xattrs: new Map([['user.a', Buffer.from('b')]]),
        },
        { path: 'h', type: 'link', linkPath: 'x', mode: 0o777, mtime: 2 },
      ),
    );
    expect(surroundings()).toEqual(before);
    expect(lstatSync(`${dir()}/out/h`).isSymbolicLink()).toBe(true);
  });

  whenRoot(`cannot set overlay's attributes${needsRoot}`, async () => {
    const marks = new Map(
      [
        'trusted.overlay.opaque',
        'trusted.overlay.redirect',
        'user.overlay.opaque',
        'trusted.overlay.metacopy',
      ].map((name) => [name, Buffer.from('y')]),
    );
    await apply(
      tarOf(
        { path: 'd', ...DIR, xattrs: marks },
        { path: 'f', xattrs: new Map([...marks, ['user.kept', Buffer.from('1')]]) },
      ),
    );
    expect([listXattrs(`${dir()}/out/d`), listXattrs(`${dir()}/out/f`)]).toEqual([
      [],
      ['user.kept'],
    ]);
  });

  it.each([
    ['too many entries', { maxEntries: 2 }],
    ['too many bytes', { maxSize: 2000 }],
  ])('ends at %s', async (_, limits) => {
    await expect(
      apply(tarOf({ path: 'a' }, { path: 'b' }, { path: 'c', content: 'x' }), { limits }),
    ).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  it('ends when a little unpacks to a lot', async () => {
    const bomb = gzipSync(Buffer.alloc(80 * 1024 * 1024), { level: 1 });
    await expect(
      apply(bomb, { compression: 'gzip', limits: { maxSize: 64 * 2 ** 20 } }),
    ).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  it('ends at a sparse file that is larger than the limit', async () => {
    execFileSync('sh', [
      '-c',
      `truncate -s 1G ${dir()}/hole && tar -Scf ${dir()}/s.tar -C ${dir()} hole`,
    ]);
    await expect(
      apply(readFileSync(`${dir()}/s.tar`), { limits: { maxSize: 1e6 } }),
    ).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });

  const sample = tarOf(
    { path: 'a', content: 'x'.repeat(700) },
    { path: 'n'.repeat(300), content: 'y' },
  );

  it('that is cut anywhere is refused', async () => {
    for (let length = 0; length < sample.length - 1024; length += 97) {
      await expect(
        apply(sample.subarray(0, length), { out: `${dir()}/cut${length}` }),
      ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    }
    await expect(
      apply(gzipSync(sample).subarray(0, 60), { compression: 'gzip', out: `${dir()}/gzip` }),
    ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    await expect(
      apply(execFileSync('zstd', ['-cq'], { input: sample }).subarray(0, 40), {
        compression: 'zstd',
        out: `${dir()}/zstd`,
      }),
    ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
    await expect(
      apply(sample.subarray(0, 512), { length: 1024, out: `${dir()}/short` }),
    ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });

  it('that its digest vouches for may end without the padding of its last file', async () => {
    const bytes = tarOf({ path: 'a', content: 'x'.repeat(33) }).subarray(0, 512 + 33);
    await apply(bytes, { diffId: digestOf(bytes) as string as DiffID });
    expect(readFileSync(`${dir()}/out/a`, 'utf8')).toBe('x'.repeat(33));
  });

  it('of any damaged bytes ends in one error of ours or is a tar', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(sample.length - 1), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 6,
        }),
        fc.boolean(),
        async (changes, fixSums) => {
          const damaged = Buffer.from(sample);
          for (const [at, byte] of changes) damaged[at] = byte;
          if (fixSums)
            for (let at = 0; at < damaged.length; at += 512) fixSum(damaged.subarray(at, at + 512));
          try {
            await apply(damaged, { out: `${dir()}/d${run++}`, limits: { maxSize: 1e8 } });
          } catch (error) {
            expect(error).toMatchObject({ name: 'MbuildError' });
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

function fixSum(block: Buffer): void {
  if (block.toString('latin1', 257, 262) !== 'ustar') return;
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}
