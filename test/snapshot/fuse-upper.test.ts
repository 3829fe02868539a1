import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { makeNode, makeWhiteout } from '../../src/linux/mknod';
import { listXattrs, setXattr } from '../../src/linux/xattr';
import { FuseOverlaySnapshotter } from '../../src/snapshot/fuse-overlayfs';
import { readyUpper, settleUpper } from '../../src/snapshot/fuse-upper';
import { isOpaque, isWhiteout, markOpaque, type OverlayXattrs } from '../../src/snapshot/marks';
import { LayeredView } from '../../src/snapshot/merged-view';
import { snapshotterContract } from '../contract/snapshotter';
import { makeFolder, removeFolder } from './trees';

const FORMS: readonly OverlayXattrs[] = ['files', 'user'];
const OLD = 1_000_000_000;

for (const xattrs of FORMS) {
  snapshotterContract(`FuseOverlaySnapshotter with ${xattrs}`, () => {
    const folder = makeFolder();
    return {
      snapshots: new FuseOverlaySnapshotter(
        path.join(folder, 'store'),
        xattrs,
        () => '/usr/bin/fuse-overlayfs',
      ),
      dispose: () => removeFolder(folder),
    };
  });
}

describe.each(FORMS)(
  'an upper directory of fuse-overlayfs, in a store with marks as %s',
  (xattrs) => {
    let folder: string;
    let upper: string;
    let lower: string;
    beforeEach(() => {
      folder = makeFolder();
      [upper, lower] = [path.join(folder, 'upper'), path.join(folder, 'lower')];
      for (const dir of ['upper', 'lower', 'lower/d', 'lower/d/sub', 'lower/g', 'upper/d'])
        mkdirSync(path.join(folder, dir));
      for (const file of ['d/a', 'd/b', 'd/.opq', 'g/x', 'top'])
        writeFileSync(path.join(lower, file), file);
      symlinkSync('a', path.join(lower, 'd/link'));
      chmodSync(path.join(lower, 'g'), 0o2775);
      for (const file of ['d/a', 'd', 'g', '']) utimesSync(path.join(lower, file), OLD, OLD);
    });
    afterEach(() => removeFolder(folder));

    const settle = (): void => settleUpper(upper, new LayeredView([lower], xattrs), xattrs);
    const view = (): LayeredView => new LayeredView([upper, lower], xattrs);
    /** As the server copies a file up. */
    const copyUp = (file: string): void => {
      writeFileSync(path.join(upper, file), 'changed');
      setXattr(path.join(upper, file), 'user.fuseoverlayfs.origin', Buffer.from(`${file}\0`));
    };

    test('a deletion is one in either form, and one of what is not below says nothing', () => {
      writeFileSync(path.join(upper, 'd/.wh.a'), '');
      makeNode(path.join(upper, 'd/b'), 'char', 0);
      writeFileSync(path.join(upper, 'd/.wh.never'), '');
      makeNode(path.join(upper, 'd/neither'), 'char', 0);
      writeFileSync(path.join(upper, 'd/.wh..opq'), '');
      settle();
      expect(view().readdir('/d')).toEqual(['link', 'sub']);
      expect(readdirSync(path.join(upper, 'd')).sort()).toEqual(['.opq', 'a', 'b']);
      expect(lstatSync(path.join(upper, 'd/b')).isSocket()).toBe(xattrs === 'files');
    });

    test('a directory that the server marked hides what is below, and no other does, whatever attributes it has', () => {
      writeFileSync(path.join(upper, 'd/.wh..wh..opq'), '');
      makeNode(path.join(upper, 'd/.wh..opq'), 'char', 0);
      mkdirSync(path.join(upper, 'g'));
      for (const name of ['user.overlay.opaque', 'user.fuseoverlayfs.opaque', 'user.kept'])
        setXattr(path.join(upper, 'g'), name, Buffer.from('y'));
      settle();
      expect([view().readdir('/d'), view().readdir('/g')]).toEqual([[], ['x']]);
      expect(listXattrs(path.join(upper, 'g'))).toEqual(['user.kept']);
    });

    test('a new directory hides nothing where nothing is below', () => {
      mkdirSync(path.join(upper, 'new'));
      writeFileSync(path.join(upper, 'new/.wh..wh..opq'), '');
      settle();
      expect([
        readdirSync(path.join(upper, 'new')),
        isOpaque(path.join(upper, 'new'), xattrs),
      ]).toEqual([[], false]);
    });

    test('names of that kind that are no marks stay, to be refused', () => {
      mkdirSync(path.join(upper, '.wh.top'));
      symlinkSync('x', path.join(upper, '.wh.g'));
      mkdirSync(path.join(upper, 'd/.wh..wh..opq'));
      writeFileSync(path.join(upper, 'd/.wh.a'), 'not empty');
      settle();
      expect([readdirSync(upper), readdirSync(path.join(upper, 'd'))]).toEqual([
        ['.wh.g', '.wh.top', 'd'],
        ['.wh..wh..opq', '.wh.a'],
      ]);
    });

    test('a directory keeps its time when a file in it was copied up, and has its own when a name was made or deleted', () => {
      copyUp('d/a');
      settle();
      expect([
        statSync(path.join(upper, 'd')).mtimeMs,
        listXattrs(path.join(upper, 'd/a')),
      ]).toEqual([OLD * 1000, []]);
      writeFileSync(path.join(upper, 'd/new'), '');
      settle();
      expect(statSync(path.join(upper, 'd')).mtimeMs).toBeGreaterThan(OLD * 1000);
    });

    test('a directory that was changed after the last copy has the time of that', () => {
      copyUp('d/a');
      const later = Math.ceil(Date.now() / 1000) + 100;
      utimesSync(path.join(upper, 'd'), later, later);
      settle();
      expect(statSync(path.join(upper, 'd')).mtimeMs).toBe(later * 1000);
    });

    test('setgid bits of directories and the kinds of files, which the server does not copy, are as they were', () => {
      mkdirSync(path.join(upper, 'g'));
      chmodSync(path.join(upper, 'g'), 0o775);
      makeNode(path.join(lower, 'pipe'), 'fifo', 0o644);
      copyUp('pipe');
      settle();
      expect([
        statSync(path.join(upper, 'g')).mode & 0o7777,
        lstatSync(path.join(upper, 'pipe')).isFIFO(),
      ]).toEqual([0o2775, true]);
    });

    test('what was settled and made ready again is settled as before', () => {
      writeFileSync(path.join(upper, 'd/.wh.a'), '');
      mkdirSync(path.join(upper, 'g'));
      writeFileSync(path.join(upper, 'g/.wh..wh..opq'), '');
      settle();
      readyUpper(upper, xattrs);
      settle();
      expect([view().readdir('/d'), view().readdir('/g')]).toEqual([
        ['.opq', 'b', 'link', 'sub'],
        [],
      ]);
    });

    test('deletions of layers below are seen by the server too', () => {
      const snapshots = new FuseOverlaySnapshotter(
        path.join(folder, 'store'),
        xattrs,
        () => '/usr/bin/fuse-overlayfs',
      );
      try {
        const base = snapshots.prepare([]);
        const bottom = snapshots.commit(base);
        const middle = snapshots.prepare(bottom);
        mkdirSync(path.join(middle.dir, 'd'));
        chmodSync(path.join(middle.dir, 'd'), 0o750);
        makeWhiteout(path.join(middle.dir, 'd/gone'), xattrs === 'files' ? 'socket' : 'device');
        markOpaque(path.join(middle.dir, 'd'), xattrs);
        const { lowers } = snapshots.rootfs(snapshots.prepare(snapshots.commit(middle)));
        if (xattrs !== 'files') return expect(lowers).toHaveLength(2);
        expect(lowers).toHaveLength(3);
        const [shadow = ''] = lowers;
        expect([
          readdirSync(path.join(shadow, 'd')),
          statSync(path.join(shadow, 'd')).mode & 0o777,
        ]).toEqual([['.wh.gone'], 0o750]);
        expect(isWhiteout(lstatSync(path.join(lowers[1] ?? '', 'd/gone')))).toBe(true);
        snapshots.close();
        expect(existsSync(shadow)).toBe(false);
      } finally {
        snapshots.close();
      }
    });
  },
);
