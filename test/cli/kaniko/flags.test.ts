import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, type Flag, type FlagTable } from '../../../src/cli/args';
import { GLOBAL_FLAGS } from '../../../src/cli/command';
import { contextOf } from '../../../src/cli/kaniko/context';
import { buildCallOf } from '../../../src/cli/kaniko/executor';
import { EXECUTOR_FLAGS, WARMER_FLAGS } from '../../../src/cli/kaniko/flags';
import { rulesOf } from '../../../src/cli/kaniko/registries';
import { REPOSITORY } from '../../support/mbuild';

const PAGE = join(REPOSITORY, 'docs/ci.md');
const [BEGIN, END] = ['<!-- kaniko flags -->', '<!-- end of kaniko flags -->'];

/** Flags of kaniko 1.24 and of its fork 1.28: cmd/executor/cmd/root.go and cmd/warmer/cmd/root.go. */
const EXECUTOR = `annotation azure-container-registry-config bucket build-arg cache cache-copy-layers cache-dir
cache-repo cache-run-layers cache-ttl cleanup compressed-caching compression compression-level context context-sub-path
credential-helpers custom-platform customPlatform destination digest-file dockerfile dryrun force force-build-metadata git
ignore-path ignore-var-run image-download-retry image-format image-fs-extract-retry image-name-tag-with-digest-file
image-name-with-digest-file insecure insecure-pull insecure-registry kaniko-dir label log-format log-timestamp materialize
no-push no-push-cache oci-layout-path pre-cleanup preserve-context push-ignore-immutable-tag-errors push-retry
registry-certificate registry-client-cert registry-map registry-mirror reproducible secret single-snapshot
skip-default-registry-fallback skip-push-permission-check skip-tls-verify skip-tls-verify-pull skip-tls-verify-registry
skip-unused-stages snapshot-mode snapshotMode tar-path tarPath target use-new-run verbosity whitelist-var-run`;
const WARMER = `image cache-dir force cache-ttl insecure-pull skip-tls-verify-pull insecure-registry skip-tls-verify-registry
registry-certificate registry-client-cert registry-map registry-mirror skip-default-registry-fallback customPlatform dockerfile
build-arg verbosity log-format log-timestamp azure-container-registry-config`;

function call(...argv: string[]): readonly string[] {
  const table = { ...GLOBAL_FLAGS, ...EXECUTOR_FLAGS };
  const { flags } = parseArgs(argv, table, { command: 'mbuild kaniko', env: {} });
  return buildCallOf(flags, {}).argv;
}

test.each([
  ['executor', EXECUTOR, EXECUTOR_FLAGS],
  ['warmer', WARMER, WARMER_FLAGS],
])('every flag of %s is known', (_name, names, table: FlagTable) => {
  const known = Object.entries(table).flatMap(([name, { aliases = [] }]) => [name, ...aliases]);
  expect(names.split(/\s+/).filter((name) => !known.includes(name))).toEqual([]);
});

test('docs/ci.md has the table of the flags (MBUILD_WRITE_DOCS=1 writes it)', () => {
  const page = readFileSync(PAGE, 'utf8');
  const [head = '', rest = ''] = page.split(`${BEGIN}\n`);
  const tail = rest.slice(rest.indexOf(END));
  const expected = `${head}${BEGIN}\n\n${flagTable()}\n\n${tail}`;
  if (process.env['MBUILD_WRITE_DOCS'] === '1') writeFileSync(PAGE, expected);
  expect(readFileSync(PAGE, 'utf8')).toBe(expected);
});

function flagTable(): string {
  const rows = Object.entries(EXECUTOR_FLAGS).map(
    ([name, flag]: [string, Flag]) => `| \`--${name}\` | ${wayOf(flag)} |`,
  );
  return ['| flag | here |', '|---|---|', ...rows.sort()].join('\n');
}

/** What becomes of a flag, in words: never empty. */
function wayOf({ ignored, unsupported, help }: Flag): string {
  if (unsupported !== undefined) return `refused: ${unsupported}`;
  if (ignored !== undefined) return `accepted with a note: ${ignored}`;
  expect(help).not.toBe('');
  return help;
}

