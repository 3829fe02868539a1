import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DockerfileParser } from 'dockerfile-ast';
import fc from 'fast-check';
import { isMbuildError } from '../../src/diagnostics/error';
import type { Diagnostic } from '../../src/diagnostics/error';
import type { SourceFile } from '../../src/diagnostics/range';
import { chompHeredoc, heredocOfSource } from '../../src/dockerfile/heredoc';
import { toParseJson } from '../../src/dockerfile/json';
import { parseDockerfile, parseInstructions, parseTrigger } from '../../src/dockerfile/parse';

const FIXTURES = join(__dirname, '../../fixtures/dockerfile');
const CASES = readdirSync(FIXTURES);

function source(text: string): SourceFile {
  return { name: 'Dockerfile', text };
}

function fixture(name: string): SourceFile {
  return source(readFileSync(join(FIXTURES, name, 'Dockerfile'), 'utf8'));
}

function errorsOf(file: SourceFile): Diagnostic[] {
  try {
    parseDockerfile(file);
  } catch (error) {
    if (isMbuildError(error))
      return [
        {
          severity: 'error',
          code: error.code,
          message: error.message,
          hint: error.hint,
          file: error.file,
          range: error.range,
        },
        ...error.others,
      ];
    throw error;
  }
  return [];
}

function asText({ code, message, hint, range }: Diagnostic): string {
  const place =
    range && `${range.start.line}:${range.start.column}-${range.end.line}:${range.end.column}`;
  return `${place} ${code} ${message}\n${hint === undefined ? '' : `    ${hint}\n`}`;
}

/** The instruction of a file behind `FROM a`. */
function one(text: string) {
  const { instructions, diagnostics } = parseInstructions(source(`FROM a\n${text}`));
  expect(diagnostics.map(asText)).toEqual([]);
  expect(instructions).toHaveLength(2);
  return instructions[1];
}

describe('fixtures', () => {
  it.each(CASES.filter((name) => !name.startsWith('error-')))(
    '%s parses to its expected.json',
    (name) => {
      const file = fixture(name);
      expect(errorsOf(file)).toEqual([]);
      const expected: unknown = JSON.parse(
        readFileSync(join(FIXTURES, name, 'expected.json'), 'utf8'),
      );
      expect(JSON.parse(JSON.stringify(toParseJson(parseInstructions(file).instructions)))).toEqual(
        expected,
      );
    },
  );

  it.each(CASES.filter((name) => name.startsWith('error-')))(
    '%s is refused with its expected.txt',
    (name) => {
      expect(errorsOf(fixture(name)).map(asText).join('')).toBe(
        readFileSync(join(FIXTURES, name, 'expected.txt'), 'utf8'),
      );
    },
  );
});

describe('where dockerfile-ast reads a file otherwise than BuildKit, BuildKit is followed', () => {
  // Each text, what dockerfile-ast takes its instructions for, and what they are.
  it.each([
    [
      'an unquoted line in a heredoc that a shell would not announce',
      "FROM a\nRUN echo it's <<EOF\nUSER b",
      ['FROM', 'RUN'],
      ['FROM', 'RUN', 'USER'],
    ],
    [
      'a heredoc behind a descriptor',
      'FROM a\nRUN 3<<EOF cat\nUSER b\nEOF\n',
      ['FROM', 'RUN', 'USER', 'EOF'],
      ['FROM', 'RUN'],
    ],
    [
      'a heredoc with a space before its name',
      'FROM a\nRUN cat << EOF\nUSER b\nEOF\n',
      ['FROM', 'RUN', 'USER', 'EOF'],
      ['FROM', 'RUN'],
    ],
    [
      'a quoted heredoc whose name has a space',
      "FROM a\nRUN cat <<'E F'\nUSER b\nE F\n",
      ['FROM', 'RUN', 'USER', 'E'],
      ['FROM', 'RUN'],
    ],
    [
      'a heredoc in a quoted word',
      'FROM a\nRUN echo "x <<EOF "\nUSER b\n',
      ['FROM', 'RUN'],
      ['FROM', 'RUN', 'USER'],
    ],
    [
      'an escape before the line end, doubled',
      'FROM a\nRUN echo \\\\\nUSER b\n',
      ['FROM', 'RUN'],
      ['FROM', 'RUN', 'USER'],
    ],
    [
      'an escape directive behind a line for an interpreter',
      '#!/usr/bin/env docker\n# escape=`\nFROM a\nRUN b `\nUSER c\n',
      ['FROM', 'RUN', 'USER'],
      ['FROM', 'RUN', 'USER'],
    ],
    [
      'a directive behind an unknown one',
      '# x=y\n# escape=`\nFROM a\nRUN b `\nUSER c\n',
      ['FROM', 'RUN'],
      ['FROM', 'RUN', 'USER'],
    ],
  ])('%s', (_name, text, theirs, ours) => {
    expect(
      DockerfileParser.parse(text)
        .getInstructions()
        .map((instruction) => instruction.getKeyword()),
    ).toEqual(theirs);
    expect(parseInstructions(source(text)).instructions.map(({ keyword }) => keyword)).toEqual(
      ours,
    );
  });

  it('a flag keeps its value whole when it is quoted', () => {
    const text = 'FROM a\nCOPY --chown="a b" c d\n';
    const [, theirs] = DockerfileParser.parse(text).getInstructions();
    expect(theirs?.getArguments().map(String)).not.toEqual(['c', 'd']);
    expect(one(text.slice(7))).toMatchObject({
      paths: ['c', 'd'],
      flags: [{ name: 'chown', value: 'a b' }],
    });
  });
});

