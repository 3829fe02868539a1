import fc from 'fast-check';
import { isMbuildError } from '../../src/diagnostics/error';
import { envNames, parseArgs, type FlagTable } from '../../src/cli/args';

const table = {
  file: { kind: 'string', short: 'f', value: 'PATH', help: 'Dockerfile' },
  tag: { kind: 'list', short: 't', value: 'NAME', help: 'Name' },
  quiet: { kind: 'boolean', short: 'q', help: 'Quiet' },
  interactive: { kind: 'boolean', short: 'i', help: 'Keep stdin' },
  jobs: { kind: 'number', value: 'N', help: 'Jobs' },
  pull: {
    kind: 'optional',
    value: 'WHEN',
    implied: 'always',
    choices: ['always', 'missing', 'never', 'true', 'false'],
    help: 'Pull',
  },
  progress: {
    kind: 'string',
    value: 'MODE',
    choices: ['auto', 'plain', 'tty'],
    fallback: 'auto',
    env: ['BUILDKIT_PROGRESS'],
    help: 'Progress',
  },
  rm: { kind: 'boolean', ignored: 'mbuild makes no intermediate containers', help: 'Remove' },
  squash: { kind: 'boolean', unsupported: 'layers stay as they are', help: 'Squash' },
} as const satisfies FlagTable;

function read(argv: string[], env: Record<string, string> = {}, stopAtPositional = false) {
  return parseArgs(argv, table, { command: 'mbuild build', env, stopAtPositional });
}

