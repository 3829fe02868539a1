import {
  chmodSync,
  chownSync,
  lutimesSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  linkSync,
  mkdirSync,
} from 'node:fs';
import path from 'node:path';
import { digestSelection, type SelectionDigest } from '../../src/context/digest';
import { LocalContext } from '../../src/context/local';
import { selectSources } from '../../src/context/selection';
import { sourceTreeOf } from '../../src/context/source-tree';
import { setXattr } from '../../src/linux/xattr';
import { Threads } from '../../src/linux/threads';
import { LayeredView } from '../../src/snapshot/merged-view';
import { describeWith } from '../support/needs';
import { makeFolder, makeTree, removeFolder } from '../snapshot/trees';

const TREE = {
  '/d/a': 'f:a 0644',
  '/d/b': 'f:b 0755',
  '/d/l': 'l:a',
  '/d/sub': 'd 0755',
  '/d/sub/c': 'f:c',
};
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');

describeWith('digestSelection', { root: true }, () => {
  let folder: string;
  beforeEach(() => {
    folder = makeFolder();
    makeTree(folder, TREE);
  });
  afterEach(() => removeFolder(folder));

  const digest = (...sources: string[]): Promise<SelectionDigest> => {
    const tree = new LocalContext(folder);
    return digestSelection(selectSources(tree, sources.length === 0 ? ['d'] : sources), tree);
  };
  const at = (name: string): string => path.join(folder, name);

  test.each<[string, () => void]>([
    ['mtimes', () => utimesSync(at('d/a'), 1, 1)],
    ['a directory’s mtime', () => utimesSync(at('d/sub'), 1, 1)],
    ['a link’s mtime', () => lutimesSync(at('d/l'), 1, 1)],
    ['owners in a context', () => chownSync(at('d/a'), 7, 7)],
    ['the mode of the directory whose contents are copied', () => chmodSync(at('d'), 0o700)],
    ['attributes of an overlay', () => setXattr(at('d/a'), 'user.overlay.x', Buffer.from('1'))],
    ['a file beside the selection', () => writeFileSync(at('other'), '')],
  ])('%s do not matter', async (_, change) => {
    const before = await digest();
    change();
    expect((await digest()).digest).toBe(before.digest);
  });

  test.each<[string, () => void]>([
    ['a byte', () => writeFileSync(at('d/a'), 'A')],
    ['a mode', () => chmodSync(at('d/a'), 0o600)],
    ['a directory’s mode', () => chmodSync(at('d/sub'), 0o700)],
    ['setuid', () => chmodSync(at('d/b'), 0o4755)],
    ['a name', () => renameSync(at('d/a'), at('d/aa'))],
    [
      'a link’s target',
      () => {
        unlinkSync(at('d/l'));
        symlinkSync('b', at('d/l'));
      },
    ],
    [
      'a link for a file of the same content',
      () => {
        unlinkSync(at('d/a'));
        symlinkSync('b', at('d/a'));
      },
    ],
    ['an empty directory', () => mkdirSync(at('d/new'))],
    [
      'a hard link for a copy',
      () => {
        unlinkSync(at('d/b'));
        linkSync(at('d/a'), at('d/b'));
      },
    ],
    ['a file’s place', () => renameSync(at('d/sub/c'), at('d/c'))],
    ['an attribute of a file', () => setXattr(at('d/a'), 'user.a', Buffer.from('1'))],
    ['an attribute of a directory', () => setXattr(at('d/sub'), 'user.a', Buffer.from('1'))],
    ['a capability', () => setXattr(at('d/a'), 'security.capability', CAPABILITY)],
  ])('%s matters', async (_, change) => {
    const before = await digest();
    change();
    expect((await digest()).digest).not.toBe(before.digest);
  });

  test('owners of a stage’s files are part of them', async () => {
    const ofStage = (): Promise<SelectionDigest> => {
      const tree = sourceTreeOf(new LayeredView([folder]), 'stage "s"');
      return digestSelection(selectSources(tree, ['/d']), tree);
    };
    const before = await ofStage();
    chownSync(at('d/a'), 7, 7);
    expect((await ofStage()).digest).not.toBe(before.digest);
  });

  test('the order of sources matters, for later ones overwrite earlier ones', async () => {
    expect((await digest('d/a', 'd/b')).digest).not.toBe((await digest('d/b', 'd/a')).digest);
  });

  test('a pattern is worth its matches', async () => {
    expect((await digest('d/[ab]')).digest).toBe((await digest('d/a', 'd/b')).digest);
  });

  test('the records name everything that was hashed', async () => {
    const entries = [...(await (await digest()).entries())];
    expect(
      entries.map(({ path: name, type, mode }) => `${name} ${type} ${mode.toString(8)}`),
    ).toEqual(['a file 644', 'b file 755', 'l symlink 777', 'sub directory 755', 'sub/c file 644']);
    expect(entries[0]).toMatchObject({
      size: 1,
      content: 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb',
      uid: 0,
      gid: 0,
    });
  });

  test('workers hash to the same digest', async () => {
    makeTree(
      folder,
      Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`/many/f${i}`, `f:${i}`])),
    );
    const tree = new LocalContext(folder);
    const threads = new Threads();
    try {
      expect((await digestSelection(selectSources(tree, ['many']), tree, threads)).digest).toBe(
        (await digest('many')).digest,
      );
    } finally {
      await threads.close();
    }
  });
});
