import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lchownSync,
  lutimesSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  linkSync,
  lstatSync,
} from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { makeWhiteout } from '../../src/linux/mknod';
import { LayeredView } from '../../src/snapshot/merged-view';
import type { Attributes } from '../../src/snapshot/tree-entry';
import { TreeWriter } from '../../src/snapshot/tree-writer';
import { canMount, makeFolder, makeTree, readTree, removeFolder, withOverlay } from './trees';
import { describeWith } from '../support/needs';

const PLAIN: Attributes = { mode: 0o755, uid: 0, gid: 0, mtime: 1_000_000_000 };
const NOW = 1_500_000_000;

describeWith(
  'TreeWriter',
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

    const write = (
      spec: Readonly<Record<string, string>>,
      body: (writer: TreeWriter) => void,
    ): Record<string, string> => {
      makeTree(lower, spec);
      const writer = new TreeWriter(new LayeredView([lower]), upper, { now: NOW });
      body(writer);
      writer.finish();
      return withOverlay([upper, lower], (root) => readTree(root, { times: true }));
    };
    const upperNames = (): string[] => Object.keys(readTree(upper));

    test('a directory that is written into keeps its attributes, but for its mtime', () => {
      const tree = write(
        { '/d': 'd 2711 7:8 @900000000 user.note=kept', '/d/e': 'd 0700 1:2 @900000000' },
        (writer) => {
          writer.file(writer.mkdirAll('/d/e', PLAIN), 'f', Buffer.from('x'), {
            ...PLAIN,
            mode: 0o4755,
            uid: 3,
            gid: 4,
          });
        },
      );
      expect(tree['/d']).toBe('d 2711 7:8 @900000000 user.note=kept');
      expect(tree['/d/e']).toBe(`d 0700 1:2 @${NOW}`);
      expect(tree['/d/e/f']).toBe('f:x 4755 3:4 @1000000000');
    });

    test('new parents get the given attributes, existing ones keep theirs', () => {
      const tree = write(
        { '/d': 'd 0711 7:8' },
        (writer) => void writer.mkdirAll('/d/a/b', { mode: 0o1750, uid: 5, gid: 6 }),
      );
      expect(tree['/d']).toBe(`d 0711 7:8 @${NOW}`);
      expect([tree['/d/a'], tree['/d/a/b']]).toEqual([`d 1750 5:6 @${NOW}`, `d 1750 5:6 @${NOW}`]);
    });

    test('new parents in a setgid directory are as mkdir makes them', () => {
      const tree = write({ '/d': 'd 2711 7:8' }, (writer) => {
        writer.mkdirAll('/d/a/b', { mode: 0o755 });
        writer.mkdirAll('/d/c', { mode: 0o755, uid: 5, gid: 6 });
        writer.mkdirAll('/d/e/f', { mode: 0o755, isModeExact: true });
      });
      expect([tree['/d/a'], tree['/d/a/b']]).toEqual([`d 2755 0:8 @${NOW}`, `d 2755 0:8 @${NOW}`]);
      expect(tree['/d/c']).toBe(`d 2755 5:6 @${NOW}`);
      expect([tree['/d/e'], tree['/d/e/f']]).toEqual([`d 0755 0:8 @${NOW}`, `d 0755 0:0 @${NOW}`]);
    });

    test('looking writes nothing', () => {
      write({ '/d/e/f': 'f:x', '/l': 'l:d' }, (writer) => {
        expect(writer.lstat('/l/e/f')?.stats.isFile()).toBe(true);
        expect(writer.directory('/l/e')?.path).toBe('/d/e');
        writer.mkdirAll('/l/e', PLAIN);
      });
      expect(upperNames()).toEqual(['/']);
    });

    test.each([
      ['through an absolute link', '/abs/new', '/real/new'],
      ['through a relative link', '/d/rel/new', '/real/new'],
      ['through a link that climbs out of the tree', '/climb/new', '/real/new'],
      ['through a dangling link', '/dangling/new', '/nowhere/new'],
    ])('directories are made %s inside the tree', (_, given, expected) => {
      const tree = write(
        {
          '/real': 'd',
          '/d': 'd',
          '/abs': 'l:/real',
          '/d/rel': 'l:../real',
          '/climb': 'l:../../../../real',
          '/dangling': 'l:/nowhere',
        },
        (writer) => void writer.mkdirAll(given, PLAIN),
      );
      expect(tree[expected]).toBe('d 0755 0:0 @1000000000');
    });

    test('a file replaces a file, a link and a device, never what they point at', () => {
      const tree = write(
        { '/d/f': 'f:old 4777 9:9', '/d/l': 'l:/d/f', '/d/c': 'c:1,3' },
        (writer) => {
          for (const name of ['l', 'c'])
            writer.file(writer.mkdirAll('/d', PLAIN), name, Buffer.from('new'), PLAIN);
        },
      );
      expect([tree['/d/f'], tree['/d/l'], tree['/d/c']]).toEqual([
        expect.stringMatching(/^f:old 4777 9:9/),
        'f:new 0755 0:0 @1000000000',
        'f:new 0755 0:0 @1000000000',
      ]);
    });

    test('replacing one name of a hard-linked file leaves the other', () => {
      const tree = write({ '/a': 'f:old', '/b': 'h:/a' }, (writer) =>
        writer.file(writer.root, 'b', Buffer.from('new'), PLAIN),
      );
      expect([tree['/a'], tree['/b']]).toEqual([
        expect.stringMatching(/^f:old/),
        expect.stringMatching(/^f:new/),
      ]);
    });

    test('a file over a directory and a directory over a file are refused, by name', () => {
      makeTree(lower, { '/d/sub/x': 'f:x', '/d/f': 'f:x', '/d/l': 'l:sub' });
      const writer = new TreeWriter(new LayeredView([lower]), upper);
      const dir = writer.mkdirAll('/d', PLAIN);
      expect(() => writer.place(dir, 'sub')).toThrow('cannot replace directory /d/sub with a file');
      expect(() => writer.makeDirectory(dir, 'f', PLAIN)).toThrow(
        'cannot copy a directory over /d/f: not a directory',
      );
      expect(() => writer.makeDirectory(dir, 'l', PLAIN)).toThrow(
        'cannot copy a directory over /d/l: not a directory',
      );
      expect(() => writer.mkdirAll('/d/f/x', PLAIN)).toThrow(
        'cannot make directory /d/f: not a directory',
      );
    });

    test('a directory that was removed and made again shows nothing of the old one', () => {
      const tree = write({ '/d/old/deep': 'f:x', '/d/keep': 'f:x' }, (writer) => {
        const dir = writer.mkdirAll('/d', PLAIN);
        writer.remove(dir, 'old');
        writer.file(
          writer.makeDirectory(dir, 'old', PLAIN).directory,
          'new',
          Buffer.from(''),
          PLAIN,
        );
      });
      expect(Object.keys(tree)).toEqual(['/', '/d', '/d/keep', '/d/old', '/d/old/new']);
    });

    test('what was deleted in the upper directory before can be made again', () => {
      makeTree(lower, { '/f': 'f:x', '/d/deep': 'f:x' });
      makeWhiteout(`${upper}/f`);
      makeWhiteout(`${upper}/d`);
      const writer = new TreeWriter(new LayeredView([lower]), upper);
      expect(writer.lstat('/f')).toBeUndefined();
      writer.file(writer.root, 'f', Buffer.from('new'), PLAIN);
      writer.mkdirAll('/d', PLAIN);
      writer.finish();
      withOverlay([upper, lower], (root) =>
        expect(Object.keys(readTree(root))).toEqual(['/', '/d', '/f']),
      );
    });

    test('a link to a file of the parent takes the file along with all its attributes', () => {
      const tree = write({ '/d/f': 'f:x 4711 3:4 @900000000 user.note=kept' }, (writer) =>
        writer.link(writer.mkdirAll('/n', PLAIN), 'l', '/d/f'),
      );
      expect(tree['/d/f']).toBe('f:x 4711 3:4 @900000000 user.note=kept');
      expect(tree['/n/l']).toBe('h:/d/f 4711 3:4 @900000000 user.note=kept');
    });

    test('symlinks, pipes and devices are made as they are', () => {
      const tree = write({}, (writer) => {
        writer.symlink(writer.root, 'l', '/anywhere', { ...PLAIN, uid: 5, gid: 6 });
        writer.node(writer.root, 'p', { kind: 'fifo', device: { major: 0, minor: 0 } }, PLAIN);
        writer.node(
          writer.root,
          'c',
          { kind: 'char', device: { major: 1, minor: 3 } },
          { ...PLAIN, mode: 0o620 },
        );
      });
      expect([tree['/l'], tree['/p'], tree['/c']]).toEqual([
        'l:/anywhere 5:6 @1000000000',
        'p 0755 0:0 @1000000000',
        'c:1,3 0620 0:0 @1000000000',
      ]);
    });

    test('a 0:0 device, which overlay would take for a deletion, is refused', () => {
      const writer = new TreeWriter(new LayeredView([lower]), upper);
      expect(() =>
        writer.node(writer.root, 'x', { kind: 'char', device: { major: 0, minor: 0 } }, PLAIN),
      ).toThrow(/0:0/);
    });

    type Operation = readonly ['mkdir' | 'file' | 'symlink' | 'remove' | 'link', string, string];
    const place = fc.constantFrom('/a', '/b', '/a/x', '/a/y', '/a/x/z', '/b/x', '/c', '/c/q');
    const operation = fc.tuple(
      fc.constantFrom('mkdir', 'file', 'symlink', 'remove', 'link'),
      place,
      place,
    ) as fc.Arbitrary<Operation>;

    test('any sequence of operations leaves what the kernel leaves on a mounted overlay', () => {
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 12 }), (operations) => {
          const base = makeFolder();
          const dir = (name: string): string => {
            mkdirSync(path.join(base, name));
            return path.join(base, name);
          };
          try {
            const [low, ours, theirs, work, merged] = [
              'low',
              'ours',
              'theirs',
              'work',
              'merged',
            ].map(dir) as [string, string, string, string, string];
            makeTree(low, {
              '/a/x/z': 'f:1',
              '/a/y': 'l:x',
              '/b/x': 'f:2',
              '/c': 'f:3',
              '/a': 'd 0711 7:8 @900000000',
            });
            const writer = new TreeWriter(new LayeredView([low]), ours, { now: NOW });
            for (const step of operations) attempt(() => inWriter(writer, step));
            writer.finish();
            execFileSync('mount', [
              '-t',
              'overlay',
              'overlay',
              '-o',
              `lowerdir=${low},upperdir=${theirs},workdir=${work},redirect_dir=off,metacopy=off,index=off`,
              merged,
            ]);
            let expected: Record<string, string>;
            try {
              for (const step of operations) attempt(() => inMount(merged, step));
              expected = readTree(merged);
            } finally {
              execFileSync('umount', [merged]);
            }
            withOverlay([ours, low], (root) => expect(readTree(root)).toEqual(expected));
          } finally {
            removeFolder(base);
          }
        }),
        { numRuns: 60 },
      );
    });

    function inWriter(writer: TreeWriter, [kind, at, other]: Operation): void {
      const { dir: parent, base: name } = path.posix.parse(at);
      const directory = writer.directory(parent);
      if (directory === undefined) return;
      switch (kind) {
        case 'mkdir':
          if (writer.find(directory, name) === undefined)
            writer.makeDirectory(directory, name, PLAIN);
          break;
        case 'file':
          writer.file(directory, name, Buffer.from(other), PLAIN);
          break;
        case 'symlink':
          writer.symlink(directory, name, other, PLAIN);
          break;
        case 'remove':
          writer.remove(directory, name);
          break;
        case 'link': {
          const existing = writer.find(directory, name);
          if (existing === undefined) writer.link(directory, name, other);
        }
      }
    }

    function inMount(root: string, [kind, at, other]: Operation): void {
      // Where the writer resolves links inside the tree the test stays away from them: the kernel
      // would leave the mount.
      const { dir: parent, base: name } = path.posix.parse(at);
      const resolved = new LayeredView([root]).stat(parent);
      if (resolved === undefined || !resolved.stats.isDirectory()) return;
      const file = path.join(resolved.hostPath, name);
      const there = lstatSync(file, { throwIfNoEntry: false });
      switch (kind) {
        case 'mkdir':
          if (there !== undefined) return;
          mkdirSync(file);
          return finish(file);
        case 'file':
          if (there?.isDirectory() === true) return;
          if (there !== undefined) unlinkSync(file);
          writeFileSync(file, other);
          return finish(file);
        case 'symlink':
          if (there?.isDirectory() === true) return;
          if (there !== undefined) unlinkSync(file);
          symlinkSync(other, file);
          return finish(file);
        case 'remove':
          return rmSync(file, { recursive: true, force: true });
        case 'link': {
          const target = new LayeredView([root]).lstat(other);
          if (there === undefined && target !== undefined && !target.stats.isDirectory())
            linkSync(target.hostPath, file);
        }
      }
    }

    function finish(file: string): void {
      if (!lstatSync(file).isSymbolicLink()) chmodSync(file, PLAIN.mode);
      lchownSync(file, PLAIN.uid, PLAIN.gid);
      lutimesSync(file, NOW, NOW);
    }

    function attempt(action: () => void): void {
      try {
        action();
      } catch (error) {
        if ((error as { code?: string }).code !== 'COPY_FAILED') throw error;
      }
    }
  },
);
