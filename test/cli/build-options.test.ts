import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from '../../src/cli/args';
import { BUILD_FLAGS } from '../../src/cli/build-flags';
import { buildOptions, readContext } from '../../src/cli/build-options';
import { readOutput } from '../../src/cli/output-options';
import { splitCsv } from '../../src/diagnostics/csv';
import { readBytes } from '../../src/cli/limit-options';

function options(argv: string[], env: Record<string, string> = {}) {
  return buildOptions(
    parseArgs(argv, BUILD_FLAGS, { command: 'mbuild build', env }).flags,
    { context: { kind: 'directory', path: '.' } },
    env,
  );
}

describe('the options of a build', () => {
  test.each<[string[], Record<string, string>, object]>([
    [
      ['-t', 'a', '-t', 'b:1'],
      {},
      { tags: ['docker.io/library/a:latest', 'docker.io/library/b:1'] },
    ],
    [
      ['--build-arg', 'A=b=c', '--build-arg', 'X', '--build-arg', 'GONE'],
      { X: 'y' },
      { buildArgs: { A: 'b=c', X: 'y' } },
    ],
    [
      [],
      { http_proxy: 'http://p', SOURCE_DATE_EPOCH: '7' },
      { buildArgs: { http_proxy: 'http://p', SOURCE_DATE_EPOCH: '7' }, sourceDateEpoch: 7 },
    ],
    [
      ['--build-arg', 'SOURCE_DATE_EPOCH=9'],
      { SOURCE_DATE_EPOCH: '7' },
      { buildArgs: { SOURCE_DATE_EPOCH: '9' }, sourceDateEpoch: 9 },
    ],
    [
      ['--build-arg', 'SOURCE_DATE_EPOCH='],
      { SOURCE_DATE_EPOCH: '7' },
      { buildArgs: { SOURCE_DATE_EPOCH: '' }, sourceDateEpoch: undefined },
    ],
    [
      ['--build-arg', 'http_proxy=mine'],
      { http_proxy: 'http://p' },
      { buildArgs: { http_proxy: 'mine' } },
    ],
    [
      ['--platform', 'linux/amd64,linux/arm64/v8'],
      {},
      {
        platforms: [
          { os: 'linux', architecture: 'amd64' },
          { os: 'linux', architecture: 'arm64' },
        ],
      },
    ],
    [['--label', 'a=b', '--label', 'c'], {}, { labels: { a: 'b', c: '' } }],
    [
      ['--annotation', 'a=b', '--annotation', 'manifest:c=d:e'],
      {},
      {
        annotations: [
          { level: 'manifest', key: 'a', value: 'b' },
          { level: 'manifest', key: 'c', value: 'd:e' },
        ],
      },
    ],
    [['--pull'], {}, { pull: 'always' }],
    [['--pull=false'], {}, { pull: 'missing' }],
    [['--pull=never'], {}, { pull: 'never' }],
    [[], {}, { pull: undefined }],
    [
      ['--no-cache', '--no-cache-filter', 'a,b', '--no-cache-filter=c'],
      {},
      { noCache: true, noCacheFilter: ['a', 'b', 'c'] },
    ],
    [
      ['--add-host', 'db:10.0.0.5', '--add-host=v6=[::1]'],
      {},
      {
        extraHosts: [
          { name: 'db', ip: '10.0.0.5' },
          { name: 'v6', ip: '::1' },
        ],
      },
    ],
    [
      ['--ulimit', 'nofile=1024:2048', '--ulimit', 'core=unlimited'],
      {},
      {
        ulimits: [
          { name: 'nofile', soft: 1024, hard: 2048 },
          { name: 'core', soft: -1, hard: -1 },
        ],
      },
    ],
    [['--shm-size', '64m'], {}, { shmSize: 64 << 20 }],
    [
      [
        '--secret',
        'id=a,src=f',
        '--secret',
        'id=b,env=V',
        '--secret',
        'id=c',
        '--secret',
        'id=V',
        '--secret',
        'type=env,id=d,src=V',
      ],
      { V: 'x' },
      {
        secrets: [
          { id: 'a', path: 'f' },
          { id: 'b', env: 'V' },
          { id: 'c', path: 'c' },
          { id: 'V', env: 'V' },
          { id: 'd', env: 'V' },
        ],
      },
    ],
    [
      ['--ssh', 'default', '--ssh', 'x=/s', '--ssh', 'y=a.pem,b.pem'],
      { SSH_AUTH_SOCK: '/agent' },
      {
        ssh: [
          { id: 'default', paths: ['/agent'] },
          { id: 'x', paths: ['/s'] },
          { id: 'y', paths: ['a.pem', 'b.pem'] },
        ],
      },
    ],
    [
      ['--push', '-t', 'a'],
      {},
      { outputs: [{ type: 'registry', names: ['docker.io/library/a:latest'] }] },
    ],
    [['--build-context', 'src=../x'], {}, { contexts: { src: '../x' } }],
    [
      [
        '--provenance=false',
        '--sbom=false',
        '--load',
        '--network',
        'none',
        '--target',
        't',
        '--jobs',
        '3',
      ],
      {},
      {
        network: 'none',
        target: 't',
        jobs: 3,
        outputs: [{ type: 'docker', names: [] }],
      },
    ],
  ])('%j with %j', (argv, env, expected) => {
    expect(options(argv, env)).toMatchObject(expected);
  });

  test.each([
    [['-t', 'Upper/Case'], 'REFERENCE_INVALID', 'invalid tag "Upper/Case"'],
    [['-t', `a@sha256:${'0'.repeat(64)}`], 'REFERENCE_INVALID', 'invalid tag'],
    [['--platform', 'a b'], 'USAGE', 'invalid platform'],
    [['--add-host', 'nope'], 'USAGE', 'invalid --add-host'],
    [['--add-host', 'db:999.1.1.1'], 'USAGE', 'invalid --add-host'],
    [['--ulimit', 'nofile=2:1'], 'USAGE', 'higher than the hard limit'],
    [['--ulimit', 'nofil=2'], 'USAGE', 'unknown limit'],
    [['--jobs', '0'], 'USAGE', '--jobs 0'],
    [['--shm-size', '1x'], 'USAGE', 'invalid size'],
    [['--secret', 'src'], 'USAGE', 'not key=value'],
    [['--secret', 'idd=x'], 'USAGE', 'unknown key "idd"'],
    [['--secret', 'src=x'], 'USAGE', 'no id'],
    [['--secret', 'id=x,type=pipe'], 'USAGE', 'type=pipe is unknown'],
    [['--ssh', 'default'], 'SECRET_MISSING', 'SSH_AUTH_SOCK'],
    [['--push'], 'USAGE', 'needs a name to push to'],
    [['--annotation', 'manifest:a'], 'USAGE', 'invalid --annotation'],
    [['--label', '=x'], 'USAGE', 'invalid --label'],
    [['--build-arg-file', '/nonexistent/args'], 'USAGE', 'ENOENT'],
    [['--cache-from', 'type=gha,ghtoken=x'], 'UNSUPPORTED', '--cache-from'],
    [['--squash'], 'UNSUPPORTED', '--squash'],
  ])('%j is refused', (argv, code, message) => {
    expect(() => options(argv)).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
  });

  test('the value of a secret is in no message', () => {
    expect(() => options(['--secret', 's3cr3t-value'])).toThrow(
      expect.not.objectContaining({
        message: expect.stringContaining('s3cr3t') as string,
      }) as Error,
    );
  });

  test('arguments from a file give way to those of the line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'mbuild-args-'));
    try {
      writeFileSync(join(folder, 'args'), '# comment\nA=1\n\nB=2\r\n');
      expect(
        options(['--build-arg-file', join(folder, 'args'), '--build-arg', 'B=3']).buildArgs,
      ).toEqual({ A: '1', B: '3' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.each<[string, object]>([
    ['out', { type: 'local', dest: 'out' }],
    ['-', { type: 'tar', dest: '-' }],
    ['type=local,dest=out', { type: 'local', dest: 'out' }],
    ['type=tar', { type: 'tar', dest: '-' }],
    ['type=oci,dest=a.tar', { type: 'oci', dest: 'a.tar', tar: true, compression: undefined }],
    ['type=oci,tar=false,dest=d', { type: 'oci', dest: 'd', tar: false }],
    [
      'type=oci,compression-level=6',
      { type: 'oci', dest: '-', tar: true, compression: { type: 'gzip', level: 6 } },
    ],
    [
      'type=docker,dest=d.tar,compression=zstd,compression-level=3,force-compression=true',
      {
        type: 'docker',
        dest: 'd.tar',
        compression: { type: 'zstd', level: 3, force: true },
      },
    ],
    ['type=docker', { type: 'docker', dest: undefined, names: ['docker.io/library/t:1'] }],
    ['type=image', { type: 'image', push: false, names: ['docker.io/library/t:1'] }],
    ['type=registry', { type: 'registry', names: ['docker.io/library/t:1'] }],
    [
      'type=registry,compression=gzip,compression-level=6,force-compression=true',
      { type: 'registry', compression: { type: 'gzip', level: 6, force: true } },
    ],
    [
      'type=image,name=a,push-by-digest=true,name-canonical,dangling-name-prefix=d,store=false,unpack=true,push=true,oci-artifact=false,rewrite-timestamp=true,oci-mediatypes=false',
      {
        type: 'image',
        push: true,
        store: false,
        pushByDigest: true,
        nameCanonical: true,
        danglingPrefix: 'docker.io/library/d:latest',
        mediaTypes: 'docker',
        rewriteTimestamp: true,
      },
    ],
    [
      'type=oci,annotation.a=b,annotation-index[linux/arm64].c.d=e,annotation-manifest-descriptor.f=',
      {
        type: 'oci',
        annotations: [
          { level: 'manifest', platform: undefined, key: 'a', value: 'b' },
          { level: 'index', platform: 'linux/arm64', key: 'c.d', value: 'e' },
          { level: 'manifest-descriptor', platform: undefined, key: 'f', value: '' },
        ],
      },
    ],
    ['type=cacheonly', { type: 'cacheonly' }],
    ['type=local,dest=d,mode=delete', { type: 'local', dest: 'd', mode: 'delete' }],
    [
      'type=image,"name=a,b:2",push=true',
      { type: 'image', push: true, names: ['docker.io/library/a:latest', 'docker.io/library/b:2'] },
    ],
  ])('--output %s', (text, expected) => {
    expect(readOutput(text, ['docker.io/library/t:1'])).toMatchObject(expected);
  });

  test.each([
    ['type=locl,dest=x', 'unknown type "locl"'],
    ['dest=x', 'has no type'],
    ['type=local', 'needs dest=DIRECTORY'],
    ['type=oci,tar=false', 'needs dest=DIRECTORY'],
    ['type=tar,x', 'unknown key "x"'],
    ['type=image,push=maybe', 'neither true nor false'],
    ['type=oci,compression=lz4', 'unknown compression'],
    ['type=oci,compression-level=10', 'gzip has no compression-level 10'],
    ['type=registry', 'needs a name to push to'],
    ['type=oci,compression=estargz', 'estargz is not supported'],
    ['type=oci,anotation.a=b', 'unknown key "anotation.a"'],
    ['type=oci,annotation-manfest.a=b', 'unknown key "annotation-manfest.a"'],
    ['type=tar,annotation.a=b', 'unknown key "annotation.a"'],
    ['type=image,push-by-digst=true', 'unknown key "push-by-digst"'],
    ['type=image,name=a:1,push-by-digest=true,push=true', 'pushes no tag'],
    ['type=image,registry.insecure=true', '"registry.insecure" of --output type=image'],
    ['type=image,attestation-inline=false', 'attestation-inline=false is not supported'],
    ['type=tar,attestation-prefix=../x', 'is not the name of a file'],
    ['type=image,buildinfo=true', 'was removed from BuildKit'],
    ['type=image,prefer-nondist-layers=true', 'prefer-nondist-layers=true is not supported'],
    ['type=registry,name=a,push=false', 'push=false is not valid'],
    ['type=local,dest=d,mode=delte', 'mode=delte is unknown'],
    ['type=tar,mode=delete', 'unknown key "mode"'],
    ['type=cacheonly,dest=d', 'unknown key "dest"'],
    ['type=docker,tar=false,dest=d', 'is always a tar'],
    ['type="x', 'invalid quoting'],
  ])('--output %s is refused', (text, message) => {
    expect(() => readOutput(text, [])).toThrow(message);
  });

  test.each([
    ['.', 'directory'],
    ['/x/y.git', 'directory'],
    ['https://a/b.git#main:dir', 'git'],
    ['git@github.com:a/b', 'git'],
    ['github.com/a/b', 'git'],
    ['https://a/b.tar.gz', 'http'],
  ])('the context %s is a %s', (text, kind) => {
    expect(readContext(text).kind).toBe(kind);
  });

  test.each([
    ['64m', 67_108_864],
    ['1g', 1_073_741_824],
    ['512', 512],
    ['1.5kB', 1536],
    ['10 KiB', 10_240],
    ['7b', 7],
    ['2T', 2 * 1024 ** 4],
  ])('%s are %d bytes', (text, bytes) => {
    expect(readBytes('shm-size', text)).toBe(bytes);
  });

  test.each([
    ['a,b', ['a', 'b']],
    ['"a,b",c', ['a,b', 'c']],
    ['"a""b"', ['a"b']],
    ['', ['']],
    ['a,', ['a', '']],
  ])('the fields of %j', (text, fields) => {
    expect(splitCsv(text)).toEqual(fields);
  });
});
