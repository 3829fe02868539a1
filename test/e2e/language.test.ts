import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { smallBase } from '../support/bases';
import { cleanEnv } from '../support/command';
import { caseArgs, casesOf, copyFixture, readCase } from '../support/fixtures';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp, writeFiles } from '../support/temp';
import { treeOf, type TreeEntry } from '../support/tree';

/** What a case's expected.json says. `null` means: not there. */
interface Expected {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly tree?: Readonly<
    Record<string, (Partial<TreeEntry> & { readonly text?: string }) | null>
  >;
}

describeWith('the Dockerfile language', { root: true, programs: ['tar', 'python3'] }, () => {
  const temp = useTemp();
  let mbuild: Mbuild;

  beforeAll(async () => {
    mbuild = new Mbuild(temp.dir('store'));
    await smallBase(mbuild);
  });

  it.each(casesOf('language'))(
    'builds fixtures/language/$name to the expected files and config',
    async (fixtureCase) => {
      const context = copyFixture(join(fixtureCase.dir, 'context'), join(temp.dir(), 'context'));
      const args = ['-f', join(fixtureCase.dir, 'Dockerfile'), ...caseArgs(fixtureCase), context];
      const expected = JSON.parse(readCase(fixtureCase, 'expected.json') ?? '{}') as Expected;

      await mbuild.build(['-t', `language-${fixtureCase.name}`, ...args]);
      const { Config } = await mbuild.inspect(`language-${fixtureCase.name}`);
      for (const [key, value] of Object.entries(expected.config ?? {}))
        expect([key, Config[key] ?? null]).toEqual([key, value]);

      const root = unpacked(await exported(args));
      const tree = treeOf(root, { mtime: true });
      for (const [path, entry] of Object.entries(expected.tree ?? {})) {
        if (entry === null) {
          expect([path, tree.get(path)]).toEqual([path, undefined]);
          continue;
        }
        const { text, ...rest } = entry;
        expect({ ...tree.get(path), path }).toMatchObject({ path, ...rest });
        if (text !== undefined)
          expect([path, readFileSync(join(root, path), 'utf8')]).toEqual([path, text]);
      }
    },
  );

  it('ADD unpacks local archives of every kind and copies everything else', async () => {
    const context = writeFiles(temp.dir('context'), {
      'src/dir/file.txt': 'packed\n',
      'notes.txt': 'notes\n',
      'fake.tar': 'not an archive\n',
      Dockerfile:
        'FROM scratch\nADD plain.tar /plain/\nADD gz.tar.gz /gz/\nADD bz2.tar.bz2 /bz2/\nADD xz.tar.xz /xz/\nADD zst.tar.zst /zst/\nADD notes.txt fake.tar /files/\nADD --chown=7:8 plain.tar /owned/\nCOPY plain.tar /\n',
    });
    const pack = (name: string, ...flags: string[]): unknown =>
      execFileSync('tar', [
        ...flags,
        '--owner=3',
        '--group=4',
        '-cf',
        join(context, name),
        '-C',
        join(context, 'src'),
        '.',
      ]);
    pack('plain.tar');
    pack('gz.tar.gz', '-z');
    pack('bz2.tar.bz2', '-j');
    pack('xz.tar.xz', '-J');
    pack('zst.tar.zst', '--zstd');

    const tree = treeOf(unpacked(await exported([context])));
    for (const kind of ['plain', 'gz', 'bz2', 'xz', 'zst'])
      expect(tree.get(`${kind}/dir/file.txt`)).toMatchObject({
        type: 'file',
        size: 7,
        uid: 3,
        gid: 4,
      });
    expect(tree.get('owned/dir/file.txt')).toMatchObject({ uid: 7, gid: 8 });
    expect(tree.get('files/notes.txt')).toMatchObject({ size: 6 });
    expect(tree.get('files/fake.tar')).toMatchObject({ size: 15 });
    expect(tree.get('plain.tar')).toMatchObject({ type: 'file' });
  });

  async function exported(args: readonly string[]): Promise<string> {
    const tar = join(temp.dir(), 'root.tar');
    await mbuild.build([...args, '--output', `type=tar,dest=${tar}`]);
    return tar;
  }

  function unpacked(tar: string): string {
    const root = join(temp.dir(), 'root');
    mkdirSync(root);
    execFileSync(
      'tar',
      ['-xpf', tar, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', root],
      { env: cleanEnv() },
    );
    return root;
  }
});
