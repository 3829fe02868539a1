import {
  lstatSync,
  mkdtempSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestSelection, readFiles } from '../../src/context/digest';
import { LocalContext } from '../../src/context/local';
import { selectSources } from '../../src/context/selection';
import { selectionSignature } from '../../src/context/selection-memo';

describe('a remembered selection', () => {
  let dir: string;
  let root: string;
  beforeEach(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'mbuild-memo-'));
    root = path.join(dir, 'context');
    mkdirSync(path.join(root, 'src'), { recursive: true });
    writeFileSync(path.join(root, 'src/a'), 'one');
    writeFileSync(path.join(root, 'src/b'), 'two');
    symlinkSync('a', path.join(root, 'src/l'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const digest = async (remember = true): Promise<string> => {
    const tree = new LocalContext(
      root,
      undefined,
      remember ? { statCaches: path.join(dir, 'caches') } : {},
    );
    return (await digestSelection(selectSources(tree, ['.']), tree)).digest;
  };
  /** Long enough for files to count as settled, whatever the clock's tick. */
  const settle = async (): Promise<void> => {
    const coarse = lstatSync(path.join(root, 'src/a')).ctimeMs % 1000 === 0;
    await sleep(coarse ? 2_200 : 150);
    for (let i = 0; i < 3; i++) await digest();
  };

  it.each<[string, () => void]>([
    [
      'a file is written again with the same size and mtime',
      () => {
        const { atime, mtime } = lstatSync(path.join(root, 'src/a'));
        writeFileSync(path.join(root, 'src/a'), 'eno');
        utimesSync(path.join(root, 'src/a'), atime, mtime);
      },
    ],
    [
      'a file is replaced through rename',
      () => {
        writeFileSync(path.join(dir, 'new'), 'eno');
        renameSync(path.join(dir, 'new'), path.join(root, 'src/a'));
      },
    ],
    ['a file comes', () => writeFileSync(path.join(root, 'src/c'), '')],
    ['a file goes', () => rmSync(path.join(root, 'src/b'))],
    ['a name changes', () => renameSync(path.join(root, 'src/b'), path.join(root, 'src/c'))],
    [
      'a link leads elsewhere',
      () => {
        rmSync(path.join(root, 'src/l'));
        symlinkSync('b', path.join(root, 'src/l'));
      },
    ],
    [
      'two files change places',
      () => {
        renameSync(path.join(root, 'src/a'), path.join(root, 'x'));
        renameSync(path.join(root, 'src/b'), path.join(root, 'src/a'));
        renameSync(path.join(root, 'x'), path.join(root, 'src/b'));
      },
    ],
  ])('is hashed anew when %s', async (_, change) => {
    await settle();
    const before = await digest();
    change();
    expect(await digest()).not.toBe(before);
    expect(await digest()).toBe(await digest(false));
  });

  it('gives the digest that reading gives', async () => {
    await settle();
    expect(await digest()).toBe(await digest(false));
  });

  describe('after its first reading', () => {
    /** Reads it once, while something happens; returns its digest, and what is remembered then. */
    const firstReading = async (
      meanwhile: () => void = () => undefined,
    ): Promise<[digest: string, remembered: string | undefined]> => {
      const tree = new LocalContext(root, undefined, { statCaches: path.join(dir, 'caches') });
      const selection = selectSources(tree, ['.']);
      const made = await digestSelection(selection, tree, undefined, (files) => {
        meanwhile();
        return readFiles(files, undefined);
      });
      return [made.digest, tree.known?.selections.get(selectionSignature(selection))];
    };

    it('is remembered', async () => {
      await sleep(2_200);
      const [made, remembered] = await firstReading();
      expect(remembered).toBe(made);
    });

    it('is not when a file is so new that it could change unseen', async () => {
      writeFileSync(path.join(root, 'src/a'), 'new');
      expect((await firstReading())[1]).toBeUndefined();
    });

    it('is not when a file changed meanwhile', async () => {
      await sleep(2_200);
      expect(
        (await firstReading(() => writeFileSync(path.join(root, 'src/a'), 'eno')))[1],
      ).toBeUndefined();
    });
  });

  it('still tells what was in it', async () => {
    await settle();
    const tree = new LocalContext(root, undefined, { statCaches: path.join(dir, 'caches') });
    const entries = [
      ...(await (await digestSelection(selectSources(tree, ['src']), tree)).entries()),
    ];
    expect(entries.map((entry) => entry.path)).toEqual(['a', 'b', 'l']);
  });
});
