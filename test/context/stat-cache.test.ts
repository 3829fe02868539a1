import { createHash } from 'node:crypto';
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { digestSelection } from '../../src/context/digest';
import { LocalContext } from '../../src/context/local';
import { selectSources } from '../../src/context/selection';
import { StatCache } from '../../src/context/stat-cache';
import { makeFolder, makeTree, removeFolder } from '../snapshot/trees';

const HASH = createHash('sha256').update('x').digest('hex');
const LATER = 10_000;

describe('StatCache', () => {
  let folder: string;
  let root: string;
  let caches: string;
  beforeEach(() => {
    folder = makeFolder();
    [root, caches] = [path.join(folder, 'root'), path.join(folder, 'caches')];
    mkdirSync(root);
  });
  afterEach(() => removeFolder(folder));

  const file = (name = 'f'): string => path.join(root, name);
  /** A cache that remembers the file as it is now, hashed long after it was last changed. */
  const remember = (hashedAt = Date.now() + LATER): void => {
    const cache = StatCache.load(caches, root);
    cache.put('f', lstatSync(file()), { hash: HASH }, hashedAt);
    cache.save();
  };
  const recall = (): string | undefined =>
    StatCache.load(caches, root).get('f', lstatSync(file()))?.hash;

  test('an unchanged file is known in the next process', () => {
    writeFileSync(file(), 'x');
    remember();
    expect(recall()).toBe(HASH);
  });

  test('capabilities are remembered with the content', () => {
    writeFileSync(file(), 'x');
    const cache = StatCache.load(caches, root);
    cache.put('f', lstatSync(file()), { hash: HASH, xattrs: '0100' }, Date.now() + LATER);
    cache.save();
    expect(StatCache.load(caches, root).get('f', lstatSync(file()))).toEqual({
      hash: HASH,
      xattrs: '0100',
    });
  });

  test.each<[string, () => void]>([
    ['written', () => writeFileSync(file(), 'y')],
    [
      'written with its old mtime put back',
      () => {
        const { atime, mtime } = statSync(file());
        writeFileSync(file(), 'y');
        utimesSync(file(), atime, mtime);
      },
    ],
    [
      'replaced by a file of the same size and mtime',
      () => {
        const { atime, mtime } = statSync(file());
        writeFileSync(file('new'), 'y');
        utimesSync(file('new'), atime, mtime);
        renameSync(file('new'), file());
      },
    ],
    [
      'copied over',
      () => {
        writeFileSync(file('other'), 'z');
        copyFileSync(file('other'), file());
      },
    ],
    [
      'cut and grown again',
      () => {
        truncateSync(file(), 0);
        writeFileSync(file(), 'x');
      },
    ],
  ])('a file that was %s is not known', (_, change) => {
    writeFileSync(file(), 'x');
    remember();
    change();
    expect(recall()).toBeUndefined();
  });

  test('a file that changed in the moment in which it was hashed is not remembered', () => {
    writeFileSync(file(), 'x');
    remember(lstatSync(file()).ctimeMs + 1);
    expect(recall()).toBeUndefined();
  });

  test('times without fractions of a second may be a coarse clock’s: they need two seconds to settle', () => {
    writeFileSync(file(), 'x');
    const stats = lstatSync(file());
    const coarse = (hashedAt: number): string | undefined => {
      const seen = Object.assign(
        Object.create(Object.getPrototypeOf(stats) as object) as Stats,
        stats,
        { ctimeMs: 5_000_000, mtimeMs: 5_000_000 },
      );
      const cache = StatCache.load(caches, root);
      cache.put('f', seen, { hash: HASH }, hashedAt);
      return cache.get('f', seen)?.hash;
    };
    expect([coarse(5_001_000), coarse(5_003_000)]).toEqual([undefined, HASH]);
  });

  test('a file from the future, when the clock was set back, is not remembered', () => {
    writeFileSync(file(), 'x');
    utimesSync(file(), Date.now() / 1000 + 3600, Date.now() / 1000 + 3600);
    remember();
    expect(recall()).toBeUndefined();
  });

  test('directories do not share what they know', () => {
    writeFileSync(file(), 'x');
    remember();
    expect(StatCache.load(caches, `${root}2`).get('f', lstatSync(file()))).toBeUndefined();
  });

  test('a damaged cache knows less, and nothing wrong', () => {
    writeFileSync(file(), 'x');
    remember();
    const [name = ''] = readdirSync(caches);
    const bytes = readFileSync(path.join(caches, name));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        writeFileSync(path.join(caches, name), bytes.subarray(0, length));
        expect(recall()).toBeUndefined();
      }),
    );
    writeFileSync(path.join(caches, name), 'something else');
    expect(recall()).toBeUndefined();
  });

  test('a cache that cannot be written is no error', () => {
    writeFileSync(caches, 'a file where the folder should be');
    writeFileSync(file(), 'x');
    expect(() => remember()).not.toThrow();
  });

  type Edit = readonly [
    'write' | 'replace' | 'keep-mtime' | 'delete' | 'back-in-time',
    number,
    string,
  ];
  const edit = fc.tuple(
    fc.constantFrom('write', 'replace', 'keep-mtime', 'delete', 'back-in-time'),
    fc.nat(3),
    fc.constantFrom('a', 'b', 'cc'),
  ) as fc.Arbitrary<Edit>;

  test('whatever is done to files, however fast, the digest is that of a build without memory', async () => {
    makeTree(root, { '/f0': 'f:a', '/f1': 'f:a', '/f2': 'f:a', '/f3': 'f:a' });
    const digest = async (statCaches?: string): Promise<string> => {
      const tree = new LocalContext(root, undefined, { statCaches });
      return (await digestSelection(selectSources(tree, ['.']), tree)).digest;
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(edit, { maxLength: 3 }), { maxLength: 6 }),
        async (rounds) => {
          for (const edits of rounds) {
            for (const [kind, index, content] of edits) apply(kind, file(`f${index}`), content);
            expect(await digest(caches)).toBe(await digest());
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  function apply(kind: Edit[0], name: string, content: string): void {
    const before = lstatSync(name, { throwIfNoEntry: false });
    const write = (target: string): void => writeFileSync(target, content);
    switch (kind) {
      case 'write':
        return write(name);
      case 'delete':
        return removeFolder(name);
      case 'back-in-time':
        write(name);
        return utimesSync(name, 1_000_000_000, 1_000_000_000);
      case 'replace':
        write(`${name}.new`);
        if (before !== undefined) utimesSync(`${name}.new`, before.atime, before.mtime);
        return renameSync(`${name}.new`, name);
      case 'keep-mtime':
        write(name);
        if (before !== undefined) utimesSync(name, before.atime, before.mtime);
    }
  }
});
