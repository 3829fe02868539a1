import { LocalContext, loadIgnoreFile } from '../../src/context/local';
import { selectSources, type SelectionOptions } from '../../src/context/selection';
import { makeFolder, makeTree, removeFolder } from '../snapshot/trees';

describe('selectSources', () => {
  let folder: string;
  beforeAll(() => {
    folder = makeFolder();
    makeTree(folder, {
      '/a.txt': 'f:a',
      '/b.txt': 'f:b',
      '/dir/f1': 'f:1',
      '/dir/f2': 'h:/dir/f1',
      '/dir/sub/f3': 'f:3',
      '/dir/link': 'l:f1',
      '/dir/gone': 'l:nowhere',
      '/ldir': 'l:dir',
      '/dangling': 'l:nowhere',
      '/ign/no.txt': 'f:',
      '/.dockerignore': 'f:#rules\nign/*.txt',
      '/package.json': 'f:',
      '/[x].txt': 'f:',
      '/c\\t.txt': 'f:',
      '/w\\d/f': 'f:',
      '/empty': 'd',
    });
  });
  afterAll(() => removeFolder(folder));

  const select = (source: string, options: SelectionOptions = {}): unknown[] =>
    selectSources(new LocalContext(folder, loadIgnoreFile(folder)), [source], options).sources.map(
      (found) => [found.kind, ...found.entries.map((entry) => entry.path)],
    );

  test.each([
    ['a.txt', [['file', 'a.txt']]],
    ['/a.txt', [['file', 'a.txt']]],
    ['../../a.txt', [['file', 'a.txt']]],
    ['a.txt/', [['file', 'a.txt']]],
    [
      '*.txt',
      [
        ['file', '[x].txt'],
        ['file', 'a.txt'],
        ['file', 'b.txt'],
        ['file', 'c\\t.txt'],
      ],
    ],
    [
      '[a-b].txt',
      [
        ['file', 'a.txt'],
        ['file', 'b.txt'],
      ],
    ],
    ['[[]x].txt', [['file', '[x].txt']]],
    ['\\[x].txt', [['file', '[x].txt']]],
    ['c\\t.txt', [['file', 'c\\t.txt']]],
    ['*\\\\t.txt', [['file', 'c\\t.txt']]],
    ['w\\d', [['contents', 'f']]],
    ['w\\d/*', [['file', 'f']]],
    ['none\\x*', []],
    ['dir', [['contents', 'f1', 'f2', 'gone', 'link', 'sub', 'sub/f3']]],
    ['dir/.', [['contents', 'f1', 'f2', 'gone', 'link', 'sub', 'sub/f3']]],
    ['ldir', [['contents', 'f1', 'f2', 'gone', 'link', 'sub', 'sub/f3']]],
    ['ldir/sub', [['contents', 'f3']]],
    ['dir/s*/f?', [['file', 'f3']]],
    ['empty', [['contents']]],
    ['nomatch*', []],
    ['**/f3', []],
  ])('%s', (source, expected) => {
    expect(select(source)).toEqual(expected);
  });

  test.each([
    ['dir', ['sub'], [['contents', 'f1', 'f2', 'gone', 'link']]],
    ['dir', ['**/f*'], [['contents', 'gone', 'link', 'sub']]],
    ['dir', ['sub', '!sub/f3'], [['contents', 'f1', 'f2', 'gone', 'link', 'sub', 'sub/f3']]],
    ['a.txt', ['*.txt'], [['file', 'a.txt']]],
  ])('%s without %s', (source, exclude, expected) => {
    expect(select(source, { exclude })).toEqual(expected);
  });

  test.each([
    ['dir/sub/f3', [['parents', 'dir', 'dir/sub', 'dir/sub/f3']]],
    ['./dir/./sub/f3', [['parents', 'sub', 'sub/f3']]],
    ['dir/sub', [['parents', 'dir', 'dir/sub', 'dir/sub/f3']]],
    ['**/f[23]', [['parents', 'dir', 'dir/f2', 'dir/sub', 'dir/sub/f3']]],
    ['d*/./s*', [['parents', 'sub', 'sub/f3']]],
    ['nomatch/*', [['parents']]],
  ])('%s with parents', (source, expected) => {
    expect(select(source, { parents: true })).toEqual(expected);
  });

  test('later names of a file within a directory are links to its first', () => {
    const [source] = selectSources(new LocalContext(folder), ['dir']).sources;
    expect(
      source?.entries
        .map(({ path, linkTo }) => [path, linkTo])
        .filter(([, to]) => to !== undefined),
    ).toEqual([['f2', 'f1']]);
  });

  test.each([
    ['nope', /"\/nope" not found in the build context/, undefined],
    [
      'ign/no.txt',
      /"\/ign\/no.txt" is excluded from the build context by .dockerignore:2 \(ign\/\*.txt\)/,
      /add !ign\/no.txt/,
    ],
    ['no\\pe', /"\/no\\pe" not found in the build context/, undefined],
    ['dir\\f1', /not found/, undefined],
    ['a.tx\\t', /not found/, /did you mean "a.txt"/],
    ['no\\pe/*', /"\/no\\pe" not found/, undefined],
    ['no\\*pe', /not found/, undefined],
    ['a.txt\\', /not found/, /did you mean "a.txt"/],
    ['pakcage.json', /"\/pakcage.json" not found/, /did you mean "package.json"/],
    ['dir/sbu/f3', /not found/, /did you mean "sub"/],
    [
      'dangling',
      /"\/dangling" in the build context is a symlink whose target does not exist there/,
      undefined,
    ],
  ])('%s is missing, and it is said why', (source, message, hint) => {
    const error = ((): { code?: string; message: string; hint?: string } => {
      try {
        select(source);
        return { message: 'nothing was thrown' };
      } catch (thrown) {
        return thrown as Error & { code: string; hint: string };
      }
    })();
    expect(error.code).toBe('SOURCE_NOT_FOUND');
    expect(error.message).toMatch(message);
    if (hint !== undefined) expect(error.hint).toMatch(hint);
  });

  test('a missing source with --parents is named too', () => {
    expect(() => select('no\\pe', { parents: true })).toThrow(/"\/no\\pe" not found/);
    expect(select('w\\d/f', { parents: true })).toEqual([['parents', 'w\\d', 'w\\d/f']]);
    expect(() => select('dir/nope', { parents: true })).toThrow(/"\/dir\/nope" not found/);
  });

  test('a broken pattern is an error', () => {
    expect(() => select('a[')).toThrow(expect.objectContaining({ code: 'DOCKERFILE_SYNTAX' }));
  });
});
