import fc from 'fast-check';
import { ignoreRulesOf, parseIgnoreFile } from '../../src/context/ignore';
import type { IgnoreRules, IgnoreState } from '../../src/context/ignore';
import { isMbuildError } from '../../src/diagnostics/error';

function rules(...lines: string[]): IgnoreRules {
  return parseIgnoreFile({ name: '.dockerignore', text: lines.join('\n') });
}

/** Walks down to `path` as a tree walk does. */
function walk(ignore: IgnoreRules, path: string) {
  const parts = path.split('/');
  let state: IgnoreState | undefined;
  let result = ignore.match('', true);
  for (let i = 1; i <= parts.length; i++) {
    result = ignore.match(parts.slice(0, i).join('/'), i < parts.length, state ?? []);
    state = result.state;
  }
  return result;
}

describe('ignore rules', () => {
  it.each([
    [['*'], 'a', true],
    [['a'], 'a/b/c', true],
    [['a/'], 'a/b', true],
    [['/a'], 'a', true],
    [['./a'], 'a', true],
    [['a/../b'], 'b', true],
    [['b'], 'a/b', false],
    [['**/b'], 'a/b', true],
    [['*.md', '!README.md'], 'README.md', false],
    [['*.md', '!README*.md', 'README-secret.md'], 'README-secret.md', true],
    [['*.md', 'README-secret.md', '!README*.md'], 'README-secret.md', false],
    [['a', '!a/b'], 'a/b', false],
    [['a', '!a/b'], 'a/b/c', false],
    [['a', '!a/b'], 'a/c', true],
    [['a', '!a/b', 'a/b/c'], 'a/b/c', true],
    [['a', '!a/b', 'a/b/c'], 'a/b/d', false],
    [['*', '!src'], 'src/x/y', false],
    [['*', '!src/**/*.ts'], 'src/x/y.ts', false],
    [['*', '!src/**/*.ts'], 'src/x/y.js', true],
    [['**', '!**/keep'], 'x/y/keep', false],
    [['# a', '#a', ' #b'], '#b', true],
    [['#a'], '#a', false],
    [['  a  '], 'a', true],
    [['! a', 'a'], 'a', true],
    [['a', '! a'], 'a', false],
    [['.'], 'a', false],
    [['/'], 'a', false],
    [['..'], 'a', false],
    [['\\!a'], '!a', true],
    [['a b'], 'a b', true],
    [['[ab]x'], 'bx', true],
    [['a/*/c'], 'a/b/c/d', true],
    [['a/*/c'], 'a/b/d', false],
    [['a\r', 'b\r'], 'b', true],
    [['\ufeffa'], 'a', true],
    [['é?'], 'éü', true],
    [['!a'], 'a', false],
    [[''], 'a', false],
    [['dir', '!dir/sub', 'dir/sub/x', '!dir/sub/x/y'], 'dir/sub/x/y', false],
  ])('%j and %s: ignored %j', (lines, path, expected) => {
    const ignore = rules(...lines);
    const raw = Buffer.from(path).toString('latin1');
    expect(walk(ignore, raw).ignored).toBe(expected);
    expect(ignore.match(raw, false).ignored).toBe(expected);
  });

  it('tell which line decided', () => {
    const ignore = rules('# comment', '*.md', '', '!README.md');
    expect(ignore.match('a.md', false).rule).toEqual({ line: 2, pattern: '*.md' });
    expect(ignore.match('README.md', false)).toMatchObject({
      ignored: false,
      rule: { line: 4, pattern: '!README.md' },
    });
    expect(ignore.match('a.txt', false).rule).toBeUndefined();
    expect(walk(rules('node_modules'), 'node_modules/a/b').rule).toEqual({
      line: 1,
      pattern: 'node_modules',
    });
  });

  it.each([
    [['a'], 'a', false],
    [['a', '!a/b'], 'a', true],
    [['a', '!a/b'], 'a/c', false],
    [['*', '!src/**/*.ts'], 'src', true],
    [['*', '!src/**/*.ts'], 'src/x', true],
    [['*', '!src/**/*.ts'], 'lib', false],
    [['*', '!**/keep'], 'lib', true],
    [['*', '!src'], 'src/x', true],
    [['*', '!ab'], 'a', false],
    [['*', '!*.txt'], 'lib', false],
    [['*', '!*/keep'], 'lib', true],
    [['*', '!*/keep'], 'lib/deep', false],
  ])('%j: an ignored %s must be walked: %j', (lines, folder, expected) => {
    expect(rules(...lines).mayDescend(folder)).toBe(expected);
  });

  it('never leave out what a ! rule would have brought back', () => {
    const part = fc.constantFrom('a', 'b', '*', '**', 'a*');
    const pattern = fc
      .tuple(fc.boolean(), fc.array(part, { minLength: 1, maxLength: 3 }))
      .map(([brings, parts]) => `${brings ? '!' : ''}${parts.join('/')}`);
    const path = fc.array(fc.constantFrom('a', 'b', 'ab'), { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 5 }), path, (lines, parts) => {
        const ignore = rules(...lines);
        if (walk(ignore, parts.join('/')).ignored) return;
        for (let i = 1; i < parts.length; i++) {
          const folder = parts.slice(0, i).join('/');
          if (walk(ignore, folder).ignored) expect(ignore.mayDescend(folder)).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['[', 1, 1],
    ['a\n  [z-\n', 2, 3],
    ['a\n!', 2, 1],
    ['ok\n\nx\\', 3, 1],
  ])('refuse %j at line %d', (text, line, column) => {
    const error = ((): unknown => {
      try {
        return parseIgnoreFile({ name: 'x.dockerignore', text });
      } catch (caught) {
        return caught;
      }
    })();
    expect(isMbuildError(error, 'IGNORE_FILE_INVALID')).toBe(true);
    expect(error).toMatchObject({
      range: { start: { line, column } },
      file: { name: 'x.dockerignore' },
    });
  });

  it('come from a list of patterns as well', () => {
    const exclude = ignoreRulesOf(['*.txt', '!keep.txt', ' ']);
    expect(exclude.match('a.txt', false).ignored).toBe(true);
    expect(exclude.match('keep.txt', false).ignored).toBe(false);
    expect(() => ignoreRulesOf(['['])).toThrow(/is not a valid pattern/);
    expect(ignoreRulesOf([]).isEmpty).toBe(true);
  });

  it('take any text: rules, or an error with its place', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, path) => {
        try {
          expect(typeof parseIgnoreFile({ name: 'i', text }).match(path, false).ignored).toBe(
            'boolean',
          );
        } catch (error) {
          expect(isMbuildError(error, 'IGNORE_FILE_INVALID') && error.range).toBeTruthy();
        }
      }),
      { numRuns: 1000 },
    );
  });
});
