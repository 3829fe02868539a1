import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeTree } from '../../src/linux/remove-tree';
import { sharedSize, treeSize } from '../../src/linux/tree-size';

describe('trees', () => {
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'mb-trees-'));
  });

  afterEach(() => {
    removeTree(dir);
    expect(existsSync(dir)).toBe(false);
  });

  /**
   * A chain of directories `times` × 20 deep, with a file at its end; no path is ever longer than
   * the kernel takes.
   */
  function dig(times: number): void {
    const down = Array.from({ length: 20 }, () => 'directory').join('/');
    mkdirSync(join(dir, 'a'));
    writeFileSync(join(dir, 'a/end'), '12345');
    for (let i = 0; i < times; i++) {
      renameSync(join(dir, 'a'), join(dir, 'b'));
      mkdirSync(join(dir, 'a', down), { recursive: true });
      renameSync(join(dir, 'b'), join(dir, 'a', down, 'b'));
    }
  }

  test.each([1, 30, 60])('of %i times twenty directories are deleted and counted', (times) => {
    dig(times);
    mkdirSync(join(dir, 'deep-1'));
    writeFileSync(join(dir, 'beside'), '12');
    expect(treeSize(dir).bytes).toBe(times === 1 ? 7 : 2);
  });

  // On file systems without these flags (tmpfs before Linux 6.6), and for who may not set them,
  // there is nothing to delete.
  test('are deleted with files and directories that were made immutable', () => {
    mkdirSync(join(dir, 'fixed/in'), { recursive: true });
    for (const name of ['fixed/file', 'fixed/in/file']) writeFileSync(join(dir, name), '');
    const { status, stderr, error } = spawnSync(
      'chattr',
      ['+i', ...['fixed/file', 'fixed/in/file', 'fixed/in'].map((name) => join(dir, name))],
      { encoding: 'utf8' },
    );
    if (status !== 0) console.log(`skipped: chattr: ${error?.message ?? stderr}`);
    removeTree(join(dir, 'fixed'));
    expect(existsSync(join(dir, 'fixed'))).toBe(false);
  });

  test('do not free what has a name in another tree when they go', () => {
    for (const tree of ['a', 'b', 'c']) mkdirSync(join(dir, tree, 'in'), { recursive: true });
    writeFileSync(join(dir, 'a/alone'), 'x'.repeat(1000));
    writeFileSync(join(dir, 'a/in/twice'), 'x'.repeat(100));
    linkSync(join(dir, 'a/in/twice'), join(dir, 'a/again'));
    writeFileSync(join(dir, 'a/both'), 'x'.repeat(10));
    linkSync(join(dir, 'a/both'), join(dir, 'b/both'));
    writeFileSync(join(dir, 'a/all'), 'x');
    for (const tree of ['b', 'c']) linkSync(join(dir, 'a/all'), join(dir, tree, 'in/all'));
    expect(
      ['a', 'b', 'ab', 'abc', ''].map((trees) =>
        sharedSize([...trees].map((tree) => join(dir, tree))),
      ),
    ).toEqual([11, 11, 1, 0, 0]);
  });

  test('count a hard link once and follow no symlink; names that are not UTF-8 are names', () => {
    const other = mkdtempSync(join(tmpdir(), 'mb-trees-'));
    writeFileSync(join(other, 'kept'), 'x'.repeat(100));
    writeFileSync(join(dir, 'f'), '123');
    linkSync(join(dir, 'f'), join(dir, 'g'));
    symlinkSync(other, join(dir, 'link'));
    mkdirSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe])]));
    expect(treeSize(dir)).toEqual({ bytes: 3, files: 2 });
    removeTree(dir);
    expect(existsSync(join(other, 'kept'))).toBe(true);
    removeTree(other);
    expect(treeSize(other)).toEqual({ bytes: 0, files: 0 });
  });

  test('a file is deleted as well, and what is not there needs no deletion', () => {
    writeFileSync(join(dir, 'f'), '');
    chmodSync(join(dir, 'f'), 0);
    removeTree(join(dir, 'f'));
    removeTree(join(dir, 'f'));
    expect(existsSync(join(dir, 'f'))).toBe(false);
  });
});
