import fc from 'fast-check';
import { isMbuildError } from '../../src/diagnostics/error';
import { expandHeredoc, expandWord, expandWords, unquote } from '../../src/dockerfile/expand';

const VARIABLES: Readonly<Record<string, string>> = {
  x: 'value',
  empty: '',
  path: '/usr/local/lib/libfoo.so',
  star: 'a*b/c}d',
  spaces: ' one  two ',
  é: 'accent',
  lines: 'a\nb',
  digits: 'foobarfoobar',
};
const env = (name: string): string | undefined =>
  Object.hasOwn(VARIABLES, name) ? VARIABLES[name] : undefined;

describe('expansion of a word', () => {
  it.each([
    ['$x', 'value'],
    ['${x}', 'value'],
    ['a$x.b', 'avalue.b'],
    ['$unset', ''],
    ['${unset}', ''],
    ['$', '$'],
    ['a$', 'a$'],
    ['$ a', '$ a'],
    ['$(x)', '$(x)'],
    ['$é', 'accent'],
    ['\\$x', '$x'],
    ["'$x'", '$x'],
    ['"$x"', 'value'],
    ['"\\$x"', '$x'],
    ["'a\\b'", 'a\\b'],
    ['a\\b', 'ab'],
    ['"a\\b"', 'a\\b'],
    ['"a\\"b"', 'a"b'],
    ['"a\\\\b"', 'a\\b'],
    ['a\\', 'a'],
    ['\\\\', '\\'],
    ['', ''],
    ['""', ''],
    ["''", ''],
    ['a"b c"d', 'ab cd'],
    ['"it\'s"', "it's"],
    ['$1$@$$', ''],
    ['  a  b ', '  a  b '],
    ['${x:-w}', 'value'],
    ['${empty:-w}', 'w'],
    ['${unset:-w}', 'w'],
    ['${x-w}', 'value'],
    ['${empty-w}', ''],
    ['${unset-w}', 'w'],
    ['${x:+w}', 'w'],
    ['${empty:+w}', ''],
    ['${unset:+w}', ''],
    ['${x+w}', 'w'],
    ['${empty+w}', 'w'],
    ['${unset+w}', ''],
    ['${x:?w}', 'value'],
    ['${x?w}', 'value'],
    ['${empty?w}', ''],
    ['${unset:-${empty:-${x}}}', 'value'],
    ['${unset:-"a b"}', 'a b'],
    ["${unset:-'$x'}", '$x'],
    ['${unset:-\\}}', '}'],
    ['${unset:-}', ''],
    ['"${unset:-"w"}"', 'w'],
    ['${path#*/}', 'usr/local/lib/libfoo.so'],
    ['${path##*/}', 'libfoo.so'],
    ['${path%/*}', '/usr/local/lib'],
    ['${path%%/*}', ''],
    ['${path%.so}', '/usr/local/lib/libfoo'],
    ['${path#nothing}', '/usr/local/lib/libfoo.so'],
    ['${x#?}', 'alue'],
    ['${x%?}', 'valu'],
    ['${x##*}', ''],
    ['${x#*}', 'value'],
    ['${unset#a}', ''],
    ['${star#*\\*}', 'b/c}d'],
    ['${star%\\}d}', 'a*b/c'],
    ['${star#*\\/}', 'c}d'],
    ['${star%%c*}', 'a*b/'],
    ['${lines#*b}', 'a\nb'],
    ['${lines##*a}', '\nb'],
    ['${digits#*o}', 'obarfoobar'],
    ['${digits##*o}', 'bar'],
    ['${digits%o*}', 'foobarfo'],
    ['${digits%%o*}', 'f'],
    ['${x/a/A}', 'vAlue'],
    ['${digits/foo/x}', 'xbarfoobar'],
    ['${digits//foo/x}', 'xbarxbar'],
    ['${digits//o/}', 'fbarfbar'],
    ['${digits/o*o/-}', 'f-bar'],
    ['${digits//o?/-}', 'f-barf-bar'],
    ['${star//\\*/Z}', 'aZb/c}d'],
    ['${star/b\\/c/$x}', 'a*value}d'],
    ['${path//\\//-}', '-usr-local-lib-libfoo.so'],
    ['${x///-}', '-v-a-l-u-e-'],
    ['${x//*/-}', '-'],
    ['${unset/a/b}', ''],
    ['${star/a/\\/}', '\\/*b/c}d'],
  ])('%j is %j', (word, expected) => {
    expect(expandWord(word, env, '\\').value).toBe(expected);
  });

  it('takes the backtick as the escape character where the file says so', () => {
    expect(expandWord('C:\\a`$x\\"q`"z"', env, '`').value).toBe('C:\\a$x\\q"z');
    expect(expandWord('`', env, '`').value).toBe('');
  });

  it('names the variables that are not set, each once', () => {
    expect(expandWord('$a ${b:-$a} $x ${c}', env, '\\').unmatched).toEqual(['a', 'b', 'c']);
  });

  it.each([
    ['"a', /double quote is missing/],
    ["'a", /single quote is missing/],
    ['${', /"}" is missing/],
    ['${x', /"}" is missing/],
    ['${x:-w', /"}" is missing/],
    ['${}', /needs the name/],
    ['${:x}', /needs the name/],
    ['${{x}}', /needs the name/],
    ['${x^^}', /unknown operator "\^"/],
    ['${x:=w}', /unknown operator ":="/],
    ['${x!}', /unknown operator "!"/],
    ['${x:#v}', /unknown operator ":#"/],
    ['${x:%v}', /unknown operator ":%"/],
    ['${x/a}', /"\/" is missing/],
    ['${x/a/b', /"}" is missing/],
    ['${unset:?}', /unset: is not allowed to be unset/],
    ['${empty:?}', /empty: is not allowed to be empty/],
    ['${unset?tell $x}', /unset: tell value/],
    ['${x#\\a}', /unknown escape "\\a"/],
    [`${'${a:-'.repeat(1000)}`, /nested too deep/],
  ])('%j is refused', (word, message) => {
    const expand = (): unknown => expandWord(word, env, '\\');
    expect(expand).toThrow(message);
    expect(expand).toThrow(expect.objectContaining({ code: 'DOCKERFILE_SYNTAX' }));
  });
});

