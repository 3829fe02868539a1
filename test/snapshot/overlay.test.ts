import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { OverlaySnapshotter } from '../../src/snapshot/overlay';
import type { Stack } from '../../src/snapshot/snapshotter';
import { snapshotterContract } from '../contract/snapshotter';
import { canMount, makeFolder, removeFolder } from './trees';

snapshotterContract('OverlaySnapshotter', () => {
  const folder = makeFolder();
  return {
    snapshots: new OverlaySnapshotter(path.join(folder, 'store')),
    dispose: () => removeFolder(folder),
  };
});

describe('OverlaySnapshotter', () => {
  let folder: string;
  let snapshots: OverlaySnapshotter;
  beforeEach(() => {
    folder = makeFolder();
    snapshots = new OverlaySnapshotter(path.join(folder, 'store'));
  });
  afterEach(() => removeFolder(folder));

  test('the store is closed to other users', () => {
    expect(statSync(path.join(folder, 'store')).mode & 0o777).toBe(0o700);
  });

  test('a layer that is missing is named when a tree is prepared over it', () => {
    expect(() => snapshots.prepare(['gone' as Stack[number]])).toThrow(
      /layer gone is not in the store/,
    );
  });

  const mountTest = canMount ? test : test.skip;
  mountTest(
    'a process sees the parent on its rootfs, and its writes are the layer (skipped where overlay cannot be mounted)',
    () => {
      const base = snapshots.prepare([]);
      writeFileSync(path.join(base.dir, 'a'), 'A');
      const active = snapshots.prepare(snapshots.commit(base));
      const rootfs = snapshots.rootfs(active);
      if (rootfs.kind !== 'overlay') throw new Error('not an overlay');
      const target = path.join(folder, 'merged');
      mkdirSync(target);
      const options = [
        `lowerdir=${rootfs.lowers.join(':')}`,
        `upperdir=${rootfs.upper}`,
        `workdir=${rootfs.work}`,
        ...rootfs.options,
      ].join(',');
      execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, target]);
      try {
        execFileSync('sh', ['-c', 'rm a; mkdir d; echo x > d/f'], { cwd: target });
      } finally {
        execFileSync('umount', [target]);
      }
      const stack = snapshots.commit(active);
      expect(snapshots.view(stack).readdir('/')).toEqual(['d']);
      expect(readdirSync(path.join(folder, 'store', 'active'))).toEqual([]);
    },
  );
});
