import { MbuildError, errorOfDiagnostics, type Diagnostic } from '../../src/diagnostics/error';
import type { SourceFile } from '../../src/diagnostics/range';
import { errorToJson, renderDiagnostic, renderError } from '../../src/diagnostics/render';

const file: SourceFile = {
  name: 'Dockerfile',
  text: 'FROM node\nWORKDIR /app\n\nARG A\nENV B=c\nCOPY package.json .\nRUN npm ci\nCOPY . .\nRUN a \\\n  b \\\n  c\n',
};

function range(start: number, end = start, column = 1, endColumn = 99): Diagnostic['range'] {
  return { start: { line: start, column }, end: { line: end, column: endColumn } };
}

describe('rendering of errors', () => {
  test('a failed command shows its place, the marked line, its output, code and hint', () => {
    const error = new MbuildError('EXEC_FAILED', 'RUN exited with code 127', {
      file,
      range: range(7),
      output: '/bin/sh: npm: not found\n',
      exitCode: 127,
      hint: '127 means the shell found no such command; install it in an earlier RUN',
    });
    expect(renderError(error)).toBe(
      [
        'Dockerfile:7 — RUN exited with code 127',
        '  6 │ COPY package.json .',
        '> 7 │ RUN npm ci',
        '  8 │ COPY . .',
        '/bin/sh: npm: not found',
        '[EXEC_FAILED] hint: 127 means the shell found no such command; install it in an earlier RUN',
      ].join('\n'),
    );
  });

  test('all lines of an instruction are marked, and numbers are aligned', () => {
    expect(renderError(new MbuildError('EXEC_FAILED', 'no', { file, range: range(9, 11) }))).toBe(
      [
        'Dockerfile:9 — no',
        '   8 │ COPY . .',
        '>  9 │ RUN a \\',
        '> 10 │   b \\',
        '> 11 │   c',
        '[EXEC_FAILED]',
      ].join('\n'),
    );
  });

  test('a long instruction is shown with its middle left out', () => {
    const text = ['FROM a', ...Array.from({ length: 30 }, (_, i) => `line ${i + 2}`), 'CMD x'].join(
      '\n',
    );
    const shown = renderError(
      new MbuildError('EXEC_FAILED', 'no', { file: { name: 'D', text }, range: range(2, 31) }),
    ).split('\n');
    expect(shown).toHaveLength(16);
    expect(shown.slice(10, 15)).toEqual([
      '> 10 │ line 10',
      '> 11 │ line 11',
      '   ⋮ │',
      '> 31 │ line 31',
      '  32 │ CMD x',
    ]);
  });

  test.each([
    ['the first line', 1, ['> 1 │ FROM node', '  2 │ WORKDIR /app']],
    ['an empty line', 3, ['  2 │ WORKDIR /app', '> 3 │', '  4 │ ARG A']],
    ['the last line', 11, ['  10 │   b \\', '> 11 │   c']],
  ])('%s is shown with the neighbours that it has', (_, line, lines) => {
    expect(
      renderError(new MbuildError('DOCKERFILE_SYNTAX', 'm', { file, range: range(line) }))
        .split('\n')
        .slice(1, -1),
    ).toEqual(lines);
  });

  test('several diagnostics stand one after the other', () => {
    const diagnostics: Diagnostic[] = [
      {
        severity: 'error',
        code: 'UNKNOWN_INSTRUCTION',
        message: 'unknown instruction RUM',
        file,
        range: range(1),
        hint: 'did you mean RUN?',
      },
      {
        severity: 'error',
        code: 'UNKNOWN_FLAG',
        message: 'unknown flag --form',
        file,
        range: range(11),
      },
      {
        severity: 'warning',
        code: 'JSONArgsRecommended',
        message: 'use JSON',
        file,
        range: range(2),
        url: 'https://example.org/rule',
      },
    ];
    expect(renderError(errorOfDiagnostics(diagnostics))).toBe(
      [
        'Dockerfile:1 — unknown instruction RUM',
        '> 1 │ FROM node',
        '  2 │ WORKDIR /app',
        '[UNKNOWN_INSTRUCTION] hint: did you mean RUN?',
        '',
        'Dockerfile:11 — unknown flag --form',
        '  10 │   b \\',
        '> 11 │   c',
        '[UNKNOWN_FLAG]',
        '',
        'Dockerfile:2 — warning: use JSON',
        '  1 │ FROM node',
        '> 2 │ WORKDIR /app',
        '  3 │',
        'see https://example.org/rule',
        '[JSONArgsRecommended]',
      ].join('\n'),
    );
  });

  test('an error without a place says what it is', () => {
    expect(
      renderError(new MbuildError('USAGE', 'unknown flag: --tga', { hint: 'did you mean --tag?' })),
    ).toBe('error: unknown flag: --tga\n[USAGE] hint: did you mean --tag?');
    expect(renderDiagnostic({ severity: 'warning', code: 'X', message: 'm' })).toBe(
      'warning: m\n[X]',
    );
  });

  test('a file without a range is named alone', () => {
    expect(
      renderError(
        new MbuildError('DOCKERFILE_EMPTY', 'no instruction', {
          file: { name: 'x/Dockerfile', text: '' },
        }),
      ),
    ).toBe('x/Dockerfile — no instruction\n[DOCKERFILE_EMPTY]');
  });

  test('long lines are cut around the column', () => {
    const text = `RUN ${'a'.repeat(100)} HERE ${'b'.repeat(100)}`;
    const shown = renderError(
      new MbuildError('DOCKERFILE_SYNTAX', 'm', {
        file: { name: 'D', text },
        range: range(1, 1, 106, 110),
      }),
      { width: 40 },
    );
    const line = shown.split('\n')[1] ?? '';
    expect(line).toMatch(/^> 1 │ …a+ HERE b+…$/);
    expect(line).toHaveLength(40);
  });

  test('the cause is told unless the message holds it', () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:1');
    expect(
      renderError(new MbuildError('REGISTRY_UNREACHABLE', 'no answer from 127.0.0.1:1', { cause })),
    ).toBe(
      'error: no answer from 127.0.0.1:1\nbecause: connect ECONNREFUSED 127.0.0.1:1\n[REGISTRY_UNREACHABLE]',
    );
    expect(renderError(new MbuildError('IO_FAILED', `read: ${cause.message}`, { cause }))).toBe(
      `error: read: ${cause.message}\n[IO_FAILED]`,
    );
  });

  test('control characters in a Dockerfile or in output do not reach the terminal', () => {
    const error = new MbuildError('EXEC_FAILED', 'no', {
      file: { name: 'D', text: 'RUN \x1b]52;c;x\x07' },
      range: range(1),
      output: '\x1b[2Jgone',
    });
    expect(renderError(error)).toBe('D:1 — no\n> 1 │ RUN ␛]52;c;x␇\n␛[2Jgone\n[EXEC_FAILED]');
  });

  test('what nobody foresaw is called a fault of mbuild', () => {
    expect(renderError(new TypeError('x is undefined'))).toMatch(
      /^error: x is undefined\n\[INTERNAL\] hint: this is a bug in mbuild/,
    );
    expect(renderError('just text')).toMatch(/^error: just text\n/);
  });

  test('colour only adds escape sequences', () => {
    const error = new MbuildError('EXEC_FAILED', 'm', { file, range: range(7), hint: 'h' });
    expect(renderError(error, { color: true })).toContain('\x1b[31mDockerfile:7');
    expect(renderError(error, { color: true }).replace(/\x1b\[\d+m/g, '')).toBe(renderError(error));
  });

  test("JSON has the place, the code and the step's own exit code", () => {
    const error = new MbuildError('EXEC_FAILED', 'RUN exited with code 3', {
      file,
      range: range(7, 7, 1, 11),
      exitCode: 3,
      output: 'x',
    });
    expect(JSON.parse(JSON.stringify(errorToJson(error)))).toEqual({
      severity: 'error',
      code: 'EXEC_FAILED',
      message: 'RUN exited with code 3',
      file: 'Dockerfile',
      line: 7,
      column: 1,
      endLine: 7,
      endColumn: 11,
      exitCode: 3,
      output: 'x',
    });
  });
});
