import { chmodSync, chownSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { copyFiles, type FileCopy } from '../../src/snapshot/copy-files';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const MODES = [0o644, 0o755, 0o600, 0o444, 0, 0o777, 0o4755, 0o2755, 0o1644];
const OWNERS = [[0, 0], [0, 5], [1000, 1000]] as const;
const SIZES = [0, 10, 600 * 1024];

describeWith('copyFiles', { root: true }, () => {
  const temp = useTemp();

  test.each([
    ['a plain directory', 0o022, () => undefined],
    ['a umask that takes rights away', 0o077, () => undefined],
    ['a umask that takes none', 0, () => undefined],
    ['a directory that gives its group on', 0o022, (directory: string) => {
      chownSync(directory, 0, 77);
      chmodSync(directory, 0o2755);
    }],
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
            files.push({ from, to: join(dir, folder, String(files.length)), mode, uid, gid, mtime: 1_000_000_000, seen: lstatSync(from), content });
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
      expect({ to, mode: stats.mode & 0o7777, uid: stats.uid, gid: stats.gid, mtime: stats.mtimeMs / 1000 }).toEqual({ to, mode, uid, gid, mtime });
      expect(readFileSync(to).equals(content)).toBe(true);
    }
  });
});
