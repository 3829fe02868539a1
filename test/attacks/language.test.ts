import fc from 'fast-check';
import { matchGlob } from '../../src/context/glob';
import { parseIgnoreFile } from '../../src/context/ignore';
import { isMbuildError } from '../../src/diagnostics/error';
import { expandWord } from '../../src/dockerfile/expand';
import { parseDockerfile } from '../../src/dockerfile/parse';
import {
  parseShellPattern,
  removeSuffix,
  replacePattern,
} from '../../src/dockerfile/shell-pattern';
import { Mbuild } from '../support/mbuild';
import { useTemp, writeFiles } from '../support/temp';

jest.setTimeout(120_000);

/** An outcome, or an error that somebody thought of; anything else is a crash. */
function tried<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (isMbuildError(error) && error.code !== 'INTERNAL') return undefined;
    throw error;
  }
}

const N = 20_000;
const env = (name: string): string | undefined => (name === 'a' ? 'aaaa' : undefined);

/**
 * Texts by which parsers of the language, of ignore files and of patterns were crashed or kept
 * busy: each must end, at once or with an error.
 */
describe('mbuild withstands', () => {
  const temp = useTemp();

  const dockerfiles: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['a line end', '\n'],
    ['a byte order mark alone', '\ufeff'],
    ['NULs', 'FROM a\0\nRUN \0'],
    ['only comments', '#\n'.repeat(N)],
    ['directives without end', '# syntax=x\n'.repeat(N)],
    ['an escape that ends the file', 'FROM a\\'],
    ['an escape on every line', 'FROM a\n' + 'RUN \\\n'.repeat(N)],
    ['lists in lists', `FROM a\nRUN ${'['.repeat(N)}`],
    ['lists that are closed', `FROM a\nRUN ${'['.repeat(N)}"a"${']'.repeat(N)}`],
    ['objects in lists', `FROM a\nCMD ${'[{"a":'.repeat(N)}`],
    ['quotes', `FROM a\nENV x=${'"\''.repeat(N)}`],
    ['a string without end', `FROM a\nENV x="${'\\"'.repeat(N)}`],
    ['a heredoc without end', `FROM a\nRUN <<EOF\n${'x\n'.repeat(N)}`],
    ['heredocs without end', `FROM a\nCOPY ${'<<E '.repeat(2000)}/\n${'x\n'.repeat(2000)}`],
    ['a heredoc with an empty name', 'FROM a\nRUN <<""\nx\n\n'],
    ['stages', 'FROM a\n'.repeat(N)],
    [
      'stages on one another',
      `FROM a AS s0\n${Array.from({ length: 2000 }, (_, i) => `FROM s${i} AS s${i + 1}\n`).join('')}`,
    ],
    ['ONBUILD of ONBUILD', `FROM a\n${'ONBUILD '.repeat(N)}RUN x`],
    ['flags', `FROM a\nRUN ${'--mount=type=cache,target=/a '.repeat(2000)}x`],
    ['mount keys', `FROM a\nRUN --mount=${'a=b,'.repeat(N)} x`],
    ['variables in variables', `FROM a\nENV x=${'${a:-'.repeat(N)}b${'}'.repeat(N)}`],
    ['variables without end', `FROM a\nENV x=${'${'.repeat(N)}`],
    ['a name without end', `FROM ${'a/'.repeat(N)}`],
    ['a digest', `FROM a@sha256:${'f'.repeat(N)}`],
    ['ports', `FROM a\nEXPOSE ${'1-65535 '.repeat(2000)}`],
    [
      '__proto__',
      'FROM __proto__ AS constructor\nARG __proto__=1\nENV __proto__=x hasOwnProperty=y\nLABEL __proto__=1\nCOPY --from=toString a b',
    ],
    ['a byte that is no UTF-8', 'FROM a\nRUN \ud800'],
    ['separators that are no line ends', 'FROM a\u2028RUN b\u2029\x85\x0b\x0c'],
    ['cyclic triggers', 'FROM a\nONBUILD FROM b\nONBUILD ONBUILD RUN x\nONBUILD MAINTAINER x'],
  ];

  test.each(dockerfiles)('attack 24: a Dockerfile of %s', (_, text) => {
    tried(() => parseDockerfile({ name: 'Dockerfile', text }));
  });

  test('attack 24: any text as a Dockerfile, an ignore file, a pattern and a variable', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary', maxLength: 200 }),
          fc.stringMatching(/^[A-Z$\\{}[\]*?!^"'#:%/.~a-c\n -]{0,80}$/),
        ),
        fc.string(),
        (text, path) => {
          tried(() => parseDockerfile({ name: 'Dockerfile', text }));
          tried(() => parseIgnoreFile({ name: 'i', text }).match(path, false));
          tried(() => matchGlob(text, path));
          tried(() => expandWord(text, env, '\\'));
        },
      ),
      { numRuns: 3000 },
    );
  });

  const bad = 'a'.repeat(N);
  test.each<readonly [string, () => unknown]>([
    ['stars between letters', () => matchGlob(`${'a*'.repeat(40)}b`, bad)],
    ['stars alone', () => matchGlob(`${'*'.repeat(2000)}b`, bad)],
    [
      'double stars',
      () =>
        parseIgnoreFile({ name: 'i', text: `${'**/a/'.repeat(40)}b` }).match(
          'a/'.repeat(2000) + 'c',
          false,
          [],
        ),
    ],
    [
      'double stars and stars',
      () =>
        parseIgnoreFile({ name: 'i', text: `${'**/*a*/'.repeat(20)}b` }).match(
          'aaaa/'.repeat(1000) + 'c',
          false,
          [],
        ),
    ],
    ['classes', () => matchGlob(`${'[a-z]*'.repeat(40)}0`, bad)],
    ['a class without end', () => matchGlob(`[${'a-'.repeat(N)}`, 'a')],
    ['escapes', () => matchGlob('\\a'.repeat(N / 4), bad)],
    [
      'rules that bring back',
      () =>
        parseIgnoreFile({ name: 'i', text: '*\n' + '!a*a*a*a*b\n'.repeat(50) }).match(
          bad,
          false,
          [],
        ),
    ],
    [
      'a pattern that removes a suffix',
      () => removeSuffix(parseShellPattern(`${'*a'.repeat(30)}b`), 'a'.repeat(5000), true),
    ],
    [
      'a pattern that is replaced',
      () => replacePattern(parseShellPattern(`${'*a'.repeat(20)}b`), 'a'.repeat(2000), 'x', true),
    ],
    ['a variable in itself', () => expandWord(`${'${a:-'.repeat(N)}${'}'.repeat(N)}`, env, '\\')],
    [
      'a variable that is replaced in many ways',
      () => expandWord('${a//a/aaaa}'.repeat(2000), env, '\\'),
    ],
  ])('attack 24: matching takes no more than pattern times text: %s', (_, act) => {
    // What doubles with each character would still be at it when the sun goes out.
    tried(act);
  });

  test('attack 24: an ignore file in a context, and a Dockerfile on standard input, end with their places', async () => {
    const mbuild = new Mbuild(temp.dir('store'));
    const broken = await mbuild.run([
      'build',
      writeFiles(temp.dir('context'), {
        Dockerfile: 'FROM scratch\nCOPY . /\n',
        '.dockerignore': `ok\n${'['.repeat(5000)}\n`,
      }),
    ]);
    expect(broken).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/\.dockerignore:2[^]*IGNORE_FILE_INVALID/),
    });
    const nested = await mbuild.run(['build', '-'], {
      input: `FROM scratch\nENV x=${'${a:-'.repeat(N)}\n`,
    });
    expect(nested).toMatchObject({ code: 1, stderr: expect.not.stringContaining('INTERNAL') });
    const binary = await mbuild.run(['build', '-'], {
      input: Buffer.from([0x46, 0x52, 0x4f, 0x4d, 0x20, 0xff, 0xfe, 0x0a]),
    });
    expect(binary).toMatchObject({ code: 1, stderr: expect.stringContaining('is not UTF-8') });
  });
});
