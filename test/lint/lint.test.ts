import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { parseDockerfile } from '../../src/dockerfile/parse';
import { lintDockerfile, type LintOptions } from '../../src/lint/lint';
import { ruleUrl } from '../../src/lint/rule';
import { RULES } from '../../src/lint/rules';
import { unusedInputs } from '../../src/lint/unused';
import { caseArgs, casesOf, readCase } from '../support/fixtures';
import { check } from './check';

const AMD64 = { os: 'linux', architecture: 'amd64' };
const OPTIONS: LintOptions = { buildArgs: {}, platform: AMD64, buildPlatform: AMD64 };

describe('checks', () => {
  it.each(casesOf('lint'))(
    'fixtures/lint/$name gets the warnings that BuildKit gives',
    (fixtureCase) => {
      const text = readFileSync(join(fixtureCase.dir, 'Dockerfile'), 'utf8');
      const expected = (readCase(fixtureCase, 'expected.txt') ?? '').split('\n').filter(Boolean);
      const [error] = expected.filter((line) => line.startsWith('error: '));
      const run = (): ReturnType<typeof check> =>
        check(
          { name: 'Dockerfile', text },
          caseArgs(fixtureCase),
          join(fixtureCase.dir, 'context'),
        );
      if (error?.includes('failed to parse') === true) {
        expect(run).toThrow(/^failed to parse check options: /);
        return;
      }
      const result = run();
      expect([...result.lines].sort()).toEqual(expected.filter((line) => line !== error).sort());
      expect(result.error?.split(': ')[0]).toBe(error?.split(': ')[1]);
    },
  );

  it("are BuildKit's 22 and three about the cache, each with a name of its own", () => {
    expect(new Set(RULES.map(({ name }) => name)).size).toBe(25);
    expect(RULES.filter(({ experimental }) => experimental).map(({ name }) => name)).toEqual([
      'InvalidDefinitionDescription',
      'CopyBeforeInstall',
      'ArgAboveUse',
      'AptUpdateAlone',
    ]);
  });

  it.each([
    ['StageNameCasing', 'stage-name-casing'],
    ['JSONArgsRecommended', 'json-args-recommended'],
    ['SecretsUsedInArgOrEnv', 'secrets-used-in-arg-or-env'],
  ])('explain %s at …/rule/%s/', (name, page) => {
    expect(ruleUrl(name)).toBe(`https://docs.docker.com/go/dockerfile/rule/${page}/`);
  });

  it('skip what a comment directly above an instruction names', () => {
    const text = [
      'FROM scratch',
      '# check=skip=JSONArgsRecommended',
      'CMD a',
      '# why',
      '# check=skip=all // reason',
      'MAINTAINER x',
      '# check=skip=all',
      '',
      'LABEL a b',
      '# check=nonsense',
      'ENV c d',
      '# check=skip=UndefinedVar',
      'WORKDIR $a',
      '',
    ].join('\n');
    expect(codes(text)).toEqual([
      '9 LegacyKeyValueFormat',
      '11 LegacyKeyValueFormat',
      '13 WorkdirRelativePath',
    ]);
  });

  it('take a check= comment for no description', () => {
    const text = '# check=experimental=all\nFROM scratch\n# check=skip=UndefinedVar\nARG a\n';
    expect(codes(text)).toEqual([]);
  });

  it('leave variables alone that an unknown base may define', () => {
    expect(codes('FROM node\nENV a=$NODE_VERSION\n')).toEqual([]);
    expect(
      codes('FROM node\nENV a=$NODE_VERSION b=$NODE\n', {
        base: () => ({ env: ['NODE_VERSION=20'] }),
      }),
    ).toEqual(['2 UndefinedVar']);
  });

  it('report a base that was found for another platform alone', () => {
    const base = (): { env: string[]; platform: typeof AMD64 } => ({ env: [], platform: AMD64 });
    const [warning] = lintDockerfile(parse('FROM busybox\n'), {
      ...OPTIONS,
      base,
      platform: { os: 'linux', architecture: 'arm64' },
    });
    expect(warning?.message).toBe(
      'Base image busybox was pulled with platform "linux/amd64", expected "linux/arm64" for current build',
    );
  });

  it('look into the stages that the target needs, and into names and casing everywhere', () => {
    const text =
      'FROM scratch AS one\nENV a=$b\nMAINTAINER me\nFROM scratch AS Two\nENV c=$d\nFROM one\nENV e=$f\n';
    expect(codes(text)).toEqual([
      '2 UndefinedVar',
      '3 MaintainerDeprecated',
      '4 StageNameCasing',
      '7 UndefinedVar',
    ]);
    expect(codes(text, { target: 'two' })).toEqual([
      '3 MaintainerDeprecated',
      '4 StageNameCasing',
      '5 UndefinedVar',
    ]);
    expect(codes(text, { allStages: true })).toContain('5 UndefinedVar');
  });

  it('take a chain of very many stages', () => {
    const text = `FROM scratch AS s0\n${Array.from({ length: 10_000 }, (_, i) => `FROM s${i} AS s${i + 1}\n`).join('')}ENV a=$b\n`;
    expect(codes(text)).toEqual(['10002 UndefinedVar']);
  });

  it('have a word only about check= when anything at all is parsed', () => {
    const line = fc.oneof(
      fc.constantFrom(
        'FROM a AS B',
        'from $x',
        'FROM --platform=$p b',
        '# check=skip=all',
        '# x',
        '',
        'RUN a \\',
        '  b',
        'COPY <<E $a',
        '$b',
        'E',
        'ONBUILD run x',
        'EXPOSE 1/TCP $x',
        'ARG a=$b c',
        'ENV a $b',
        'WORKDIR ${a',
        'CMD x',
        'RUN --mount=type=cache,target=$x y',
      ),
      fc.string({ unit: 'binary' }),
      fc.stringMatching(/^(ENV|ARG|LABEL|COPY|ADD|USER|VOLUME|WORKDIR) [\w${}:=\-"'\\ ]*$/),
    );
    fc.assert(
      fc.property(fc.array(line), fc.constantFrom('all', 'target'), (lines, stages) => {
        const dockerfile = attempt(() => parse(`FROM scratch\n${lines.join('\n')}\n`));
        if (dockerfile === undefined) return;
        for (const warning of lintDockerfile(dockerfile, {
          ...OPTIONS,
          allStages: stages === 'all',
          base: () => ({ env: [] }),
        })) {
          expect(warning.range?.start.line).toBeGreaterThan(0);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('what the command line gives in vain', () => {
  it('is named, with the argument that was perhaps meant', () => {
    const [warning] = unusedInputs(parse('ARG TAG\nFROM scratch\nARG VERSION\n'), {
      buildArgs: [
        'VERSON',
        'TAG',
        'HTTP_PROXY',
        'https_proxy',
        'BUILDKIT_INLINE_CACHE',
        'TARGETARCH',
        'B',
      ],
      contexts: [],
    });
    expect(warning).toMatchObject({
      severity: 'warning',
      code: 'UnusedBuildArg',
      message: 'One or more build-args [B VERSON] were not consumed',
      hint: 'did you mean "VERSION"?',
    });
  });

  it('is nothing where everything is taken', () => {
    const dockerfile = parse(
      'FROM base\nCOPY --from=src / /\nRUN --mount=type=bind,from=tools,target=/t x\n',
    );
    expect(unusedInputs(dockerfile, { buildArgs: [], contexts: ['base', 'src', 'tools'] })).toEqual(
      [],
    );
    expect(unusedInputs(parse('FROM $x\n'), { buildArgs: [], contexts: ['any'] })).toEqual([]);
  });

  it('may be a named context', () => {
    const [warning] = unusedInputs(parse('FROM scratch\nCOPY --from=source / /\n'), {
      buildArgs: [],
      contexts: ['sorce'],
    });
    expect(warning).toMatchObject({ code: 'UnusedBuildContext', hint: 'did you mean "source"?' });
  });
});

function codes(text: string, options: Partial<LintOptions> = {}): string[] {
  return lintDockerfile(parse(text), { ...OPTIONS, ...options }).map(
    ({ code, range }) => `${range?.start.line ?? 0} ${code}`,
  );
}

function parse(text: string): ReturnType<typeof parseDockerfile> {
  return parseDockerfile({ name: 'Dockerfile', text });
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && error.name === 'MbuildError') return undefined;
    throw error;
  }
}
