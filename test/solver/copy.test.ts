import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LocalContext, loadIgnoreFile } from '../../src/context/local';
import { selectSources } from '../../src/context/selection';
import { sourceTreeOf, type SourceTree } from '../../src/context/source-tree';
import { setXattr } from '../../src/linux/xattr';
import { Threads } from '../../src/linux/threads';
import { runCopy } from '../../src/solver/copy';
import { parseChmod, type CopyInput, type CopyOp } from '../../src/solver/copy-op';
import { LayeredView } from '../../src/snapshot/merged-view';
import { resolveOwner } from '../../src/snapshot/users';
import { describeWith } from '../support/needs';
import {
  canMount,
  makeFolder,
  makeTree,
  readTree,
  removeFolder,
  withOverlay,
} from '../snapshot/trees';

const CTX = 1_000_000_000;
const OLD = 900_000_000;
const NOW = 1_500_000_000;

/** The build directory that copy-cases.txt speaks of. */
const CONTEXT: Readonly<Record<string, string>> = {
  '/a.txt': 'f:a',
  '/b.txt': 'f:b 0600 1000:1000',
  '/suid': 'f:s 3:4 4755',
  '/hard.txt': 'h:/a.txt',
  '/dir': 'd 0700',
  '/dir/f1': 'f:1',
  '/dir/f2': 'f:2',
  '/dir/f1hard': 'h:/dir/f1',
  '/dir/innerlink': 'l:f1',
  '/dir/sub': 'd 0750',
  '/dir/sub/f3': 'f:3',
  '/dir/empty': 'd 1777',
  '/d2/f1': 'f:d2',
  '/d2/sub/g': 'f:d2s',
  '/lfile': 'l:a.txt',
  '/ldir': 'l:dir',
  '/labs': 'l:/etc/passwd',
  '/lup': 'l:../../../etc/passwd',
  '/ldangling': 'l:nowhere',
  '/labsin': 'l:/a.txt',
  '/onlyn/[x].txt': 'f:n',
  '/glob/x1/y/deep.txt': 'f:x',
  '/glob/x2/p.txt': 'f:x',
  '/glob/q.txt': 'f:q',
  '/ign/no.txt': 'f:i',
  '/ign/keep/yes.txt': 'f:k',
  '/fifo': 'p',
  '/fake.tar': 'f:notar',
};

/** The tree that is copied to, and from with `--from=s`. */
const BASE: Readonly<Record<string, string>> = {
  '/t/ex': 'd 0711 7:8',
  '/t/ex/old': 'f:',
  '/t/real': 'd',
  '/t/file': 'f:old',
  '/t/filehl': 'f:old',
  '/t/lreal': 'l:/t/real',
  '/t/lrel': 'l:real',
  '/t/ldang': 'l:/t/nowhere',
  '/t/lfile': 'l:file',
  '/t/loop': 'l:loop',
  '/t/f1dir/f1/x': 'd',
  '/t/sublink/real': 'd',
  '/t/sublink/sub': 'l:real',
  '/t/filelink/target': 'f:tgt',
  '/t/filelink/f1': 'l:target',
  '/t/fileex/sub': 'f:keep',
  '/t/fileex/f1': 'f:olf1 9:9 4777',
  '/t/lesc': 'l:../../../../../t/real',
  '/s/a': 'f:A 21:22 2755',
  '/s/ahl': 'h:/s/a',
  '/s/fifo': 'p',
  '/s/dev': 'c:1,3',
  '/s/la': 'l:a',
  '/s/ld': 'l:d',
  '/s/labs': 'l:/s/a',
  '/s/d': 'd 0700 31:32',
  '/s/d/ahl': 'h:/s/a',
  '/s/d/df': 'f:D',
  '/s/d/sub/sf': 'f:S',
  '/s/d/ldf': 'l:df',
  '/etc/passwd': 'f:bob:x:41:42::/home/bob:/bin/sh',
  '/etc/group': 'f:grp:x:43:bob',
};

interface Case {
  readonly instruction: string;
  readonly expected: readonly string[];
}