describe('reading a command line', () => {
  test.each<[string[], object, string[]]>([
    [['-f', 'a', '.'], { file: 'a' }, ['.']],
    [['-fa', '.'], { file: 'a' }, ['.']],
    [['-f=a', '.'], { file: 'a' }, ['.']],
    [['--file', 'a'], { file: 'a' }, []],
    [['--file=a=b'], { file: 'a=b' }, []],
    [['--file='], { file: '' }, []],
    [['--file', '-'], { file: '-' }, []],
    [['--file', '--quiet'], { file: '--quiet', quiet: false }, []],
    [['.', '-t', 'x', '--tag=y', '-tz'], { tag: ['x', 'y', 'z'] }, ['.']],
    [['-iq'], { interactive: true, quiet: true }, []],
    [['-qf', 'a'], { quiet: true, file: 'a' }, []],
    [['-qfa'], { quiet: true, file: 'a' }, []],
    [['--quiet=false'], { quiet: false }, []],
    [['--quiet', 'false'], { quiet: true }, ['false']],
    [['-q=true'], { quiet: true }, []],
    [['--pull', '.'], { pull: 'always' }, ['.']],
    [['--pull=never'], { pull: 'never' }, []],
    [[], { pull: undefined, progress: 'auto', tag: [], quiet: false, jobs: undefined }, []],
    [['--jobs', '4'], { jobs: 4 }, []],
    [['-f', 'a', '-f', 'b'], { file: 'b' }, []],
    [['--', '-q', '--nope'], { quiet: false }, ['-q', '--nope']],
    [['-'], {}, ['-']],
  ])('%j', (argv, flags, positionals) => {
    const parsed = read(argv);
    expect(parsed.flags).toMatchObject(flags);
    expect(parsed.positionals).toEqual(positionals);
  });

  test.each([
    [['--tga', 'x'], 'unknown flag: --tga', 'did you mean "--tag"?'],
    [['--zzzzzz'], 'unknown flag: --zzzzzz', "see 'mbuild build --help'"],
    [['--t'], 'unknown flag: --t', 'did you mean "-t"?'],
    [['-x'], "unknown shorthand flag: 'x' in -x", "see 'mbuild build --help'"],
    [['-qx'], "unknown shorthand flag: 'x' in -qx", "see 'mbuild build --help'"],
    [
      ['-progress', 'plain'],
      "unknown shorthand flag: 'p' in -progress",
      'did you mean "--progress"?',
    ],
    [['-f'], 'flag needs an argument: -f', "see 'mbuild build --help'"],
    [['--tag'], 'flag needs an argument: --tag', "see 'mbuild build --help'"],
    [
      ['--quiet=maybe'],
      'invalid argument "maybe" for --quiet: neither true nor false',
      "see 'mbuild build --help'",
    ],
    [
      ['--jobs=-1'],
      'invalid argument "-1" for --jobs: not a whole number',
      "see 'mbuild build --help'",
    ],
    [
      ['--progress=plan'],
      'invalid argument "plan" for --progress: one of auto, plain, tty',
      'did you mean "plain"?',
    ],
  ])('%j is refused: %s', (argv, message, hint) => {
    expect(() => read(argv)).toThrow(
      expect.objectContaining({ code: 'USAGE', message, hint }) as Error,
    );
  });

  test.each([
    ['--destination', 'use --tag NAME and --push'],
    ['--dockerfile', 'use --file PATH'],
    ['--layers', 'leave it out: steps are always cached; --no-cache turns that off'],
  ])('%s of another builder is told what says the same', (flag, hint) => {
    const builds = {
      ...table,
      'build-arg': { kind: 'list', value: 'KEY=VALUE', help: '' },
    } as const;
    expect(() => parseArgs([flag, 'x'], builds, { command: 'mbuild build', env: {} })).toThrow(
      expect.objectContaining({ code: 'USAGE', message: `unknown flag: ${flag}`, hint }) as Error,
    );
  });

  test('a flag that is not there yet is an error that says so', () => {
    expect(() => read(['--squash'])).toThrow(
      expect.objectContaining({
        code: 'UNSUPPORTED',
        message: '--squash is not supported: layers stay as they are',
      }) as Error,
    );
  });

  test('a flag without effect leaves a note', () => {
    expect(read(['--rm', '.']).notes).toEqual([
      '--rm is accepted and ignored: mbuild makes no intermediate containers',
    ]);
    expect(read(['.']).notes).toEqual([]);
  });

  test('the first positional ends the flags where a command follows', () => {
    const parsed = read(['-q', 'image', 'ls', '-f', '--nope'], {}, true);
    expect([parsed.flags.quiet, parsed.flags.file, parsed.positionals]).toEqual([
      true,
      undefined,
      ['image', 'ls', '-f', '--nope'],
    ]);
  });

  test('every flag can come from the environment, and the command line wins', () => {
    const env = {
      MBUILD_TAG: 'a\nb',
      MBUILD_QUIET: '1',
      MBUILD_JOBS: '3',
      MBUILD_PULL: 'missing',
      BUILDKIT_PROGRESS: 'plain',
      MBUILD_FILE: '',
    };
    expect(read([], env).flags).toMatchObject({
      tag: ['a', 'b'],
      quiet: true,
      jobs: 3,
      pull: 'missing',
      progress: 'plain',
      file: undefined,
    });
    expect(read(['-t', 'c', '--quiet=false', '--progress', 'tty'], env).flags).toMatchObject({
      tag: ['c'],
      quiet: false,
      progress: 'tty',
    });
    expect(read([], { ...env, MBUILD_PROGRESS: 'tty' }).flags.progress).toBe('tty');
    expect(() => read([], { MBUILD_QUIET: 'perhaps' })).toThrow('for --quiet');
  });

  test('variables are named after flag and command', () => {
    expect(envNames('no-cache', table.quiet)).toEqual(['MBUILD_NO_CACHE']);
    expect(envNames('format', table.progress, 'images')).toEqual([
      'MBUILD_IMAGES_FORMAT',
      'BUILDKIT_PROGRESS',
    ]);
  });

  test.each([['--help'], ['-h'], ['-qh']])('%s asks for help', (word) => {
    expect(read([word]).help).toBe(true);
  });

  test('no command line is a crash, and all words are accounted for', () => {
    const word = fc.oneof(
      fc.constantFrom('-f', '--tag', '--', '-', '-q', '--pull=', '--quiet', '--=', '-=', '--file='),
      fc.string({ maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (argv) => {
        try {
          expect(read(argv).positionals.every((positional) => argv.includes(positional))).toBe(
            true,
          );
        } catch (error) {
          expect(isMbuildError(error, 'USAGE') || isMbuildError(error, 'UNSUPPORTED')).toBe(true);
        }
      }),
    );
  });
});