describe('contexts', () => {
  const form = (context: string, more = {}) =>
    contextOf({ context, subPath: undefined, git: undefined, env: {}, ...more });

  test.each([
    ['/workspace/', {}, '/workspace'],
    ['dir:///src', { subPath: 'a/b' }, '/src/a/b'],
    ['tar:///ctx.tar.gz', {}, '/ctx.tar.gz'],
    ['tar://stdin', {}, '-'],
    ['https://h.example/c.tar.gz', {}, 'https://h.example/c.tar.gz'],
    ['git://github.com/o/r', {}, 'https://github.com/o/r.git'],
    ['git://github.com/o/r.git#refs/heads/main', {}, 'https://github.com/o/r.git#refs/heads/main'],
    ['git://github.com/o/r.git#refs/heads/main#abc', {}, 'https://github.com/o/r.git#abc'],
    ['git://h/r.git', { git: 'branch=dev,depth=1', subPath: 'x' }, 'https://h/r.git#dev:x'],
    ['git://h/r.git', { env: { GIT_PULL_METHOD: 'http' } }, 'http://h/r.git'],
  ])('%s with %j', (context, more, expected) => {
    expect(form(context, more)).toBe(expected);
  });

  test.each([
    ['gs://b/c.tar.gz', 'does not read buckets'],
    ['s3://b/c.tar.gz', 'does not read buckets'],
    ['https://x.blob.core.windows.net/c/d.tar.gz', 'does not read buckets'],
    ['ftp://x/y', 'unknown form of --context: ftp://'],
  ])('%s is refused', (context, message) => {
    expect(() => form(context)).toThrow(message);
  });
});

describe('calls', () => {
  test('without --cache nothing is taken from a cache; the push is asked for', () => {
    expect(call('-d', 'r.example/app:1', '-c', '/src')).toEqual([
      '--tag=r.example/app:1',
      '--output=type=registry',
      '--check-push',
      '--no-cache',
      '--retry=4',
      '--',
      '/src',
    ]);
  });

  test.each([
    [['--cache'], 'type=registry,ref=r.example/app/cache:mbuild'],
    [['--cache=true', '--cache-repo=r.example/c:x'], 'type=registry,ref=r.example/c:mbuild'],
  ])('%j has its cache at %s', (words, place) => {
    const argv = call('-d', 'r.example/app:1', ...words);
    expect(argv).toContain(`--cache-from=${place}`);
    expect(argv).toContain(`--cache-to=${place},mode=max`);
    expect(argv).not.toContain('--no-cache');
  });

  test('--cache-repo=oci: is a directory; --no-push-cache only reads', () => {
    const argv = call('--no-push', '--cache', '--cache-repo=oci:/c', '--no-push-cache');
    expect(argv).toContain('--cache-from=type=local,src=/c');
    expect(argv.join(' ')).not.toContain('--cache-to');
  });

  test.each([
    [[], 'there is no --destination'],
    [['--no-push', '--image-name-with-digest-file=f'], 'needs a --destination'],
    [['--no-push', '--cache'], '--cache needs --cache-repo'],
    [['-d', 'a', '--dockerfile=https://h/D'], '--dockerfile is an address'],
    [['-d', 'a', '-d', 'b', '--push-ignore-immutable-tag-errors'], 'several destinations'],
    [['--no-push', '--dryrun'], "'mbuild plan'"],
    [['--no-push', '--bucket=b'], 'reads no buckets'],
  ])('%j is refused', (words, message) => {
    expect(() => call(...words)).toThrow(message);
  });

  test('hosts without certificates are named; the three kinds of tries are one', () => {
    const argv = call('-d', 'r.example/a', '--insecure', '--insecure-pull', '--push-retry=9');
    expect(argv).toEqual(
      expect.arrayContaining([
        '--insecure-registry=r.example',
        '--insecure-registry=*',
        '--retry=9',
      ]),
    );
  });
});

test('mirrors and maps are rules, each under its registry', () => {
  const rules = rulesOf({
    'registry-mirror': ['m1.example', 'https://m2.example/hub/'],
    'registry-map': ['gcr.io=m1.example/gcr;quay.io=m3.example', 'quay.io=m4.example'],
    'skip-default-registry-fallback': true,
    'registry-certificate': [],
    'registry-client-cert': [],
  });
  expect(
    rules.map(({ prefix, mirrors }) => [prefix, mirrors.map(({ location }) => location)]),
  ).toEqual([
    ['docker.io', ['m1.example', 'm2.example/hub']],
    ['gcr.io', ['m1.example/gcr']],
    ['quay.io', ['m3.example', 'm4.example']],
  ]);
  expect(rules.every(({ mirrorsOnly }) => mirrorsOnly === true)).toBe(true);
});