const CASES = readFileSync(path.join(__dirname, 'copy-cases.txt'), 'utf8')
  .split('=== ')
  .slice(1)
  .map((text): Case => {
    const [instruction = '', ...expected] = text.trimEnd().split('\n');
    return { instruction, expected };
  });

describeWith(
  'copying into a snapshot',
  {
    root: true,
    programs: ['tar', 'bzip2'],
    also: () => (canMount ? undefined : 'overlay cannot be mounted'),
  },
  () => {
    let fixtures: string;
    let context: string;
    let base: string;
    let before: Record<string, string>;
    let folder: string;

    beforeAll(() => {
      fixtures = makeFolder();
      [context, base] = [path.join(fixtures, 'context'), path.join(fixtures, 'base')];
      mkdirSync(context);
      mkdirSync(base);
      makeTree(context, CONTEXT);
      makeArchives(context);
      writeFileSync(path.join(context, '.dockerignore'), 'ign/*\n!ign/keep\n');
      makeTree(base, BASE);
      execFileSync(
        'sh',
        [
          '-c',
          `find context -exec touch -h -d @${CTX} {} +; find base -exec touch -h -d @${OLD} {} +`,
        ],
        { cwd: fixtures },
      );
      before = readTree(base, { times: true });
    });
    afterAll(() => removeFolder(fixtures));
    beforeEach(() => (folder = makeFolder()));
    afterEach(() => removeFolder(folder));

    const view = (): LayeredView => new LayeredView([base]);
    const tree = (from: string | undefined): SourceTree =>
      from === undefined
        ? new LocalContext(context, loadIgnoreFile(context))
        : sourceTreeOf(view(), 'stage "s"');

    /** What the instruction changes, in the words of copy-cases.txt. */
    const changes = async (op: CopyOp): Promise<string[]> => {
      const dir = path.join(folder, 'upper');
      mkdirSync(dir);
      utimesSync(dir, OLD, OLD);
      await runCopy(op, { parent: view(), dir, xattrs: 'trusted' }, { now: NOW });
      return withOverlay([dir, base], (root) => {
        const after = readTree(root, { times: true });
        return Object.keys(after)
          .filter((name) => name !== '/' && after[name] !== before[name])
          .sort()
          .map((name) => line(name, after[name] ?? ''));
      });
    };

    const copy = (instruction: string): Promise<string[]> => {
      const [keyword, ...words] = instruction.split(' ');
      const flags = words
        .filter((word) => word.startsWith('--'))
        .map((word) => /^--([a-z]+)=?(.*)$/.exec(word)?.slice(1) as [string, string]);
      const flag = (name: string): string | undefined => flags.find(([key]) => key === name)?.[1];
      const paths = words.filter((word) => !word.startsWith('--'));
      const source = tree(flag('from'));
      const exclude = flags.filter(([key]) => key === 'exclude').map(([, value]) => value);
      const [chown, chmod] = [flag('chown'), flag('chmod')];
      const selection = selectSources(source, paths.slice(0, -1), {
        exclude,
        parents: flag('parents') !== undefined || words.includes('--parents'),
      });
      return changes({
        inputs: [
          {
            kind: 'selection',
            selection,
            ownership: source.ownership,
            unpack: keyword === 'ADD' && flag('unpack') !== 'false',
          },
        ],
        dest: path.posix.normalize(`/${paths.at(-1) ?? ''}`),
        owner: chown === undefined ? undefined : resolveOwner(view(), chown),
        chmod: chmod === undefined ? undefined : parseChmod(chmod),
      });
    };

    test.each(CASES.map(({ instruction, expected }) => [instruction, expected] as const))(
      '%s',
      async (instruction, expected) => {
        if (expected[0] === 'error')
          await expect(copy(instruction)).rejects.toMatchObject({ name: 'MbuildError' });
        else expect(await copy(instruction)).toEqual([...expected].sort());
      },
    );

    test.each([
      [
        'COPY --parents dir/sub/f3 /n/',
        [
          '/n d 0755 0:0 now',
          '/n/dir d 0700 0:0 ctx',
          '/n/dir/sub d 0750 0:0 ctx',
          '/n/dir/sub/f3 f 0644 0:0 ctx 3',
        ],
      ],
      [
        'COPY --parents ./glob/./x1/y/deep.txt /n/',
        [
          '/n d 0755 0:0 now',
          '/n/x1 d 0755 0:0 ctx',
          '/n/x1/y d 0755 0:0 ctx',
          '/n/x1/y/deep.txt f 0644 0:0 ctx x',
        ],
      ],
      [
        'COPY --parents glob/**/*.txt /n/',
        [
          '/n d 0755 0:0 now',
          '/n/glob d 0755 0:0 ctx',
          '/n/glob/q.txt f 0644 0:0 ctx q',
          '/n/glob/x1 d 0755 0:0 ctx',
          '/n/glob/x1/y d 0755 0:0 ctx',
          '/n/glob/x1/y/deep.txt f 0644 0:0 ctx x',
          '/n/glob/x2 d 0755 0:0 ctx',
          '/n/glob/x2/p.txt f 0644 0:0 ctx x',
        ],
      ],
      ['COPY --parents nomatch/*.txt /n/', []],
      [
        'ADD x.tar /t/lreal',
        [
          '/t/real d 0755 0:0 now',
          '/t/real/td d 0711 11:12 @1000000001',
          '/t/real/td/file f 4711 11:12 ctx t',
          '/t/real/td/hl h 4711 11:12 ctx -> /t/real/td/file',
          '/t/real/td/link l 11:12 ctx -> file',
          '/t/real/td/sub d 0755 11:12 ctx',
        ],
      ],
    ])('%s', async (instruction, expected) => {
      expect(await copy(instruction)).toEqual(expected);
    });

    test('a heredoc is a file of mode 0644, under its name in a directory and renamed otherwise', async () => {
      const inputs: CopyInput[] = [{ kind: 'inline', name: 'one', content: Buffer.from('1\n') }];
      expect(await changes({ inputs, dest: '/n/' })).toEqual([
        '/n d 0755 0:0 now',
        '/n/one f 0644 0:0 now 1',
      ]);
      rmSync(path.join(folder, 'upper'), { recursive: true });
      expect(
        await changes({
          inputs,
          dest: '/n/file',
          owner: { uid: 5, gid: 6 },
          chmod: parseChmod('755'),
        }),
      ).toEqual(['/n d 0755 5:6 now', '/n/file f 0755 5:6 now 1']);
    });

    test('a download is private, unless --chmod says otherwise', async () => {
      const inputs: CopyInput[] = [
        {
          kind: 'download',
          name: 'got',
          hostPath: path.join(context, 'a.txt'),
          mtime: CTX,
          unpack: false,
        },
      ];
      expect(await changes({ inputs, dest: '/n/' })).toEqual([
        '/n d 0755 0:0 now',
        '/n/got f 0600 0:0 ctx a',
      ]);
    });

    test('capabilities are kept, whoever owns the file', async () => {
      const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
      const source = path.join(folder, 'source');
      makeTree(source, { '/ping': 'f:ping 0755' });
      setXattr(path.join(source, 'ping'), 'security.capability', capability);
      const selection = selectSources(new LocalContext(source), ['ping']);
      const [, ping] = await changes({
        inputs: [{ kind: 'selection', selection, ownership: 'root', unpack: false }],
        dest: '/n/',
        owner: { uid: 5, gid: 6 },
      });
      expect(ping).toContain(`security.capability=${capability.toString('latin1')}`);
    });

    test('attributes of users are kept, of files, of files that nobody may write, and of directories', async () => {
      const source = path.join(folder, 'source');
      makeTree(source, { '/d/f': 'f:f 0644', '/d/r': 'f:r 0400', '/d/sub/g': 'f:g 0644' });
      for (const name of ['d/f', 'd/r', 'd/sub'])
        setXattr(path.join(source, name), 'user.note', Buffer.from(name));
      setXattr(path.join(source, 'd/f'), 'user.overlay.opaque', Buffer.from('y'));
      const selection = selectSources(new LocalContext(source), ['d']);
      const lines = await changes({
        inputs: [{ kind: 'selection', selection, ownership: 'root', unpack: false }],
        dest: '/n/',
      });
      const noted = lines.filter((line) => line.includes('user.'));
      expect(noted.map((line) => line.split(' ')[0])).toEqual(['/n/f', '/n/r', '/n/sub']);
      expect(noted.join()).toContain('user.note=d/sub');
      expect(noted.join()).not.toContain('user.overlay');
    });

    test('a file that changed after it was selected is an error', async () => {
      const source = path.join(folder, 'source');
      makeTree(source, { '/f': 'f:one' });
      const selection = selectSources(new LocalContext(source), ['f']);
      writeFileSync(path.join(source, 'f'), 'two');
      await expect(
        changes({
          inputs: [{ kind: 'selection', selection, ownership: 'root', unpack: false }],
          dest: '/n/',
        }),
      ).rejects.toThrow(/f changed while it was copied/);
    });

    test('a symlink that took a file’s place after it was selected is not followed', async () => {
      const source = path.join(folder, 'source');
      makeTree(source, { '/f': 'f:one' });
      const selection = selectSources(new LocalContext(source), ['f']);
      execFileSync('ln', ['-sf', '/etc/passwd', path.join(source, 'f')]);
      await expect(
        changes({
          inputs: [{ kind: 'selection', selection, ownership: 'root', unpack: false }],
          dest: '/n/',
        }),
      ).rejects.toThrow(/f changed while it was copied/);
    });

    test('a large tree and a large file come through worker threads as they are', async () => {
      const source = path.join(folder, 'source');
      makeTree(
        source,
        Object.fromEntries(
          Array.from({ length: 900 }, (_, i) => [
            `/d${i % 30}/f${i}`,
            `f:${i} ${i % 7 === 0 ? '4755' : '0640'}`,
          ]),
        ),
      );
      writeFileSync(path.join(source, 'large'), Buffer.alloc(3_000_000, 'x'));
      truncateSync(path.join(source, 'large'), 9_000_000);
      const selection = selectSources(new LocalContext(source), ['.']);
      const dir = path.join(folder, 'upper');
      mkdirSync(dir);
      const threads = new Threads();
      try {
        await runCopy(
          {
            inputs: [{ kind: 'selection', selection, ownership: 'root', unpack: false }],
            dest: '/n',
          },
          { parent: view(), dir, xattrs: 'trusted' },
          { now: NOW, threads },
        );
      } finally {
        await threads.close();
      }
      const strip = (entries: Record<string, string>): string[] =>
        Object.entries(entries)
          .filter(([name]) => name !== '/')
          .map(([name, text]) => `${name} ${text}`);
      expect(strip(readTree(path.join(dir, 'n'), { times: true }))).toEqual(
        strip(readTree(source, { times: true })),
      );
      expect(
        readFileSync(path.join(dir, 'n', 'large')).equals(readFileSync(path.join(source, 'large'))),
      ).toBe(true);
    });

    function makeArchives(dir: string): void {
      const content = path.join(fixtures, 'content');
      makeTree(content, {
        '/td': 'd 0711 11:12',
        '/td/file': 'f:t 11:12 4711',
        '/td/hl': 'h:/td/file',
        '/td/link': 'l:file 11:12',
        '/td/sub': 'd 11:12',
      });
      execFileSync('sh', ['-c', `touch -h -d @${CTX} td/*; touch -d @${CTX + 1} td .`], {
        cwd: content,
      });
      execFileSync(
        'sh',
        [
          '-c',
          'tar -cf "$1/x.tar" .; tar -czf "$1/noext" td; tar -cjf "$1/x.bz2" td; tar -cf "$1/filetar" td/file; echo a | gzip > "$1/plain.gz"',
          'sh',
          dir,
        ],
        { cwd: content },
      );
    }
  },
);

function line(name: string, text: string): string {
  const [what = '', ...facts] = text.split(' ');
  const value = what.slice(2);
  const shown = facts.map((fact) =>
    fact === `@${CTX}` ? 'ctx' : fact === `@${OLD}` ? 'old' : fact === `@${NOW}` ? 'now' : fact,
  );
  const kind = what[0] ?? '';
  const tail =
    kind === 'l' || kind === 'h'
      ? ` -> ${value}`
      : kind === 'f' && /^[\x20-\x7e\n]+$/.test(value)
        ? ` ${value.trim()}`
        : '';
  return `${name} ${kind} ${shown.join(' ')}${tail}`;
}
