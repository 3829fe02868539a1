import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { hashTree } from '../../src/layer/diff';
import { settleCopied } from '../../src/snapshot/copied';
import { CopySnapshotter } from '../../src/snapshot/copy';
import { isWhiteout, type OverlayXattrs } from '../../src/snapshot/marks';
import type { Stack } from '../../src/snapshot/snapshotter';
import { dropUnchanged } from '../../src/snapshot/unchanged';
import { snapshotterContract } from '../contract/snapshotter';
import { makeFolder, removeFolder } from './trees';

const FORMS: readonly OverlayXattrs[] = ['files', 'user'];

for (const xattrs of FORMS) {
  snapshotterContract(`CopySnapshotter with ${xattrs}`, () => {
    const folder = makeFolder();
    return {
      snapshots: new CopySnapshotter(path.join(folder, 'store'), xattrs),
      dispose: () => removeFolder(folder),
    };
  });
}

describe.each(FORMS)('CopySnapshotter with marks as %s', (xattrs) => {
  let folder: string;
  let snapshots: CopySnapshotter;
  beforeEach(() => {
    folder = makeFolder();
    snapshots = new CopySnapshotter(path.join(folder, 'store'), xattrs);
  });
  afterEach(() => removeFolder(folder));

  /** What a process does on a tree over a stack. */
  function step(parent: Stack, work: (tree: string) => void): { stack: Stack; layer: string } {
    const active = snapshots.prepare(parent);
    const rootfs = snapshots.rootfs(active);
    if (rootfs.kind !== 'directory') throw new Error('no plain tree');
    work(rootfs.path);
    snapshots.collect(active, { uid: 0, gid: 0 });
    const stack = snapshots.commit(active);
    return { stack, layer: snapshots.layerDir(active.id) };
  }

  const base = (): Stack =>
    step([], (tree) => {
      mkdirSync(`${tree}/etc`);
      mkdirSync(`${tree}/d/e`, { recursive: true });
      for (const name of ['etc/a', 'etc/b', 'd/x', 'd/e/y']) writeFileSync(`${tree}/${name}`, name);
      chmodSync(`${tree}/etc/a`, 0o4755);
      for (const name of ['etc/a', 'etc/b', 'd/x', 'd/e/y', 'etc', 'd/e', 'd', ''])
        utimesSync(`${tree}/${name}`, 1_000_000_000, 1_000_000_000);
    }).stack;

  test('a step that changes nothing leaves an empty layer', () => {
    expect(readdirSync(step(base(), () => undefined).layer)).toEqual([]);
  });

  test('a file that is written again as it was is no change', () => {
    const { layer } = step(base(), (tree) => {
      const { atime, mtime } = statSync(`${tree}/etc/b`);
      const { mtime: dirTime } = statSync(`${tree}/etc`);
      writeFileSync(`${tree}/etc/b`, 'etc/b');
      utimesSync(`${tree}/etc/b`, atime, mtime);
      utimesSync(`${tree}/etc`, dirTime, dirTime);
    });
    expect(readdirSync(layer)).toEqual([]);
  });

  test('a change is found although size and times are as before', () => {
    const { stack } = step(base(), (tree) => {
      const { atime, mtime } = statSync(`${tree}/etc/b`);
      writeFileSync(`${tree}/etc/b`, 'ETC/B');
      utimesSync(`${tree}/etc/b`, atime, mtime);
    });
    expect(readFileSync(snapshots.view(stack).stat('/etc/b')?.hostPath ?? '', 'utf8')).toBe(
      'ETC/B',
    );
  });

  test('a deleted name is marked, and the next tree lacks it', () => {
    const { stack, layer } = step(base(), (tree) => rmSync(`${tree}/d`, { recursive: true }));
    expect(isWhiteout(lstatSync(`${layer}/d`))).toBe(true);
    expect(snapshots.view(stack).readdir('/')).toEqual(['etc']);
    const fresh = new CopySnapshotter(path.join(folder, 'store'), xattrs);
    const rootfs = fresh.rootfs(fresh.prepare(stack));
    expect(rootfs.kind === 'directory' && readdirSync(rootfs.path)).toEqual(['etc']);
  });

  test('a directory that was made anew hides what was there', () => {
    const { stack } = step(base(), (tree) => {
      rmSync(`${tree}/d`, { recursive: true });
      mkdirSync(`${tree}/d`);
      writeFileSync(`${tree}/d/z`, '');
    });
    expect(snapshots.view(stack).readdir('/d')).toEqual(['z']);
  });

  test('types, modes, links and renamed directories are kept', () => {
    const { stack } = step(base(), (tree) => {
      rmSync(`${tree}/etc/b`);
      mkdirSync(`${tree}/etc/b`);
      rmSync(`${tree}/d/x`);
      symlinkSync('/etc', `${tree}/d/x`);
      renameSync(`${tree}/d`, `${tree}/new`);
      linkSync(`${tree}/etc/a`, `${tree}/etc/a2`);
    });
    const view = snapshots.view(stack);
    expect(view.readdir('/')).toEqual(['etc', 'new']);
    expect([
      view.stat('/etc/b')?.stats.isDirectory(),
      view.lstat('/new/x')?.stats.isSymbolicLink(),
      view.stat('/new/e/y')?.stats.size,
    ]).toEqual([true, true, 5]);
    expect(view.lstat('/etc/a')?.stats.mode.toString(8)).toBe('104755');
    expect(view.lstat('/etc/a')?.stats.ino).toBe(view.lstat('/etc/a2')?.stats.ino);
  });

  describe('of a copy of which nobody took stock', () => {
    const linked = (): Stack =>
      step([], (tree) => {
        mkdirSync(`${tree}/bin`);
        writeFileSync(`${tree}/bin/perl`, 'perl');
        for (const name of ['perl5', 'perl5.36'])
          linkSync(`${tree}/bin/perl`, `${tree}/bin/${name}`);
      }).stack;

    /** What is left of a copy when what was done to it is brought into a layer's form. */
    function changes(work: (tree: string) => void): string[] {
      const active = snapshots.prepare(linked());
      const rootfs = snapshots.rootfs(active);
      if (rootfs.kind !== 'directory') throw new Error('no plain tree');
      work(rootfs.path);
      settleCopied(active.dir, () => snapshots.view(active.parent), xattrs);
      return (readdirSync(active.dir, { recursive: true }) as string[])
        .filter((name) => !name.includes('.wh.'))
        .sort();
    }

    test('hard links that are as before are no change', () =>
      expect(changes((tree) => writeFileSync(`${tree}/new`, ''))).toEqual(['new']));

    test.each<[string, (tree: string) => void, string[]]>([
      [
        'a further name',
        (tree) => linkSync(`${tree}/bin/perl`, `${tree}/bin/more`),
        ['bin/more', 'bin/perl', 'bin/perl5', 'bin/perl5.36'],
      ],
      [
        'other bytes',
        (tree) => writeFileSync(`${tree}/bin/perl`, 'PERL'),
        ['bin/perl', 'bin/perl5', 'bin/perl5.36'],
      ],
    ])('%s is one of all names of the file', (_, work, expected) => {
      const found = changes(work);
      expect(found).toEqual(['bin', ...expected]);
    });

    test('a name that left its file is a file of its own', () =>
      expect(
        changes((tree) => {
          rmSync(`${tree}/bin/perl5`);
          writeFileSync(`${tree}/bin/perl5`, 'perl');
        }),
      ).toContain('bin/perl5'));
  });

  test('a chain of steps gives the same layers as steps on fresh copies', () => {
    const work = (tree: string): void => {
      writeFileSync(`${tree}/etc/new`, 'x');
      rmSync(`${tree}/d/x`);
    };
    const first = base();
    const chained = step(first, work);
    const alone = new CopySnapshotter(path.join(folder, 'store'), xattrs);
    const active = alone.prepare(first);
    const rootfs = alone.rootfs(active);
    work(rootfs.kind === 'directory' ? rootfs.path : '');
    alone.collect(active, { uid: 0, gid: 0 });
    expect(hashTree(active.dir, { xattrs, clampMtime: 0 }).diffId).toBe(
      hashTree(chained.layer, { xattrs, clampMtime: 0 }).diffId,
    );
  });

  test('copies that are kept for later are deleted at the end', () => {
    base();
    expect(readdirSync(path.join(folder, 'store', 'active'))).toHaveLength(1);
    snapshots.close();
    expect(readdirSync(path.join(folder, 'store', 'active'))).toEqual([]);
  });

  test('what was only copied up is dropped from a layer, what differs stays', () => {
    const stack = base();
    const upper = path.join(folder, 'upper');
    const parent = snapshots.layerDir(stack[0] as Stack[number]);
    mkdirSync(`${upper}/etc`, { recursive: true });
    mkdirSync(`${upper}/d/e`, { recursive: true });
    writeFileSync(`${upper}/etc/b`, 'etc/b');
    writeFileSync(`${upper}/d/x`, 'other');
    for (const name of ['etc/b', 'd/x', 'etc', 'd/e', 'd', '']) {
      const { atime, mtime, mode } = statSync(`${parent}/${name}`);
      chmodSync(`${upper}/${name}`, mode);
      utimesSync(`${upper}/${name}`, atime, mtime);
    }
    dropUnchanged(upper, snapshots.view(stack), xattrs);
    expect([
      existsSync(`${upper}/etc`),
      existsSync(`${upper}/d/e`),
      readdirSync(`${upper}/d`),
    ]).toEqual([false, false, ['x']]);
  });
});