describe('expansion to words', () => {
  it.each([
    ['a b', ['a', 'b']],
    ['  a  ', ['a']],
    ['$spaces', ['one', 'two']],
    ['x${spaces}y', ['x', 'one', 'two', 'y']],
    ['"$spaces"', [' one  two ']],
    ['a"b c"', ['ab c']],
    ['""', []],
    ['a\\ b', ['a b']],
    ['', []],
    ["'a b' c", ['a b', 'c']],
    ['$unset', []],
    ['a\u00a0b', ['a', 'b']],
  ])('%j is %j', (text, expected) => {
    expect(expandWords(text, env, '\\')).toEqual(expected);
  });
});

describe('expansion of a heredoc', () => {
  it('keeps quotes, takes backslashes off, and knows all operators', () => {
    expect(expandHeredoc('a\\nb \\\\ "x\\"" \'$x\' \\$x `$x` ${unset:-"q r"}\n', env).value).toBe(
      'anb \\ "x"" \'value\' $x `value` "q r"\n',
    );
  });
});

it('unquoting leaves variables alone', () => {
  expect(unquote('"a b"\\ $x ${y:-z}', '\\')).toBe('a b $x ${y:-z}');
});

it('any text expands or is refused, in a time that grows with it', () => {
  const piece = fc.constantFrom(
    '$',
    '{',
    '}',
    ':',
    '-',
    '#',
    '%',
    '/',
    '"',
    "'",
    '\\',
    '*',
    '?',
    ' ',
    'x',
    'empty',
    '${x',
    '`',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'grapheme' }),
        fc.array(piece).map((parts) => parts.join('')),
      ),
      fc.constantFrom('\\' as const, '`' as const),
      (text, escape) => {
        try {
          expect(typeof expandWord(text, env, escape).value).toBe('string');
        } catch (error) {
          expect(isMbuildError(error, 'DOCKERFILE_SYNTAX')).toBe(true);
        }
      },
    ),
    { numRuns: 3000 },
  );
  const long = 'a'.repeat(20_000);
  expect(expandWord(`\${v%%${'*a'.repeat(60)}*b}`, () => long, '\\').value).toBe(long);
  expect(expandWord('${v//?*b/x}', () => long, '\\').value).toBe(long);
});
