import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckResult } from '../../src/pipeline/check';
import { callJson, callText } from '../../src/cli/format/calls';
import { checkJson, checkSarif, checkText, warningSummary } from '../../src/cli/format/check';
import { readCall } from '../../src/cli/call';
import { MbuildError } from '../../src/diagnostics/error';
import { parseDockerfile } from '../../src/dockerfile/parse';
import { lintDockerfile, type LintOptions } from '../../src/lint/lint';
import { outline, targets } from '../../src/lint/outline';
import { RULES } from '../../src/lint/rules';
import { caseArgs, casesOf, readCase } from '../support/fixtures';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const OPTIONS: LintOptions = { buildArgs: {}, platform: AMD64, buildPlatform: AMD64 };
const TEXT = 'FROM scratch\nENV a=1 \\\n  TOKEN=2 \\\n  b=$nope\nRUN x\nRUN y\nMAINTAINER me\n';

describe('--call', () => {
  it.each(casesOf('lint').filter(({ dir }) => existsSync(join(dir, 'outline.txt'))))(
    'answers for fixtures/lint/$name as BuildKit does',
    (fixtureCase) => {
      const file = {
        name: 'Dockerfile',
        text: readFileSync(join(fixtureCase.dir, 'Dockerfile'), 'utf8'),
      };
      const dockerfile = parseDockerfile(file);
      const args = caseArgs(fixtureCase);
      const after = (flag: string): string | undefined =>
        args.includes(flag) ? args[args.indexOf(flag) + 1] : undefined;
      const [name = '', value = ''] = after('--build-arg')?.split('=') ?? [];
      const options = {
        ...OPTIONS,
        buildArgs: name === '' ? {} : { [name]: value },
        target: after('--target'),
      };

      const outlined = { method: 'outline', file, outline: outline(dockerfile, options) } as const;
      const listed = { method: 'targets', file, targets: targets(dockerfile, options) } as const;
      expect(callText(outlined)).toBe(readCase(fixtureCase, 'outline.txt'));
      expect(callText(listed)).toBe(readCase(fixtureCase, 'targets.txt'));
      expect(JSON.parse(callJson(outlined))).toEqual(
        JSON.parse(readCase(fixtureCase, 'outline.json') ?? ''),
      );
      expect(JSON.parse(callJson(listed))).toEqual(
        JSON.parse(readCase(fixtureCase, 'targets.json') ?? ''),
      );
    },
  );

  it.each([
    [
      { check: true, call: 'build', format: undefined },
      { method: 'check', format: 'text' },
    ],
    [
      { check: true, call: 'build', format: 'sarif' },
      { method: 'check', format: 'sarif' },
    ],
    [
      { check: false, call: 'check,format=json', format: undefined },
      { method: 'check', format: 'json' },
    ],
    [
      { check: false, call: 'outline', format: 'json' },
      { method: 'outline', format: 'json' },
    ],
    [{ check: false, call: 'build', format: 'oci' }, undefined],
  ])('%j is read as %j', (flags, call) => {
    expect(readCall(flags)).toEqual(call);
  });

  it.each([
    [{ check: false, call: 'chekc', format: undefined }, 'unknown method "chekc" of --call'],
    [{ check: false, call: 'targets', format: 'sarif' }, '--call targets has no format "sarif"'],
    [
      { check: false, call: 'check,colour=red', format: undefined },
      'invalid field "colour=red" in --call',
    ],
    [{ check: false, call: 'build', format: 'sarif' }, '--format sarif is for --check and --call'],
  ])('%j is refused', (flags, message) => {
    expect(() => readCall(flags)).toThrow(message);
  });
});

