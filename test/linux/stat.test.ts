import { spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { makeNode } from '../../src/linux/mknod';
import { fsPath } from '../../src/linux/paths';
import { lstatOf, type FileStats } from '../../src/linux/stat';
import { MBUILD } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const FACTS = [
  'dev',
  'ino',
  'mode',
  'nlink',
  'uid',
  'gid',
  'rdev',
  'size',
  'atimeMs',
  'mtimeMs',
  'ctimeMs',
  'birthtimeMs',
] as const;
const TYPES = [
  'isFile',
  'isDirectory',
  'isSymbolicLink',
  'isFIFO',
  'isSocket',
  'isCharacterDevice',
  'isBlockDevice',
] as const;

/** All that is looked at, in one comparable value. */
function shown(stats: FileStats | undefined): unknown {
  return stats === undefined
    ? undefined
    : [...FACTS.map((name) => [name, stats[name]]), ...TYPES.map((name) => [name, stats[name]()])];
}

const temp = useTemp();

describe('lstatOf', () => {
  it('shows what lstatSync shows, of every kind of file', () => {
    const dir = temp.dir();
    const make: Readonly<Record<string, (path: string) => void>> = {
      file: (path) => writeFileSync(path, 'text', { mode: 0o4750 }),
      'b\xe9\xff': (path) => writeFileSync(fsPath(path), 'a name that is not UTF-8'),
      large: (path) => {
        writeFileSync(path, '');
        truncateSync(path, 9 * 2 ** 30);
      },
      old: (path) => {
        writeFileSync(path, '');
        utimesSync(path, -86_400.5, -1.25);
      },
      late: (path) => {
        writeFileSync(path, '');
        utimesSync(path, 5_000_000_000, 5_000_000_000.75);
      },
      directory: (path) => mkdirSync(path),
      symlink: (path) => symlinkSync('file', path),
      fifo: (path) => makeNode(path, 'fifo', 0o600),
      socket: (path) => makeNode(path, 'socket', 0o600),
      ...(process.getuid?.() === 0
        ? {
            whiteout: (path: string) => makeNode(path, 'char', 0o600),
            device: (path: string) =>
              makeNode(path, 'block', 0o600, { major: 4095, minor: 0xfffff }),
          }
        : {}),
    };
    for (const [name, create] of Object.entries(make)) {
      create(`${dir}/${name}`);
      expect(shown(lstatOf(`${dir}/${name}`))).toEqual(shown(lstatSync(fsPath(`${dir}/${name}`))));
    }
  });

  it('keeps what it showed of each of many files', () => {
    const dir = temp.dir();
    const names = Array.from({ length: 600 }, (_, i) => `${dir}/f${i}`);
    names.forEach((name, i) => writeFileSync(name, 'x'.repeat(i)));
    expect(names.map((name) => lstatOf(name)).map((stats) => stats?.size)).toEqual(
      names.map((_, i) => i),
    );
  });

  it.each([
    ['missing', 'nothing'],
    ['below a file', 'file/below'],
  ])('shows nothing of what is not there: %s', (_, name) => {
    const dir = temp.dir();
    writeFileSync(`${dir}/file`, '');
    expect(lstatOf(`${dir}/${name}`)).toBeUndefined();
  });

  it('throws the errors of node:fs for what cannot be looked at', () => {
    expect(() => lstatOf(`/${'n'.repeat(300)}`)).toThrow(
      expect.objectContaining({ code: 'ENAMETOOLONG', syscall: 'lstat' }),
    );
    expect(() => lstatOf('/a\0b')).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }),
    );
  });
});

describeWith('where a filter of the surroundings refuses statx', { programs: ['strace'] }, () => {
  it('files are looked at the way that Node.js does it', () => {
    const dir = temp.dir();
    writeFileSync(`${dir}/file`, 'text');
    const { status, stdout, stderr } = spawnSync(
      'strace',
      [
        '-f',
        '-o',
        '/dev/null',
        '-e',
        'trace=statx',
        '-e',
        'inject=statx:error=EPERM',
        MBUILD,
        'context',
        'files',
        dir,
      ],
      { encoding: 'utf8' },
    );
    expect([status, stdout, stderr]).toEqual([0, expect.stringContaining('1 file (4B) in'), '']);
  });
});
