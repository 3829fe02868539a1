import { readCacheFrom, readCacheTo } from '../../src/cli/cache-options';
import { isMbuildError } from '../../src/diagnostics/error';

const ENV = { CACHE_AUTH: 'Bearer abc' };
const WRITTEN = { mode: 'min', ignoreError: true, compression: undefined };

/** The error of a reading that must fail. */
function errorOf(read: () => unknown): {
  code: string;
  message: string;
  hint?: string | undefined;
} {
  try {
    read();
  } catch (error) {
    if (isMbuildError(error)) return error;
    throw error;
  }
  throw new Error('it was read');
}

describe('--cache-from', () => {
  it.each([
    ['app', { type: 'registry', ref: 'docker.io/library/app:latest' }],
    ['reg.example:5000/app:cache', { type: 'registry', ref: 'reg.example:5000/app:cache' }],
    ['type=registry,ref=reg.example/app:cache', { type: 'registry', ref: 'reg.example/app:cache' }],
    ['type=local,src=../cache', { type: 'local', folder: '../cache', tag: 'latest' }],
    ['type=local,src=c,tag=main', { type: 'local', folder: 'c', tag: 'main' }],
    [
      'type=http,url=https://host/cache',
      { type: 'http', url: 'https://host/cache', tag: 'latest' },
    ],
    [
      'type=http,url=http://host/,tag=main,authorization-env=CACHE_AUTH',
      { type: 'http', url: 'http://host/', tag: 'main', authorization: 'Bearer abc' },
    ],
    [
      'type=gha,scope=main,timeout=1m30s,max-size=2gb,token=t,url_v2=https://results/',
      {
        ...{ type: 'gha', url: 'https://results/', token: 't', scope: 'main' },
        ...{ timeoutMs: 90_000, maxSize: 2e9 },
      },
    ],
    [
      'type=s3,bucket=b,region=r,name=one;two,prefix=p/,endpoint_url=http://host,use_path_style',
      {
        ...{ type: 's3', bucket: 'b', region: 'r', names: ['one', 'two'], prefix: 'p/' },
        ...{ manifestsPrefix: 'manifests/', blobsPrefix: 'blobs/', endpoint: 'http://host' },
        ...{ pathStyle: true, touchAfterMs: 86_400_000 },
      },
    ],
    [
      'type=azblob,account_url=https://a.blob.core.windows.net,container=c,secret_access_key=k',
      {
        ...{ type: 'azblob', accountUrl: 'https://a.blob.core.windows.net', container: 'c' },
        ...{ key: 'k', names: ['mbuild'], prefix: '' },
        ...{ manifestsPrefix: 'manifests/', blobsPrefix: 'blobs/' },
      },
    ],
  ])('reads %s', (text, expected) => {
    expect(readCacheFrom(text, ENV)).toEqual(expected);
  });

  it.each([
    ['type=inline', 'USAGE', /an inline cache is read from its image/],
    ['type=gha,version=1', 'USAGE', /version=1 is not supported/],
    ['type=gha,timeout=long', 'USAGE', /is not a duration/],
    ['type=gha,ghtoken=x', 'UNSUPPORTED', /"ghtoken" .* is not needed/],
    ['type=s3', 'USAGE', /needs bucket=NAME/],
    ['type=s3,bucket=b', 'USAGE', /needs region=NAME/],
    ['type=s3,bucket=b,region=r,access_key_id=a', 'USAGE', /or neither/],
    ['type=azblob', 'USAGE', /needs account_url=/],
    ['type=regstry,ref=x', 'USAGE', /unknown type "regstry"/],
    ['ref=x,mode', 'USAGE', /has no type/],
    ['type=registry,ref', 'USAGE', /"ref" of --cache-from type=registry needs a value/],
    ['type=local', 'USAGE', /needs src=DIRECTORY/],
    ['type=local,src=c,digest=sha256:12', 'USAGE', /is not a digest/],
    ['type=http', 'USAGE', /needs url=https/],
    ['type=http,url=ftp://host/', 'USAGE', /is not an address/],
    ['type=http,url=http://host/,tag=../x', 'USAGE', /is not a tag/],
    [
      'type=http,url=http://host/,authorization-env=NONE',
      'USAGE',
      /the variable NONE .* is not set/,
    ],
    ['type=registry', 'USAGE', /needs ref=NAME/],
    ['type=registry,ref=UPPER', 'REFERENCE_INVALID', /invalid reference "UPPER"/],
    ['type=registry,ref=x,dest=y', 'USAGE', /unknown key "dest"/],
  ])('refuses %s', (text, code, message) => {
    const error = errorOf(() => readCacheFrom(text, ENV));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  });
});

describe('--cache-to', () => {
  it.each([
    ['reg.example/app:c', { type: 'registry', ref: 'reg.example/app:c', ...WRITTEN }],
    ['type=inline', { type: 'inline' }],
    [
      'type=local,dest=c,mode=max,ignore-error=false',
      { type: 'local', folder: 'c', tag: 'latest', ...WRITTEN, mode: 'max', ignoreError: false },
    ],
    [
      'type=registry,ref=r.io/a,image-manifest=true,oci-mediatypes=true,compression=zstd,compression-level=3',
      {
        type: 'registry',
        ref: 'r.io/a:latest',
        ...WRITTEN,
        compression: { type: 'zstd', level: 3, force: undefined },
      },
    ],
  ])('reads %s', (text, expected) => {
    expect(readCacheTo(text, ENV)).toEqual(expected);
  });

  it.each([
    ['type=inline,mode=max', 'USAGE', /an inline cache holds only the steps of its image/],
    ['type=gha,mode=all', 'USAGE', /mode=all/],
    ['type=local,src=c', 'USAGE', /unknown key "src"/],
    ['type=local', 'USAGE', /needs dest=DIRECTORY/],
    ['type=registry,ref=a,mode=all', 'USAGE', /mode=all/],
    ['type=registry,ref=a,image-manifest=false', 'UNSUPPORTED', /image-manifest=false/],
    ['type=registry,ref=a,registry.insecure=true', 'UNSUPPORTED', /registry.insecure/],
    ['type=registry,ref=a,compression=estargz', 'UNSUPPORTED', /estargz/],
    ['type=registry,ref=a,ignore-error=perhaps', 'USAGE', /neither true nor false/],
    [`type=registry,ref=a@sha256:${'0'.repeat(64)}`, 'REFERENCE_INVALID', /invalid reference/],
  ])('refuses %s', (text, code, message) => {
    const error = errorOf(() => readCacheTo(text, ENV));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  });
});