describe('what a check found', () => {
  it('is shown with the lines around, those that are meant marked', () => {
    expect(checkText(resultOf(TEXT))).toBe(
      [
        'Check complete, 3 warnings have been found!',
        '',
        'WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/',
        "Usage of undefined variable '$nope'",
        'Dockerfile:2',
        '--------------------',
        '   1 |     FROM scratch',
        '   2 | >>> ENV a=1 \\',
        '   3 | >>>   TOKEN=2 \\',
        '   4 | >>>   b=$nope',
        '   5 |     RUN x',
        '--------------------',
        '',
        'WARNING: SecretsUsedInArgOrEnv - https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/',
        'Do not use ARG or ENV instructions for sensitive data (ENV "TOKEN")',
        'Dockerfile:2',
        '--------------------',
        '   1 |     FROM scratch',
        '   2 | >>> ENV a=1 \\',
        '   3 | >>>   TOKEN=2 \\',
        '   4 | >>>   b=$nope',
        '   5 |     RUN x',
        '--------------------',
        '',
        'WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/',
        'Maintainer instruction is deprecated in favor of using label',
        'Dockerfile:7',
        '--------------------',
        '   5 |     RUN x',
        '   6 |     RUN y',
        '   7 | >>> MAINTAINER me',
        '   8 |     ',
        '--------------------',
        '',
      ].join('\n'),
    );
    expect(checkText(resultOf('FROM scratch\n'))).toBe('Check complete, no warnings found.\n');
  });

  it('is a line each at the end of a build', () => {
    expect(warningSummary(resultOf('FROM scratch AS A\n').warnings)).toBe(
      "\n 1 warning found:\n - StageNameCasing: Stage name 'A' should be lowercase (line 1)\n",
    );
    expect(warningSummary([])).toBe('');
  });

  it('cannot drive the terminal', () => {
    expect(checkText(resultOf('FROM scratch\nMAINTAINER \x1b[31m\n'))).not.toContain('\x1b');
  });

  it("is BuildKit's result in JSON", () => {
    const json = JSON.parse(
      checkJson(
        resultOf(
          TEXT,
          new MbuildError('DOCKERFILE_SEMANTIC', 'no', {
            range: { start: { line: 5, column: 1 }, end: { line: 5, column: 3 } },
          }),
        ),
      ),
    ) as Record<string, unknown>;
    expect(json['warnings']).toContainEqual({
      ruleName: 'UndefinedVar',
      description: 'Variables should be defined before their use',
      url: 'https://docs.docker.com/go/dockerfile/rule/undefined-var/',
      detail: "Usage of undefined variable '$nope'",
      location: { ranges: [2, 3, 4].map((line) => ({ start: { line }, end: { line } })) },
    });
    expect(json['sources']).toEqual([
      {
        filename: 'Dockerfile',
        language: 'Dockerfile',
        data: Buffer.from(TEXT).toString('base64'),
      },
    ]);
    expect(json['buildError']).toEqual({
      message: 'no',
      location: { ranges: [{ start: { line: 5 }, end: { line: 5 } }] },
    });
    expect(JSON.parse(checkJson(resultOf('FROM scratch\n')))).toMatchObject({ warnings: null });
  });

  it('is a SARIF log with every rule, and a region for each warning', () => {
    const log = JSON.parse(checkSarif(resultOf(TEXT), '1.2.3')) as {
      version: string;
      runs: { tool: { driver: { rules: { id: string }[] } }; results: Record<string, unknown>[] }[];
    };
    expect(log.version).toBe('2.1.0');
    const [run] = log.runs;
    expect(run?.tool.driver.rules.map(({ id }) => id)).toEqual(RULES.map(({ name }) => name));
    expect(run?.results[2]).toEqual({
      ruleId: 'MaintainerDeprecated',
      level: 'warning',
      message: { text: 'Maintainer instruction is deprecated in favor of using label' },
      locations: [
        {
          physicalLocation: {
            artifactLocation: { uri: 'Dockerfile' },
            region: { startLine: 7, startColumn: 1, endLine: 7, endColumn: 14 },
          },
        },
      ],
    });
  });
});

function resultOf(text: string, error?: MbuildError): CheckResult {
  const file = { name: 'Dockerfile', text };
  return { file, warnings: lintDockerfile(parseDockerfile(file), OPTIONS), notes: [], error };
}
