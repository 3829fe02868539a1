import { execFileSync } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { unpackContext } from '../../src/context/archive';
import { extractFile, isArchive } from '../../src/context/extract';
import { END_OF_ARCHIVE, writeHeader } from '../../src/layer/tar/write';
import { NO_DEVICE, NO_XATTRS, type TarEntry } from '../../src/layer/tar/entry';
import { LayeredView } from '../../src/snapshot/merged-view';
import { TreeWriter } from '../../src/snapshot/tree-writer';
import { describeWith, findProgram } from '../support/needs';
import {
  canMount,
  makeFolder,
  makeTree,
  readTree,
  removeFolder,
  withOverlay,
} from '../snapshot/trees';

const NOW = 1_500_000_000;
const entry = (facts: Partial<TarEntry> & Pick<TarEntry, 'type' | 'path'>): TarEntry => ({
  mode: 0o644,
  uid: 0,
  gid: 0,
  mtime: 1_000_000_000,
  size: 0,
  linkPath: '',
  device: NO_DEVICE,
  xattrs: NO_XATTRS,
  ...facts,
});

/** A tar of entries without content. */
function tarOf(...entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([
    ...entries.map((item) => {
      const block = Buffer.alloc(512);
      writeHeader(item, block, 0);
      return block;
    }),
    END_OF_ARCHIVE,
  ]);
}

describe('recognizing archives', () => {
  let folder: string;
  beforeEach(() => {
    folder = makeFolder();
    makeTree(folder, { '/content/a': 'f:a' });
  });
  afterEach(() => removeFolder(folder));
  const at = (name: string): string => path.join(folder, name);

  test.each(
    [
      ['', undefined],
      ['z', 'gzip'],
      ['j', 'bzip2'],
      ['J', 'xz'],
      ['--zstd', 'zstd'],
    ].filter(([, program]) => program === undefined || findProgram(program) !== undefined),
  )('a tar made with "%s" is one, whatever its name', async (option) => {
    const flags =
      option === undefined || option === ''
        ? ['-cf']
        : option.startsWith('--')
          ? [option, '-cf']
          : [`-c${option}f`];
    execFileSync('tar', [...flags, at('archive.txt'), '-C', at('content'), 'a']);
    expect(await isArchive(at('archive.txt'))).toBe(true);
  });

  test.each([
    ['an empty file', Buffer.alloc(0)],
    ['text named like an archive', Buffer.from('no tar '.repeat(200))],
    ['an archive without entries', Buffer.alloc(10_240)],
    ['a broken gzip', Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3])],
    ['a broken bzip2', Buffer.from('BZh9 not really')],
  ])('%s is none', async (_, bytes) => {
    writeFileSync(at('x.tar'), bytes);
    expect(await isArchive(at('x.tar'))).toBe(false);
  });

  test('a gzip that is damaged behind its beginning is one: its faults are told when it is unpacked', async () => {
    execFileSync(
      'sh',
      [
        '-c',
        'head -c 4000 /dev/urandom > content/a && tar -czf x.tgz content && echo garbage >> x.tgz',
      ],
      { cwd: folder },
    );
    expect(await isArchive(at('x.tgz'))).toBe(true);
  });

  test('so is a small one, wherever the damage is behind the first header', async () => {
    execFileSync('tar', ['-czf', at('x.tgz'), '-C', at('content'), 'a']);
    const sound = readFileSync(at('x.tgz'));
    for (const place of [sound.length - 8, sound.length - 1, sound.length - 12]) {
      const damaged = Buffer.from(sound);
      damaged[place] = (damaged[place] ?? 0) ^ 0xff;
      writeFileSync(at('y.tgz'), damaged);
      expect(await isArchive(at('y.tgz'))).toBe(true);
    }
    writeFileSync(at('y.tgz'), sound.subarray(0, sound.length - 10));
    expect(await isArchive(at('y.tgz'))).toBe(true);
  });

  test.each(
    [
      ['j', 'bzip2'],
      ['J', 'xz'],
    ].filter(([, program = '']) => findProgram(program) !== undefined),
  )('tar -%s: a small one that is damaged is an error', async (option) => {
    execFileSync('tar', [`-c${option}f`, at('x'), '-C', at('content'), 'a']);
    const bytes = readFileSync(at('x'));
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
    writeFileSync(at('x'), bytes);
    await expect(isArchive(at('x'))).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
  });

  test.each(['zstd'].filter((program) => findProgram(program) !== undefined))(
    'a %s file that begins with a skippable frame is one',
    async () => {
      execFileSync(
        'sh',
        [
          '-c',
          "printf '\\120\\052\\115\\030\\004\\000\\000\\000abcd' > x.zst; tar -c content | zstd -qc >> x.zst",
        ],
        { cwd: folder },
      );
      expect(await isArchive(at('x.zst'))).toBe(true);
    },
  );

  test('gzip of something else is none', async () => {
    execFileSync('sh', ['-c', 'echo text | gzip > x.tar.gz'], { cwd: folder });
    expect(await isArchive(at('x.tar.gz'))).toBe(false);
  });
});