describe('instructions', () => {
  it('carry their place in the file, continuations and heredocs included', () => {
    const copy = one('  COPY --link \\\n  # why\n   --from=b <<E /x\ntext\nE');
    expect(copy?.range).toEqual({ start: { line: 2, column: 3 }, end: { line: 6, column: 2 } });
    expect(copy?.flags.map(({ range }) => range)).toEqual([
      { start: { line: 2, column: 8 }, end: { line: 2, column: 14 } },
      { start: { line: 4, column: 4 }, end: { line: 4, column: 12 } },
    ]);
  });

  it('are known as one line, for history and progress', () => {
    expect(one('RUN a \\\n  # gone\n  b  ')?.original).toBe('RUN a   b');
    expect(one('run <<E\nx\nE\n')?.original).toBe('run <<E');
  });

  it('keep their triggers as an image stores them', () => {
    expect(one('ONBUILD   RUN  <<-"E"\n\thi\n\tE\n')).toMatchObject({
      trigger: 'RUN  <<-"E"\n\thi\nE',
      child: { keyword: 'RUN', heredocs: [{ content: 'hi\n' }] },
    });
    expect(one('onbuild copy a \\\n b')).toMatchObject({
      trigger: 'copy a  b',
      child: { keyword: 'COPY', paths: ['a', 'b'] },
    });
  });

  it('read their arguments by keyword', () => {
    expect(one('HEALTHCHECK --retries=2 cmd ["a"]')).toMatchObject({
      command: { form: 'exec', args: ['a'] },
    });
    expect(one('HEALTHCHECK --any=flag none')).toMatchObject({ command: 'NONE' });
    expect(one('ARG a=b=c d')).toMatchObject({
      args: [{ name: 'a', value: 'b=c' }, { name: 'd' }],
    });
    expect(one('CMD')).toMatchObject({ command: { form: 'shell', line: '' } });
    expect(one('VOLUME [" /a "]')).toMatchObject({ words: ['/a'] });
    expect(one('RUN ["\\ud800"]')).toMatchObject({ command: { args: ['\ufffd'] } });
  });

  it('warn of empty lines within', () => {
    const { diagnostics } = parseInstructions(source('FROM a\nRUN b \\\n\n  c\n'));
    expect(diagnostics).toEqual([
      expect.objectContaining({
        severity: 'warning',
        code: 'NoEmptyContinuation',
        range: { start: { line: 3, column: 1 }, end: { line: 3, column: 1 } },
      }),
    ]);
    expect(errorsOf(source('FROM a\nRUN b \\\n\n  c\n'))).toEqual([]);
  });
});

describe('heredocs', () => {
  it('lose the tabs of <<-, and keep them for a shell that reads them itself', () => {
    expect(one('RUN cat <<-E\n\ta\n\t\tb\n\tE')).toMatchObject({
      heredocs: [{ content: 'a\nb\n', raw: '\ta\n\t\tb\n', chomp: true }],
    });
    expect(chompHeredoc('\ta\n \tb\n')).toBe('a\n \tb\n');
  });

  it('are found for the sources that announce them', () => {
    const copy = one('COPY <<a b 2<<-"c" /x/\none\na\n\ttwo\nc\n');
    if (copy?.keyword !== 'COPY') throw new Error('no COPY');
    expect(copy.paths.map((path) => heredocOfSource(path, copy.heredocs)?.content)).toEqual([
      'one\n',
      undefined,
      'two\n',
      undefined,
    ]);
    expect(heredocOfSource('<<f', [])).toMatchObject({ name: 'f', content: '' });
  });
});

