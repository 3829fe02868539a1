import fc from 'fast-check';
import { isMbuildError } from '../../src/diagnostics/error';
import { parseDuration } from '../../src/dockerfile/duration';
import {
  booleanFlag,
  checkFlags,
  healthcheckOptions,
  listFlag,
  networkMode,
  securityMode,
  stringFlag,
} from '../../src/dockerfile/flags';
import type { Flag, Keyword } from '../../src/dockerfile/instruction';
import { checkMount, readMounts } from '../../src/dockerfile/mount';

const RANGE = { start: { line: 3, column: 5 }, end: { line: 3, column: 9 } };

function flags(...words: string[]): Flag[] {
  return words.map((word) => {
    const [, name = '', value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    return { name, value, range: RANGE };
  });
}

function mount(value: string, expand: (text: string) => string = (text) => text) {
  return readMounts(flags(`mount=${value}`), expand)[0];
}

describe('flags', () => {
  it.each([
    ['COPY', ['form=a'], 'UNKNOWN_FLAG', 'unknown flag --form of COPY', 'did you mean "--from"?'],
    ['WORKDIR', ['x'], 'UNKNOWN_FLAG', 'unknown flag --x of WORKDIR', 'WORKDIR has no flags'],
    [
      'RUN',
      ['zzzzz'],
      'UNKNOWN_FLAG',
      'unknown flag --zzzzz of RUN',
      'RUN has --mount, --network, --security, --device',
    ],
    [
      'FROM',
      ['constructor=x'],
      'UNKNOWN_FLAG',
      'unknown flag --constructor of FROM',
      'FROM has --platform',
    ],
    [
      'COPY',
      ['chown=a', 'chown=b'],
      'DOCKERFILE_SYNTAX',
      '--chown is given twice',
      'COPY takes it only once',
    ],
    ['COPY', ['from'], 'DOCKERFILE_SYNTAX', '--from needs a value', 'write --from=…'],
    [
      'COPY',
      ['link=yes'],
      'DOCKERFILE_SYNTAX',
      '--link must be true or false, not "yes"',
      'write --link or --link=false',
    ],
    [
      'ADD',
      ['link='],
      'DOCKERFILE_SYNTAX',
      '--link must be true or false, not ""',
      'write --link or --link=false',
    ],
  ] as [Keyword, string[], string, string, string][])(
    '%s with %j is refused',
    (keyword, words, code, message, hint) => {
      expect(checkFlags(keyword, flags(...words))).toEqual([
        expect.objectContaining({ code, message, hint, range: RANGE }),
      ]);
    },
  );

  it.each([
    ['COPY', ['link', 'from=a', 'chown=', 'exclude=a', 'exclude=b', 'parents=TRUE', 'chmod=0755']],
    ['ADD', ['keep-git-dir', 'unpack=false', 'checksum=sha256:a']],
    ['RUN', ['mount=a', 'mount=b', 'network=none', 'security=insecure']],
    ['STOPSIGNAL', ['anything']],
    ['ARG', ['anything']],
  ] as [Keyword, string[]][])('%s takes %j', (keyword, words) => {
    expect(checkFlags(keyword, flags(...words))).toEqual([]);
  });

  it('have typed readers', () => {
    const some = flags(
      'link',
      'parents=false',
      'unpack=True',
      'from=a',
      'empty=',
      'exclude=a',
      'exclude=b',
    );
    expect(['link', 'parents', 'unpack', 'absent'].map((name) => booleanFlag(some, name))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(['from', 'empty', 'absent'].map((name) => stringFlag(some, name))).toEqual([
      'a',
      undefined,
      undefined,
    ]);
    expect(listFlag(some, 'exclude')).toEqual(['a', 'b']);
    expect([
      networkMode([]),
      networkMode(flags('network=none')),
      securityMode(flags('security=insecure')),
    ]).toEqual(['default', 'none', 'insecure']);
    expect(() => networkMode(flags('network=hots'))).toThrow(
      expect.objectContaining({ hint: 'did you mean "host"?' }),
    );
    expect(() => securityMode(flags('security=$X'))).toThrow(/--security cannot be "\$X"/);
  });
});

describe('HEALTHCHECK options', () => {
  it('are nanoseconds and a count', () => {
    expect(
      healthcheckOptions(
        flags(
          'interval=1m30s',
          'timeout=500ms',
          'start-period=0',
          'start-interval=1.5s',
          'retries=3',
        ),
      ),
    ).toEqual({
      interval: 90e9,
      timeout: 5e8,
      startPeriod: 0,
      startInterval: 15e8,
      retries: 3,
    });
    expect(healthcheckOptions([])).toEqual({
      interval: 0,
      timeout: 0,
      startPeriod: 0,
      startInterval: 0,
      retries: 0,
    });
  });

  it.each([
    'interval=1',
    'interval=x',
    'interval=1us',
    'timeout=-1s',
    'retries=-1',
    'retries=x',
    'retries=1e3',
    'retries=99999999999',
  ])('--%s is refused', (word) => {
    expect(() => healthcheckOptions(flags(word))).toThrow(
      expect.objectContaining({ code: 'DOCKERFILE_SYNTAX', range: RANGE }),
    );
  });

  it.each([
    ['0', 0],
    ['5s', 5e9],
    ['1478s', 1478e9],
    ['-5s', -5e9],
    ['+5s', 5e9],
    ['-0', 0],
    ['5.0s', 5e9],
    ['5.6s', 56e8],
    ['5.s', 5e9],
    ['.5s', 5e8],
    ['1.004s', 1004e6],
    ['10ns', 10],
    ['12µs', 12000],
    ['12μs', 12000],
    ['3h30m', 126e11],
    ['10.5s4m', 2505e8],
    ['2.3s', 23e8],
    ['0.3333333333333333333h', 1.2e12 - 1],
    ['', undefined],
    ['3', undefined],
    ['-', undefined],
    ['s', undefined],
    ['.', undefined],
    ['.s', undefined],
    ['1d', undefined],
    ['1s ', undefined],
    ['99999999h', undefined],
  ])('the duration %j is %j', (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });
});

describe('RUN --mount', () => {
  const NONE = { type: 'bind', readOnly: true, required: false };

  it.each([
    ['type=bind,source=a,target=/b', { ...NONE, source: 'a', target: '/b' }],
    ['src=a,dst=/b,from=x,rw', { ...NONE, source: 'a', target: '/b', from: 'x', readOnly: false }],
    ['destination=/b,ro=false', { ...NONE, target: '/b', readOnly: false }],
    [
      'TYPE=CACHE,target=/c,id=k,sharing=Locked,mode=0700,uid=1,gid=2',
      {
        ...NONE,
        type: 'cache',
        target: '/c',
        id: 'k',
        sharing: 'locked',
        mode: 0o700,
        uid: 1,
        gid: 2,
        readOnly: false,
      },
    ],
    ['type=cache,target=/c,ro', { ...NONE, type: 'cache', target: '/c' }],
    ['type=cache,target=/c,rw=0', { ...NONE, type: 'cache', target: '/c' }],
    [
      'type=tmpfs,target=/t,size=64m',
      { ...NONE, type: 'tmpfs', target: '/t', size: 64 * 1024 * 1024, readOnly: false },
    ],
    [
      'type=tmpfs,target=/t,size=1.5KiB',
      { ...NONE, type: 'tmpfs', target: '/t', size: 1536, readOnly: false },
    ],
    [
      'type=secret,id=s,required,env=E',
      { ...NONE, type: 'secret', id: 's', required: true, env: 'E' },
    ],
    ['type=ssh,required=false', { ...NONE, type: 'ssh' }],
    ['type=bind,"target=/a,b"', { ...NONE, target: '/a,b' }],
    ['type=bind,"target=/a""b"', { ...NONE, target: '/a"b' }],
    ['target=/a=b', { ...NONE, target: '/a=b' }],
  ])('%s', (value, expected) => {
    expect(mount(value)).toEqual(expected);
  });

  it('expands the value of each option', () => {
    expect(
      mount('type=$T,target=$P', (text) => ({ $T: 'cache', $P: '/a,b' })[text] ?? text),
    ).toMatchObject({ type: 'cache', target: '/a,b' });
  });

  it.each([
    ['type=bnd,target=/x', '"type" of a mount cannot be "bnd"', 'did you mean "bind"?'],
    ['type=cache,tagret=/x', 'unknown option "tagret" of a mount', 'did you mean "target"?'],
    ['type=cache,target=/x,bar', '"bar" of a mount is not key=value', undefined],
    ['type=cache,target', '"target" of a mount needs a value', 'write target=…'],
    ['type=cache,ro=maybe', '"ro" of a mount must be true or false, not "maybe"', undefined],
    [
      'type=bind,required',
      'a bind mount has no "required"',
      'only secret and ssh mounts have required',
    ],
    ['type=bind,size=1', 'a bind mount has no "size"', 'only tmpfs mounts have size'],
    [
      'type=tmpfs,mode=1',
      'a tmpfs mount has no "mode"',
      'only cache and secret and ssh mounts have mode',
    ],
    ['type=bind,sharing=shared', 'a bind mount has no "sharing"', 'only cache mounts have sharing'],
    [
      'type=cache,sharing=x',
      '"sharing" of a mount cannot be "x"',
      'write one of shared, private, locked',
    ],
    ['type=cache,mode=9', '"mode" of a mount must be an octal number, not "9"', undefined],
    ['type=cache,uid=-1', '"uid" of a mount must be a whole number, not "-1"', undefined],
    [
      'type=tmpfs,size=big',
      '"size" of a mount cannot be "big"',
      'write bytes, or a number with k, m, g',
    ],
    [
      'type=secret',
      'the secret mount needs the id of a secret',
      'write id=…, the same as in --secret id=…',
    ],
    ['type=secret,id=a,src=b', 'a secret mount has "id" or "source", not both', undefined],
    ['type=secret,id=a,from=b', 'a secret mount has no "from"', undefined],
    ['', '--mount needs options', 'e.g. --mount=type=cache,target=/root/.cache'],
    [
      'target="/x"',
      'a quote is inside "target="/x"" of --mount',
      'put the whole option in quotes: "id=a,b"',
    ],
    ['"target=/x', 'a quote is left open in --mount="target=/x', undefined],
  ])('%s is refused', (value, message, hint) => {
    expect(() => mount(value)).toThrow(
      expect.objectContaining({ code: 'DOCKERFILE_SYNTAX', message, hint, range: RANGE }),
    );
  });

  it('may not take its image from a variable', () => {
    expect(flags('mount=type=bind,from=$X').flatMap(checkMount)).toEqual([
      expect.objectContaining({ message: '"from" of a mount cannot hold a variable' }),
    ]);
    expect(flags('mount=type=$X,target=$Y,$Z').flatMap(checkMount)).toEqual([]);
  });

  it('takes any text or refuses it with its place', () => {
    const piece = fc.constantFrom(
      'type=',
      'cache',
      ',',
      '"',
      'target',
      '=',
      '/x',
      'size=',
      '1',
      'ro',
      'mode=',
      '0',
      ' ',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((parts) => parts.join('')),
        ),
        (value) => {
          try {
            mount(value);
          } catch (error) {
            expect(isMbuildError(error, 'DOCKERFILE_SYNTAX') && error.range).toEqual(RANGE);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
