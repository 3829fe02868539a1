import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
  chownSync,
  chmodSync,
  utimesSync,
} from 'node:fs';
import path from 'node:path';
import { makeNode } from '../../src/linux/mknod';
import { toRaw } from '../../src/linux/paths';
import type { ActiveSnapshot, LayerId, Snapshotter, Stack } from '../../src/snapshot/snapshotter';

/**
 * What every snapshotter promises. `make` gives a fresh one over an empty store; `dispose` deletes
 * the store.
 */
export function snapshotterContract(
  name: string,
  make: () => { readonly snapshots: Snapshotter; readonly dispose: () => void },
): void {
  describe(`${name} keeps the snapshotter's contract`, () => {
    let snapshots: Snapshotter;
    let dispose: () => void;
    beforeEach(() => ({ snapshots, dispose } = make()));
    afterEach(() => dispose());

    const layer = (parent: Stack, write: (dir: string, active: ActiveSnapshot) => void): Stack => {
      const active = snapshots.prepare(parent);
      write(active.dir, active);
      return snapshots.commit(active);
    };
    const top = (stack: Stack): LayerId => {
      const id = stack.at(-1);
      if (id === undefined) throw new Error('an empty stack');
      return id;
    };

    test('a committed tree is the parent with what was written', () => {
      const base = layer([], (dir) => writeFileSync(path.join(dir, 'a'), 'A'));
      const second = layer(base, (dir) => writeFileSync(path.join(dir, 'b'), 'B'));
      expect(snapshots.view(second).readdir('/')).toEqual(['a', 'b']);
      expect(snapshots.view(base).readdir('/')).toEqual(['a']);
    });

    test('the id is the same before and after commit', () => {
      const active = snapshots.prepare([]);
      expect(snapshots.commit(active)).toEqual([active.id]);
      expect(existsSync(snapshots.layerDir(active.id))).toBe(true);
    });

    test('scratch has a root that is a directory and holds nothing', () => {
      expect(snapshots.view([]).stat('/')?.stats.isDirectory()).toBe(true);
      expect(snapshots.view([]).readdir('/')).toEqual([]);
    });

    test('the root directory keeps its attributes from layer to layer', () => {
      const base = layer([], (dir) => {
        chownSync(dir, 5, 6);
        chmodSync(dir, 0o1750);
        utimesSync(dir, 1_000_000_000, 1_000_000_000);
      });
      const second = layer(base, () => {});
      const { mode, uid, gid, mtimeMs } = statSync(snapshots.layerDir(top(second)));
      expect([mode & 0o7777, uid, gid, mtimeMs]).toEqual([0o1750, 5, 6, 1_000_000_000_000]);
    });

    test('a discarded tree leaves nothing behind', () => {
      const active = snapshots.prepare([]);
      writeFileSync(path.join(active.dir, 'a'), '');
      snapshots.discard(active);
      expect(existsSync(active.dir)).toBe(false);
      expect(existsSync(snapshots.layerDir(active.id))).toBe(false);
    });

    test('a removed layer is gone, and removing it again does nothing', () => {
      const base = layer([], (dir) => mkdirSync(path.join(dir, 'x')));
      snapshots.remove(top(base));
      snapshots.remove(top(base));
      expect(existsSync(snapshots.layerDir(top(base)))).toBe(false);
    });

    test('a socket that a process leaves is neither in the layer nor in the next tree', () => {
      const base = layer([], (dir) => {
        mkdirSync(path.join(dir, 'run'));
        writeFileSync(path.join(dir, 'run/old'), 'a file');
      });
      const active = snapshots.prepare(base);
      const rootfs = snapshots.rootfs(active);
      const tree = rootfs.kind === 'directory' ? rootfs.path : rootfs.upper;
      rmSync(path.join(tree, 'run/old'), { force: true });
      mkdirSync(path.join(tree, 'run/new/in'), { recursive: true });
      for (const name of ['run/old', 'run/one', 'run/new/two', 'run/new/in/three'])
        makeNode(toRaw(path.join(tree, name)), 'socket', 0o600);
      utimesSync(path.join(tree, 'run/new'), 1_000_000_000, 1_000_000_000);
      snapshots.collect(active, { uid: 0, gid: 0 });
      const view = snapshots.view(snapshots.commit(active));
      expect([view.readdir('/run'), view.readdir('/run/new'), view.readdir('/run/new/in')]).toEqual(
        [['new'], ['in'], []],
      );
      expect(view.lstat('/run/new')?.stats.mtimeMs).toBe(1_000_000_000_000);
      const next = snapshots.rootfs(snapshots.prepare([...base, active.id]));
      if (next.kind === 'directory')
        expect(readdirSync(path.join(next.path, 'run/new'))).toEqual(['in']);
    });

    test('two trees over one parent do not see each other', () => {
      const base = layer([], (dir) => writeFileSync(path.join(dir, 'a'), 'A'));
      const left = snapshots.prepare(base);
      const right = snapshots.prepare(base);
      writeFileSync(path.join(left.dir, 'a'), 'left');
      writeFileSync(path.join(right.dir, 'a'), 'right');
      const [one, two] = [snapshots.commit(left), snapshots.commit(right)];
      const read = (stack: Stack): string =>
        readFileSync(snapshots.view(stack).stat('/a')?.hostPath ?? '', 'utf8');
      expect([read(base), read(one), read(two)]).toEqual(['A', 'left', 'right']);
    });

    test('a hundred and twenty-seven layers are one tree', () => {
      let stack: Stack = [];
      for (let i = 0; i < 127; i++)
        stack = layer(stack, (dir) =>
          writeFileSync(path.join(dir, `f${String(i).padStart(3, '0')}`), ''),
        );
      expect(snapshots.view(stack).readdir('/')).toHaveLength(127);
      expect(snapshots.view(stack).stat('/f000')).toBeDefined();
    });
  });
}
