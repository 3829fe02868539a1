import fc from 'fast-check';
import {
  compilePathPattern,
  globProblem,
  hasMeta,
  matchGlob,
  pathPatternProblem,
} from '../../src/context/glob';

describe('file name patterns', () => {
  it.each([
    ['abc', 'abc', true],
    ['*', 'abc', true],
    ['*c', 'abc', true],
    ['a*', 'a', true],
    ['a*', 'abc', true],
    ['a*', 'ab/c', false],
    ['a*/b', 'abc/b', true],
    ['a*/b', 'a/c/b', false],
    ['a*b*c*d*e*/f', 'axbxcxdxe/f', true],
    ['a*b?c*x', 'abxbbxdbxebxczzx', true],
    ['a*b?c*x', 'abxbbxdbxebxczzy', false],
    ['ab[c]', 'abc', true],
    ['ab[b-d]', 'abc', true],
    ['ab[e-g]', 'abc', false],
    ['ab[^c]', 'abc', false],
    ['ab[^b-d]', 'abc', false],
    ['ab[^e-g]', 'abc', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'ab', false],
    ['a?b', 'aéb', true],
    ['a[^a][^a]b', 'aéb', false],
    ['[a-ζ]*', 'α', true],
    ['a?b', 'a/b', false],
    ['a*b', 'a/b', false],
    ['[\\]a]', ']', true],
    ['[\\-]', '-', true],
    ['[x\\-]', 'x', true],
    ['[\\-x]', 'z', false],
    ['*x', 'xxx', true],
    ['?', '💡', true],
    ['**', 'a/b', false],
    ['.*', '.env', true],
    ['*', '.env', true],
  ])('%j and %j: %j', (pattern, name, expected) => {
    expect(matchGlob(pattern, Buffer.from(name).toString('latin1'))).toBe(expected);
    expect(globProblem(pattern)).toBeUndefined();
  });

  it.each(['[]a]', '[-]', '[x-]', '[-x]', '[a-b-c]', '[', '[^', '[^bc', 'a[', 'a\\', '[a-]'])(
    '%j is no pattern',
    (pattern) => {
      expect(globProblem(pattern)).toBeDefined();
      expect(matchGlob(pattern, 'a')).toBe(false);
    },
  );

  it.each([
    ['a', false],
    ['a.b', false],
    ['a*', true],
    ['a?', true],
    ['a[b]', true],
    ['a\\b', true],
  ])('%j has meta characters: %j', (pattern, expected) => {
    expect(hasMeta(pattern)).toBe(expected);
  });
});

describe('patterns with **', () => {
  it.each([
    ['**', 'file', true],
    ['**', 'dir/file', true],
    ['**/', 'dir/file', true],
    ['**/**', 'dir/file', true],
    ['dir/**', 'dir/file', true],
    ['dir/**', 'dir/dir2/file', true],
    ['dir/**', 'dir', false],
    ['**/dir2/*', 'dir/dir2/file', true],
    ['**/dir2/*', 'dir/dir2/dir2/file', true],
    ['**/dir2/**', 'dir/dir2/dir2/file', true],
    ['**file', 'file', true],
    ['**file', 'dir/file', true],
    ['**file', 'dir/afile', true],
    ['**/file', 'file', true],
    ['**/file', 'a/file', true],
    ['**/file', 'afile', false],
    ['**/file*', 'dir/dir/file.txt', true],
    ['**/file*txt', 'dir/dir/file.txt', true],
    ['**/file*.txt*', 'dir/dir/file.txt', true],
    ['**/**/*.txt', 'dir/dir/file.txt', true],
    ['**/**/*.txt2', 'dir/dir/file.txt', false],
    ['**/*.txt', 'file.txt', true],
    ['**/**/*.txt', 'file.txt', true],
    ['a**/*.txt', 'a/file.txt', true],
    ['a**/*.txt', 'a/dir/file.txt', true],
    ['a**/*.txt', 'a/dir/dir/file.txt', true],
    ['a/*.txt', 'a/dir/file.txt', false],
    ['a/*.txt', 'a/file.txt', true],
    ['a.*/b', 'a.b/b', true],
    ['a.', 'ab', false],
    ['abc.def', 'abcZdef', false],
    ['**/foo/bar', 'foo/bar', true],
    ['**/foo/bar', 'dir/foo/bar', true],
    ['abc/**', 'abc/def/ghi', true],
    ['**/.foo', '.foo', true],
    ['**/.foo', 'bar.foo', false],
    ['a(b)c/def', 'a(b)c/def', true],
    ['a.|)$(}+{bc', 'a.|)$(}+{bc', true],
    ['x/**/y', 'x/y', true],
    ['x/**/y', 'x/a/b/y', true],
    ['x/**/y', 'xy', false],
    ['**/*é?', 'd/aéb', true],
  ])('%j and %j: %j', (pattern, path, expected) => {
    expect(
      compilePathPattern(pattern.replace(/\/$/, '')).matches(Buffer.from(path).toString('latin1')),
    ).toBe(expected);
  });

  it.each([
    ['q\\d', 'q1', true],
    ['q\\d', 'qd', false],
    ['**/\\w\\W', 'a/_-', true],
    ['\\s', ' ', true],
    ['\\S\\D', 'x1', false],
    ['a\\.b', 'a.b', true],
    ['\\t', '\t', true],
    ['\\_', '_', true],
  ])(
    'read an escaped letter as regular expressions do: %j and %j: %j',
    (pattern, path, expected) => {
      expect(compilePathPattern(pattern).matches(path)).toBe(expected);
      expect(pathPatternProblem(pattern)).toBeUndefined();
    },
  );

  it.each(['fil\\e', 'a\\1', '\\y'])('%j is none', (pattern) => {
    expect(pathPatternProblem(pattern)).toMatch(/is not a valid escape/);
    expect(globProblem(pattern)).toBeUndefined();
  });

  it('agree with a backtracking matcher on small inputs', () => {
    const pattern = fc
      .array(fc.constantFrom('a', 'b', '/', '*', '?', '**/', '/**'), { maxLength: 6 })
      .map((parts) => parts.join(''));
    const path = fc
      .array(fc.constantFrom('a', 'b', '/'), { maxLength: 7 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(pattern, path, (written, name) => {
        // Where `**` stands at an end of plain text, it reaches into names: a case of its own,
        // tested above.
        fc.pre(!/^\*\*[^*?]*$|^[^*?]*\*\*$/.test(written));
        let source = '';
        for (let i = 0; i < written.length; i++) {
          if (written.startsWith('**', i)) {
            i += written[i + 2] === '/' ? 2 : 1;
            source += i + 1 >= written.length ? '.*' : '(.*/)?';
          } else source += written[i] === '*' ? '[^/]*' : written[i] === '?' ? '[^/]' : written[i];
        }
        expect(compilePathPattern(written).matches(name)).toBe(
          new RegExp(`^${source}$`, 's').test(name),
        );
      }),
      { numRuns: 2000 },
    );
  });

  it('take any text, and stay quick on patterns made to be slow', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (pattern, path) => {
        expect(
          typeof compilePathPattern(pattern).matches(Buffer.from(path).toString('latin1')),
        ).toBe('boolean');
        expect(typeof matchGlob(pattern, path)).toBe('boolean');
      }),
    );
    expect(compilePathPattern(`${'*a'.repeat(200)}*b`).matches('a'.repeat(5000))).toBe(false);
    expect(compilePathPattern(`${'**/a*'.repeat(200)}b`).matches('a/'.repeat(2000))).toBe(false);
  });
});