describeWith(
  'unpacking into a tree',
  { root: true, also: () => (canMount ? undefined : 'overlay cannot be mounted') },
  () => {
    let folder: string;
    let lower: string;
    let upper: string;
    beforeEach(() => {
      folder = makeFolder();
      [lower, upper] = [path.join(folder, 'lower'), path.join(folder, 'upper')];
      mkdirSync(lower);
      mkdirSync(upper);
    });
    afterEach(() => removeFolder(folder));

    const unpack = async (
      base: Readonly<Record<string, string>>,
      ...entries: readonly TarEntry[]
    ): Promise<Record<string, string>> => {
      makeTree(lower, base);
      writeFileSync(path.join(folder, 'x.tar'), tarOf(...entries));
      const writer = new TreeWriter(new LayeredView([lower]), upper, { now: NOW });
      await extractFile(
        path.join(folder, 'x.tar'),
        writer,
        writer.mkdirAll('/n', { mode: 0o755, uid: 0, gid: 0 }),
      );
      writer.finish();
      return withOverlay([upper, lower], (root) => readTree(root, { times: true }));
    };

    test('directories merge and take the archive’s attributes, but for the destination', async () => {
      const tree = await unpack(
        { '/n': 'd 0711 7:8', '/n/d/old': 'f:old' },
        entry({ type: 'directory', path: '.', mode: 0o700 }),
        entry({ type: 'directory', path: 'd', mode: 0o1750, uid: 5 }),
        entry({ type: 'file', path: 'd/new' }),
      );
      expect([tree['/n'], tree['/n/d']]).toEqual([
        expect.stringMatching(/^d 0711 7:8/),
        'd 1750 5:0 @1000000000',
      ]);
      expect(Object.keys(tree)).toEqual(expect.arrayContaining(['/n/d/old', '/n/d/new']));
    });

    test('a file replaces a directory and a directory a file', async () => {
      const tree = await unpack(
        { '/n/d/old': 'f:old', '/n/f': 'f:old' },
        entry({ type: 'file', path: 'd' }),
        entry({ type: 'directory', path: 'f', mode: 0o755 }),
        entry({ type: 'file', path: 'f/x' }),
      );
      expect(Object.keys(tree)).toEqual(['/', '/n', '/n/d', '/n/f', '/n/f/x']);
    });

    test('symlinks of the archive and of the tree lead nowhere but into the destination', async () => {
      const tree = await unpack(
        { '/etc': 'd', '/n/host': 'l:/etc' },
        entry({ type: 'symlink', path: 'up', linkPath: '../../../etc' }),
        entry({ type: 'file', path: 'up/a' }),
        entry({ type: 'file', path: 'host/b' }),
        entry({ type: 'file', path: '/abs' }),
      );
      expect(Object.keys(tree)).toEqual(expect.arrayContaining(['/n/etc/a', '/n/etc/b', '/n/abs']));
      expect(Object.keys(tree).filter((name) => name.startsWith('/etc'))).toEqual(['/etc']);
    });

    test.each([
      ['a name with ..', entry({ type: 'file', path: '../out' })],
      ['a name with .. inside', entry({ type: 'file', path: 'a/../../out' })],
      ['a name with .. behind ..', entry({ type: 'file', path: '../../n/x' })],
      ['a hard link with ..', entry({ type: 'link', path: 'l', linkPath: '../../etc/passwd' })],
    ])('%s is refused', async (_, bad) => {
      await expect(unpack({}, bad)).rejects.toMatchObject({ code: 'ARCHIVE_UNSAFE' });
    });

    test('a name with .. that stays inside is a name without it', async () => {
      expect(Object.keys(await unpack({}, entry({ type: 'file', path: 'a/./../b//f' })))).toEqual([
        '/',
        '/n',
        '/n/b',
        '/n/b/f',
      ]);
    });

    test('a hard link gives the file that it names its own owner, mode and time', async () => {
      const tree = await unpack(
        { '/n/a': 'f:x' },
        entry({ type: 'link', path: 'b', linkPath: 'a', mode: 0o4711, uid: 7, gid: 8 }),
      );
      expect([tree['/n/a'], tree['/n/b']]).toEqual([
        'f:x 4711 7:8 @1000000000',
        'h:/n/a 4711 7:8 @1000000000',
      ]);
    });

    test('implied parents are root’s, of the group of a setgid directory, and mode 0755', async () => {
      const tree = await unpack(
        { '/n': 'd 2711 7:8' },
        entry({ type: 'file', path: 'p/q/f', uid: 5, gid: 6 }),
      );
      expect([tree['/n/p'], tree['/n/p/q']]).toEqual([
        expect.stringMatching(/^d 0755 0:8/),
        expect.stringMatching(/^d 0755 0:0/),
      ]);
    });

    test('a time before the epoch is the epoch', async () => {
      const file = path.join(folder, 'x.tar');
      execFileSync('tar', ['--format=pax', '--mtime=@-5', '-cf', file, '-C', folder, 'lower']);
      const writer = new TreeWriter(new LayeredView([lower]), upper, { now: NOW });
      await extractFile(file, writer, writer.mkdirAll('/n', { mode: 0o755 }));
      writer.finish();
      expect(readTree(upper, { times: true })['/n/lower']).toMatch(/ @0$/);
    });

    test('records of a global header change nothing', async () => {
      const file = path.join(folder, 'x.tar');
      makeTree(folder, { '/f': 'f:x @1000000000' });
      execFileSync('tar', [
        '--format=pax',
        '--pax-option=globexthdr.name=g,mtime=1000000009,uid=77',
        '-cf',
        file,
        '-C',
        folder,
        'f',
      ]);
      const writer = new TreeWriter(new LayeredView([lower]), upper, { now: NOW });
      await extractFile(file, writer, writer.mkdirAll('/n', { mode: 0o755 }));
      writer.finish();
      expect(readTree(upper, { times: true })['/n/f']).toMatch(/ 0:0 @1000000000$/);
    });

    test('a hard link through a symlink ends inside the destination', async () => {
      await expect(
        unpack(
          { '/etc/passwd': 'f:x' },
          entry({ type: 'symlink', path: 'e', linkPath: '/etc' }),
          entry({ type: 'link', path: 'l', linkPath: 'e/passwd' }),
        ),
      ).rejects.toMatchObject({ code: 'COPY_FAILED' });
    });

    test('a tar from a stream becomes a context, whatever its compression', async () => {
      makeTree(path.join(folder, 'content'), { '/Dockerfile': 'f:FROM 5:6', '/d/f': 'f:x 0640' });
      execFileSync('sh', ['-c', 'tar -czf ctx.tgz -C content .'], { cwd: folder });
      await unpackContext(
        createReadStream(path.join(folder, 'ctx.tgz'), { highWaterMark: 3 }),
        path.join(folder, 'context'),
      );
      expect(readFileSync(path.join(folder, 'context/Dockerfile'), 'utf8')).toBe('FROM');
      expect(readTree(path.join(folder, 'context'))['/d/f']).toBe('f:x 0640 0:0');
    });

    test('a stream that is no tar is refused', async () => {
      await expect(
        unpackContext(Readable.from([Buffer.from('x'.repeat(2000))]), path.join(folder, 'context')),
      ).rejects.toMatchObject({ code: 'ARCHIVE_INVALID' });
      expect(existsSync('/n')).toBe(false);
    });
  },
);
