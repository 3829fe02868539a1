import { parseIgnoreFile } from '../../src/context/ignore';
import { expandHeredoc, expandWord, expandWords } from '../../src/dockerfile/expand';
import { parseInstructions } from '../../src/dockerfile/parse';

const parse = (text: string): unknown =>
  parseInstructions({ name: 'Dockerfile', text: `FROM a\n${text}\n` });
const env = (name: string): string | undefined => (name === 'v' ? 'ab'.repeat(50) : undefined);
const expand = (word: string): unknown => expandWord(word, env, '\\');
const longValue =
  (size: number) =>
  (name: string): string | undefined =>
    name === 'v' ? 'ab'.repeat(size) : undefined;

/**
 * Milliseconds of processor time, the least of several runs: other work on the machine adds, it
 * never takes away.
 */
function cost(run: () => unknown): number {
  let least = Infinity;
  for (let i = 0; i < 7; i++) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

/** How much more eight times the input costs: 8 where time is linear, 64 where it is quadratic. */
function growth(run: (size: number) => unknown, size: number): number {
  let least = Infinity;
  for (let i = 0; i < 3 && least > 20; i++) {
    run(size);
    least = Math.min(
      least,
      cost(() => run(8 * size)) /
        Math.max(
          cost(() => run(size)),
          0.5,
        ),
    );
  }
  return least;
}

describe('time grows with the input, not faster', () => {
  it.each<[string, (size: number) => unknown, number]>([
    ['instructions', (n) => parse('RUN echo $x\nCOPY a b\nENV a=b\n'.repeat(n)), 400],
    ['stages', (n) => parse('FROM a AS b\nCOPY --from=b /x /y\n'.repeat(n)), 400],
    ['a long line', (n) => parse(`RUN ${'echo "a b" $x \\$y; '.repeat(n)}`), 2000],
    ['a line that is continued', (n) => parse(`RUN a${' \\\n  b'.repeat(n)}`), 2000],
    ['comments within a continuation', (n) => parse(`RUN a \\\n${'# c\n\n'.repeat(n)} b`), 2000],
    ['a list of variables', (n) => parse(`ENV ${'a="b c" '.repeat(n)}`), 2000],
    ['flags', (n) => parse(`RUN ${'--mount=type=tmpfs,target=/x '.repeat(n)}true`), 400],
    [
      'options of a mount',
      (n) => parse(`RUN --mount=${'type=tmpfs,'.repeat(n)}target=/x true`),
      2000,
    ],
    ['a JSON array', (n) => parse(`CMD [${'"a\\u0062", '.repeat(n)}"z"]`), 2000],
    ['a JSON array that does not end', (n) => parse(`CMD [${'"a", '.repeat(n)}`), 2000],
    ['heredocs', (n) => parse('RUN <<A\nx\nA\n'.repeat(n)), 400],
    [
      'heredocs of one line',
      (n) =>
        parse(
          `COPY ${Array.from({ length: n }, (_, i) => `<<a${i}`).join(' ')} /d/\n${Array.from({ length: n }, (_, i) => `x\na${i}\n`).join('')}`,
        ),
      100,
    ],
    ['a heredoc that does not end', (n) => parse(`RUN <<A\n${'x\n'.repeat(n)}`), 2000],
    ['mistakes', (n) => parse('FOO\nRUN\nCOPY a\n'.repeat(n)), 200],
    ['words', (n) => expandWords('a "b c" $v '.repeat(n), env, '\\'), 1000],
    ['variables', (n) => expand('$v${v:-x}${u:-"y"}'.repeat(n)), 500],
    ['quotes and escapes', (n) => expand('"a\\"b" \'c\' \\d '.repeat(n)), 2000],
    ['a heredoc to expand', (n) => expandHeredoc('line $v "x"\n'.repeat(n), env), 1000],
    [
      'trims with many stars',
      (n) => expandWord('${v##*a*b*c}${v%%c*b*a*}', longValue(n), '\\'),
      500,
    ],
    ['replacements with many stars', (n) => expandWord('${v//a*b?c/x}', longValue(n), '\\'), 200],
    ['replacements that are found often', (n) => expandWord('${v//a/x}', longValue(n), '\\'), 1000],
    [
      'ignore rules',
      (n) => parseIgnoreFile({ name: 'i', text: 'a/**/b*\n!c/?[d-e]\n'.repeat(n) }),
      1000,
    ],
    [
      'a long path against stars',
      (n) =>
        parseIgnoreFile({ name: 'i', text: '**/a*a*a*b/**/c' }).match(
          'a/'.repeat(n) + 'a',
          false,
          [],
        ),
      500,
    ],
  ])('%s', (_, run, size) => {
    expect(growth(run, size)).toBeLessThan(24);
  });
});
