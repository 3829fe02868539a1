import { BUILD_FLAGS as OPTIONS, OPEN_FLAGS, RUN_FLAGS, flagsOf } from '../../src/api/flags';
import type { FlagTable } from '../../src/cli/args';
import { BUILD_FLAGS } from '../../src/cli/build-flags';
import { GLOBAL_FLAGS } from '../../src/cli/command';

/** Flags of `build` that are no option of the library, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  call: 'another result than an image',
  check: 'another result than an image',
  'digest-file': 'the result has it',
  file: 'the option dockerfile',
  iidfile: 'the result has it',
  'image-name-tag-with-digest-file': 'the result has it',
  'image-name-with-digest-file': 'the result has it',
  'log-timestamp': 'events have times',
  'metadata-file': 'the result has it',
  'on-error': 'asks at a terminal',
  progress: 'events tell it',
  provenance: 'another spelling of attest',
  quiet: 'events tell it',
  resource: 'another spelling of memory and the like',
  sbom: 'another spelling of attest',
};

describe('options of the library', () => {
  it('there is one for each flag of build, or a reason why not', () => {
    const written = namesWritten(OPTIONS);
    const flags: FlagTable = BUILD_FLAGS;
    const missing = Object.entries(flags)
      .filter(([, flag]) => flag.ignored === undefined && flag.unsupported === undefined)
      .map(([name]) => name)
      .filter((name) => !written.includes(name) && LEFT_OUT[name] === undefined);
    expect(missing).toEqual([]);
    expect(written.filter((name) => !(name in BUILD_FLAGS))).toEqual([]);
  });

  it('there is one for each global flag but --debug', () => {
    expect(namesWritten(OPEN_FLAGS).sort()).toEqual(
      Object.keys(GLOBAL_FLAGS)
        .filter((name) => name !== 'debug')
        .sort(),
    );
  });

  it.each([
    [{ tags: ['a', 'b'] }, ['--tag=a', '--tag=b']],
    [{ buildArgs: { A: '1', B: undefined } }, ['--build-arg=A=1', '--build-arg=B']],
    [{ push: false, noCache: true }, ['--push=false', '--no-cache=true']],
    [
      { outputs: ['out', { type: 'oci', dest: 'a,b' }] },
      ['--output=out', '--output=type=oci,"dest=a,b"'],
    ],
    [
      { cacheTo: [{ type: 'registry', ref: 'r', mode: undefined }] },
      ['--cache-to=type=registry,ref=r'],
    ],
    [{ stepTimeout: 1500, retryDelay: '2s' }, ['--step-timeout=1500ms', '--retry-delay=2s']],
    [{ addHosts: { db: '10.0.0.1' } }, ['--add-host=db:10.0.0.1']],
    [{ flags: ['--squash'] }, ['--squash']],
    [{ jobs: undefined }, []],
  ])('%j are the words %j', (options, words) => {
    expect(flagsOf(options, OPTIONS)).toEqual(words);
  });

  it('a value that begins with a dash stays a value', () => {
    expect(flagsOf({ workdir: '--rm' }, RUN_FLAGS)).toEqual(['--workdir=--rm']);
  });
});

/** The flags that a table writes: a list of one text is written by every kind of option. */
function namesWritten(writers: object): string[] {
  return Object.entries(writers as Record<string, (value: unknown) => readonly string[]>)
    .filter(([option]) => option !== 'flags')
    .flatMap(([, write]) => write(['x']))
    .map((word) => /^--([a-z-]+)/.exec(word)?.[1] ?? word);
}