describe('a Dockerfile', () => {
  it('has global ARGs and stages', () => {
    const { globalArgs, stages, directives } = parseDockerfile(
      source(
        '# syntax=docker/dockerfile:1\n# check=skip=A; error=true\nARG a\nFROM x AS Build\nRUN b\nFROM build\nCMD c\n',
      ),
    );
    expect(directives).toEqual({
      escape: '\\',
      syntax: 'docker/dockerfile:1',
      check: 'skip=A; error=true',
    });
    expect(globalArgs.map(({ args }) => args)).toEqual([[{ name: 'a' }]]);
    expect(
      stages.map(({ index, name, from, instructions }) => [
        index,
        name,
        from.image,
        instructions.map(({ keyword }) => keyword),
      ]),
    ).toEqual([
      [0, 'build', 'x', ['RUN']],
      [1, undefined, 'build', ['CMD']],
    ]);
  });

  it('puts warnings behind the errors', () => {
    expect(
      errorsOf(source('FROM a\nRUN b \\\n\n  c\nFOO\n')).map(({ severity }) => severity),
    ).toEqual(['error', 'warning']);
  });
});

describe('triggers', () => {
  it.each(['RUN echo $X', 'COPY --from=a <<E /x\nbody\nE', 'ENV a=b'])('%j is read', (text) => {
    expect(parseTrigger(text)).toMatchObject({ original: text.split('\n')[0] });
  });

  it.each([
    ['FROM a', 'DOCKERFILE_SEMANTIC'],
    ['ONBUILD RUN a', 'DOCKERFILE_SEMANTIC'],
    ['RUN a\nRUN b', 'DOCKERFILE_SEMANTIC'],
    ['', 'DOCKERFILE_EMPTY'],
    ['FOO', 'UNKNOWN_INSTRUCTION'],
  ])('%j is refused with %s', (text, code) => {
    expect(() => parseTrigger(text)).toThrow(expect.objectContaining({ code }));
  });
});

describe('any text', () => {
  const piece = fc.constantFrom(
    'FROM',
    'RUN',
    'COPY',
    'ENV',
    'ARG',
    'ONBUILD',
    'HEALTHCHECK',
    'SHELL',
    'VOLUME',
    'run',
    ' ',
    '  ',
    '\t',
    '\n',
    '\r\n',
    '\\',
    '\\\n',
    '`',
    '`\n',
    '#',
    '# escape=`\n',
    '<<',
    '<<-',
    'EOF',
    '"',
    "'",
    '[',
    ']',
    ',',
    '--',
    '--from=',
    '--mount=',
    '=',
    '$',
    '{',
    'a',
    'b',
    'é',
    '\u00a0',
    '\ufeff',
    '["a"]',
    'NONE',
    'CMD',
    'AS',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 40 }).map((parts) => parts.join('')),
  );

  it('parses, or is refused with codes, places and messages', () => {
    fc.assert(
      fc.property(text, (content) => {
        const lines = content.split('\n').length;
        for (const { code, message, range } of errorsOf(source(content))) {
          expect(code).toMatch(/^[A-Z_]+$|^NoEmptyContinuation$/);
          expect(message).not.toBe('');
          expect(range?.start.line).toBeGreaterThanOrEqual(1);
          expect(range?.end.line).toBeLessThanOrEqual(lines);
          if (range !== undefined)
            expect(range.end.line * 1e6 + range.end.column).toBeGreaterThanOrEqual(
              range.start.line * 1e6 + range.start.column,
            );
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('as instructions becomes JSON', () => {
    fc.assert(
      fc.property(text, (content) => {
        expect(() =>
          JSON.stringify(toParseJson(parseInstructions(source(content)).instructions)),
        ).not.toThrow();
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['words', (n: number) => `RUN ${'a '.repeat(n)}`],
    ['flags', (n: number) => `RUN ${'--a=b '.repeat(n)}x`],
    ['quotes', (n: number) => `ENV a=${'"\''.repeat(n)}`],
    ['JSON', (n: number) => `RUN [${'"a",'.repeat(n)}"b"]`],
    ['continuations', (n: number) => `RUN ${'a \\\n'.repeat(n)}`],
    ['ONBUILD', (n: number) => 'ONBUILD '.repeat(n)],
    ['heredocs', (n: number) => `RUN ${'<<a '.repeat(n)}\n${'a\n'.repeat(n)}`],
    ['blanks', (n: number) => `RUN${' '.repeat(n)}x${' '.repeat(n)}y`],
    ['one word', (n: number) => 'x'.repeat(n)],
  ])('ends soon when very long: %s', (_name, make) => {
    expect(
      parseInstructions(source(`FROM a\n${make(50_000)}`)).instructions.length,
    ).toBeGreaterThan(0);
  });
});
