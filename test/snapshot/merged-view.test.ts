import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { makeWhiteout } from '../../src/linux/mknod';
import { LayeredView } from '../../src/snapshot/merged-view';
import { canMount, makeFolder, makeTree, readTree, removeFolder, withOverlay } from './trees';

const OPAQUE = 'trusted.overlay.opaque=y';

describe('LayeredView', () => {
  let folder: string;
  let layers: [string, ...string[]];
  beforeEach(() => {
    folder = makeFolder();
    layers = ['top', 'middle', 'bottom'].map((name) => path.join(folder, name)) as [
      string,
      ...string[],
    ];
    for (const layer of layers) mkdirSync(layer);
  });
  afterEach(() => removeFolder(folder));

  const [top, middle, bottom] = [() => layers[0], () => layers[1] ?? '', () => layers[2] ?? ''];
  const view = (): LayeredView => new LayeredView(layers);

  test('directories merge, the topmost file wins', () => {
    makeTree(bottom(), { '/d/a': 'f:bottom', '/d/b': 'f:bottom' });
    makeTree(top(), { '/d/b': 'f:top', '/d/c': 'f:top' });
    expect(view().readdir('/d')).toEqual(['a', 'b', 'c']);
    expect(view().lstat('/d/b')?.hostPath).toBe(`${top()}/d/b`);
    expect(view().lstat('/d/a')?.hostPath).toBe(`${bottom()}/d/a`);
  });

  test('a whiteout hides what lies below it', () => {
    makeTree(bottom(), { '/d/a': 'f:x', '/d/sub/x': 'f:x' });
    makeTree(middle(), { '/d': 'd' });
    makeWhiteout(`${middle()}/d/a`);
    makeWhiteout(`${middle()}/d/sub`);
    expect(view().lstat('/d/a')).toBeUndefined();
    expect(view().lstat('/d/sub/x')).toBeUndefined();
    expect(view().readdir('/d')).toEqual([]);
  });

  test('an opaque directory hides what lies below it, and only below', () => {
    makeTree(bottom(), { '/d/a': 'f:x' });
    makeTree(middle(), { '/d': `d ${OPAQUE}`, '/d/m': 'f:x' });
    makeTree(top(), { '/d/t': 'f:x' });
    expect(view().readdir('/d')).toEqual(['m', 't']);
    expect(view().lstat('/d/a')).toBeUndefined();
  });

  test('a file between two directories cuts off the lower one', () => {
    makeTree(bottom(), { '/d/a': 'f:x' });
    makeTree(middle(), { '/d': 'f:file' });
    makeTree(top(), { '/d/t': 'f:x' });
    expect(view().readdir('/d')).toEqual(['t']);
  });

  test.each([
    ['an absolute link starts again at the root', '/abs/f', '/real/f'],
    ['a relative link is taken from its own directory', '/d/rel/f', '/real/f'],
    ['.. never leaves the root', '/../../real/f', '/real/f'],
    ['a link that climbs too far ends at the root', '/climb/f', '/real/f'],
    ['missing parts are kept', '/abs/new/file', '/real/new/file'],
    ['a dangling link leads to where its target would be', '/dangling/x', '/nowhere/x'],
    ['.. after a link is taken from the link’s target', '/d/rel/../top', '/top'],
    ['a last link is followed', '/tofile', '/real/f'],
  ])('%s', (_, given, expected) => {
    makeTree(bottom(), {
      '/real/f': 'f:x',
      '/d': 'd',
      '/abs': 'l:/real',
      '/d/rel': 'l:../real',
      '/climb': 'l:../../../real',
      '/dangling': 'l:/nowhere',
      '/tofile': 'l:real/f',
    });
    expect(view().resolve(given)).toBe(expected);
  });

  test('links that lead in a circle are an error', () => {
    makeTree(bottom(), { '/a': 'l:b', '/b': 'l:a' });
    expect(() => view().stat('/a')).toThrow(/too many levels of symbolic links in \/a/);
    expect(view().lstat('/a')?.stats.isSymbolicLink()).toBe(true);
  });

  test('a link out of the tree finds nothing of the host', () => {
    makeTree(bottom(), { '/etc': 'l:/../../../../etc', '/passwd': 'l:/etc/passwd' });
    expect(() => view().stat('/etc')).toThrow(/too many levels/);
    makeTree(top(), { '/host': `l:${folder}` });
    expect(view().stat('/host')).toBeUndefined();
  });

  test('names that are not UTF-8 are found', () => {
    const raw = 'caf\xe9';
    mkdirSync(Buffer.from(`${bottom()}/${raw}`, 'latin1'));
    expect(view().readdir('/')).toEqual([raw]);
    expect(view().lstat(`/${raw}`)?.stats.isDirectory()).toBe(true);
  });

  const mountTest = canMount ? test : test.skip;
  mountTest(
    'it shows what the kernel shows of the same layers (skipped where overlay cannot be mounted)',
    () => {
      makeTree(bottom(), {
        '/a/x': 'f:1',
        '/a/y': 'f:1',
        '/b/z': 'f:1',
        '/c': 'f:1',
        '/e/f/g': 'f:1',
        '/l': 'l:a',
      });
      makeTree(middle(), { '/a': `d ${OPAQUE}`, '/a/n': 'f:2', '/c/d': 'f:2', '/e/f': 'f:2' });
      makeWhiteout(`${middle()}/b`);
      makeTree(top(), { '/a/t': 'f:3', '/b/back': 'f:3', '/e/f/h': 'f:3' });
      const paths = (root: LayeredView, dir: string): string[] =>
        root.readdir(dir).flatMap((name) => {
          const child = dir === '/' ? `/${name}` : `${dir}/${name}`;
          return [
            child,
            ...(root.lstat(child)?.stats.isDirectory() === true ? paths(root, child) : []),
          ];
        });
      withOverlay(layers, (root) =>
        expect(['/', ...paths(view(), '/')].sort()).toEqual(Object.keys(readTree(root)).sort()),
      );
    },
  );
});
