import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { HUGE } from '../../src/linux/copy-pieces';
import { withStopFlag } from '../../src/linux/stop-flag';
import { copyFiles, linkSame, type FileCopy } from '../../src/snapshot/copy-files';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const MODES = [0o644, 0o755, 0o600, 0o444, 0, 0o777, 0o4755, 0o2755, 0o1644];
const OWNERS = [
  [0, 0],
  [0, 5],
  [1000, 1000],
] as const;
const SIZES = [0, 10, 600 * 1024];

describeWith('copyFiles', { root: true }, () => {
  const temp = useTemp();

  test.each([
    ['a plain directory', 0o022, () => undefined],
    ['a umask that takes rights away', 0o077, () => undefined],
    ['a umask that takes none', 0, () => undefined],
    [
      'a directory that gives its group on',
      0o022,
      (directory: string) => {
        chownSync(directory, 0, 77);
        chmodSync(directory, 0o2755);
      },
    ],
  ])('each file gets the mode and the owner that are asked for: %s', (_, umask, prepare) => {
    const dir = temp.dir();
    const files: (FileCopy & { readonly content: Buffer })[] = [];
    for (const folder of ['x', 'y']) {
      mkdirSync(join(dir, folder));
      prepare(join(dir, folder));
      for (const mode of [...MODES, ...MODES]) {
        for (const [uid, gid] of OWNERS) {
          for (const size of mode === 0o4755 || mode === 0o644 ? SIZES : [10]) {
            const content = Buffer.alloc(size, `${folder} ${mode} ${uid}`);
            const from = join(dir, `source-${files.length}`);
            writeFileSync(from, content, { mode: 0o640 });
            files.push({
              from,
              to: join(dir, folder, String(files.length)),
              mode,
              uid,
              gid,
              mtime: 1_000_000_000,
              seen: lstatSync(from),
              content,
            });
          }
        }
      }
    }
    const before = process.umask(umask);
    try {
      expect(copyFiles(files)).toEqual([]);
    } finally {
      process.umask(before);
    }
    for (const { to, mode, uid, gid, mtime, content } of files) {
      const stats = lstatSync(to);
      expect({
        to,
        mode: stats.mode & 0o7777,
        uid: stats.uid,
        gid: stats.gid,
        mtime: stats.mtimeMs / 1000,
      }).toEqual({ to, mode, uid, gid, mtime });
      expect(readFileSync(to).equals(content)).toBe(true);
    }
  });

  /**
   * A large file of nothing but a word at its beginning, one in its middle and one near its end.
   */
  function sparse(size: number): FileCopy {
    const dir = temp.dir();
    const from = join(dir, 'from');
    const fd = openSync(from, 'w');
    for (const position of [0, size >> 1, size - 100]) writeSync(fd, 'word', position);
    closeSync(fd);
    truncateSync(from, size);
    return {
      from,
      to: join(dir, 'to'),
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: 1_000_000_000,
      seen: lstatSync(from),
    };
  }

  test('a large file is the same, and its holes stay holes', () => {
    const file = sparse(HUGE + 4097);
    expect(copyFiles([file])).toEqual([]);
    expect(readFileSync(file.to).equals(readFileSync(file.from))).toBe(true);
    expect(lstatSync(file.to).blocks * 512).toBeLessThan(8 << 20);
  });

  test('a copy that is told to stop begins no file, and ends within one', async () => {
    const [first, second] = [sparse(HUGE), sparse(HUGE)];
    await withStopFlag(AbortSignal.abort(), async (stop) => {
      expect(() => copyFiles([first], undefined, stop)).toThrow('canceled');
      expect(existsSync(first.to)).toBe(false);
    });
    const abort = new AbortController();
    await withStopFlag(abort.signal, async (stop) => {
      expect(() => copyFiles([first, second], () => abort.abort(), stop)).toThrow('canceled');
      expect([first, second].map(({ to }) => existsSync(to))).toEqual([true, false]);
    });
  });
});

describeWith('linkSame', { root: true }, () => {
  const temp = useTemp();

  /** An earlier copy, and the copy that is to be made of the same file. */
  function makeCopies(): { readonly there: string; readonly copy: FileCopy } {
    const dir = temp.dir();
    const from = join(dir, 'source');
    writeFileSync(from, 'content');
    const seen = lstatSync(from);
    const copy = {
      from,
      to: join(dir, 'copy'),
      mode: 0o640,
      uid: 5,
      gid: 6,
      mtime: seen.mtimeMs / 1000,
      seen,
    };
    const there = join(dir, 'there');
    expect(copyFiles([{ ...copy, to: there }])).toEqual([]);
    return { there, copy };
  }

  test('makes a copy a further name of the same one', () => {
    const { there, copy } = makeCopies();
    expect(linkSame(there, copy)).toBe(true);
    expect(lstatSync(copy.to).ino).toBe(lstatSync(there).ino);
  });

  test.each<readonly [string, (there: string) => void]>([
    ['mode', (there) => chmodSync(there, 0o644)],
    ['user', (there) => chownSync(there, 0, 6)],
    ['group', (there) => chownSync(there, 5, 0)],
    ['size', (there) => truncateSync(there, 3)],
    ['time', (there) => utimesSync(there, 1, 1)],
    [
      'kind',
      (there) => {
        renameSync(there, `${there}.file`);
        symlinkSync(`${there}.file`, there);
      },
    ],
    ['place, as it is gone', (there) => rmSync(there)],
  ])('links to nothing that has another %s', (_, change) => {
    const { there, copy } = makeCopies();
    change(there);
    expect(linkSame(there, copy)).toBe(false);
    expect(existsSync(copy.to)).toBe(false);
  });
});
