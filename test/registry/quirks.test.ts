import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LocalContentStore } from '../../src/content/local-store';
import { digestOf } from '../../src/oci/digest';
import { MediaType } from '../../src/oci/media-types';
import type { Reference } from '../../src/oci/reference';
import { RegistryClient, type RegistryOptions } from '../../src/registry/client';
import { blobsIn, downloadBlob } from '../../src/registry/download';
import type { BlobSource } from '../../src/registry/registry';
import {
  OddRegistry,
  error,
  type Asked,
  type OddAuth,
  type OddOptions,
  type Operation,
  type Quirk,
  type Reply,
} from '../support/odd-registry';
import { makeCertificate } from '../support/registry';

/*
 * What registries are known to do, a row for each status, header and challenge: each is run against a push of two blobs and a manifest,
 * and a pull of them.
 */

const LARGE = randomBytes(6 << 20);
const SMALL = randomBytes(1000);
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: descriptorOf(SMALL, MediaType.ociConfig),
    layers: [descriptorOf(LARGE, MediaType.ociLayerTar)],
  }),
);
const signal = new AbortController().signal;
const open: { close(): Promise<void> }[] = [];
let root: string;

beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'mbuild-quirks-'));
});
afterEach(async () => {
  for (const item of open.splice(0)) await item.close();
  rmSync(root, { recursive: true, force: true });
});

function descriptorOf(bytes: Buffer, mediaType: string) {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

function sourceOf(bytes: Buffer, from?: string): BlobSource {
  return {
    descriptor: descriptorOf(bytes, MediaType.ociLayerTar),
    from,
    open: async function* source(start) {
      for (let at = start; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    },
  };
}

async function start(options: OddOptions = {}): Promise<OddRegistry> {
  const registry = await OddRegistry.start(options);
  open.push(registry);
  return registry;
}

function client(options: RegistryOptions = {}): RegistryClient {
  const made = new RegistryClient({ attempts: 3, pauseMs: 1, env: { HOME: root }, ...options });
  open.push(made);
  return made;
}

function refTo({ host }: OddRegistry): Reference {
  return { registry: host, repository: 'team/app', tag: '1' };
}

/** Resolves when the registry has everything that was sent. */
async function push(registry: OddRegistry, from?: string, made = client()): Promise<void> {
  const ref = refTo(registry);
  for (const bytes of [LARGE, SMALL]) await made.pushBlob(ref, sourceOf(bytes, from), signal);
  await made.pushManifest(
    ref,
    { descriptor: descriptorOf(MANIFEST, MediaType.ociManifest), bytes: MANIFEST },
    signal,
  );
  expect(registry.manifests.get('team/app@1')?.bytes.equals(MANIFEST)).toBe(true);
  for (const bytes of [LARGE, SMALL])
    expect(registry.blobs.get(digestOf(bytes))?.equals(bytes)).toBe(true);
}

/** Resolves when everything has come. */
async function pull(registry: OddRegistry, made = client()): Promise<void> {
  const ref = refTo(registry);
  const content = new LocalContentStore(mkdtempSync(path.join(root, 'store-')));
  expect((await made.resolve(ref, signal))?.digest).toBe(digestOf(MANIFEST));
  const { bytes } = await made.manifest(ref, signal);
  expect(bytes.equals(MANIFEST)).toBe(true);
  for (const blob of [LARGE, SMALL]) {
    await downloadBlob(descriptorOf(blob, MediaType.ociLayerTar), blobsIn(ref, made), {
      content,
      signal,
      patience: { attempts: 3, pauseMs: 1 },
    });
    expect(content.read(digestOf(blob)).equals(blob)).toBe(true);
  }
}

/** An image that is there already. */
function fill(registry: OddRegistry): void {
  for (const bytes of [LARGE, SMALL]) registry.blobs.set(digestOf(bytes), bytes);
  for (const name of ['1', digestOf(MANIFEST)])
    registry.manifests.set(`team/app@${name}`, { bytes: MANIFEST, type: MediaType.ociManifest });
}

const status = (value: number): Pick<Quirk, 'changed'> => ({
  changed: (reply) => ({ ...reply, status: value }),
});
const refusing = (value: number): Pick<Quirk, 'instead'> => ({
  instead: () => error(value, 'DENIED'),
});
const headers = (
  change: (asked: Asked, reply: Reply) => Readonly<Record<string, string | undefined>>,
): Pick<Quirk, 'changed'> => ({
  changed: (reply, asked) => {
    const merged = Object.entries({ ...reply.headers, ...change(asked, reply) });
    const kept = merged.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
    return { ...reply, headers: Object.fromEntries(kept) as Record<string, string> };
  },
});
/** To the same address, said in another way. */
const location = (form: (pathname: string, host: string) => string): Pick<Quirk, 'changed'> =>
  headers(({ host }, { headers: said }) => ({ location: form(String(said?.['location']), host) }));
const again = (value: number): Pick<Quirk, 'instead'> => ({
  instead: ({ url }) => {
    if (url.searchParams.has('again')) return undefined;
    url.searchParams.set('again', '1');
    return { status: value, headers: { location: url.pathname + url.search } };
  },
});
const bodyOver = (limit: number, value: number): Pick<Quirk, 'instead'> => ({
  instead: ({ body, headers: { 'content-range': range } }) =>
    body.length > limit && (value === 413 || range !== undefined)
      ? { status: value, headers: { 'content-type': 'text/html' }, body: '<html>' }
      : undefined,
});

type Outcome = 'ok' | { readonly code: string; readonly hint?: RegExp; readonly message?: RegExp };
type Row = readonly [name: string, quirk: Quirk, outcome?: Outcome];

const on = (operation: Operation | readonly Operation[], quirk: Omit<Quirk, 'on'>): Quirk => ({
  on: operation,
  ...quirk,
});

const PUSHES: readonly Row[] = [
  ...[200, 201, 204].map((value): Row => [
    `an upload that starts with ${value}`,
    on('start', status(value)),
  ]),
  ...[200, 201, 203, 204].map((value): Row => [
    `a PATCH that is answered with ${value}`,
    on('patch', status(value)),
  ]),
  ...[200, 202, 204].map((value): Row => [
    `a PUT of a blob that is answered with ${value}`,
    on('put-blob', status(value)),
  ]),
  ...[200, 202, 203, 204].map((value): Row => [
    `a PUT of a manifest that is answered with ${value}`,
    on('put-manifest', status(value)),
  ]),
  ...[307, 308].map((value): Row => [
    `a PUT of a manifest that is redirected with ${value}`,
    on('put-manifest', again(value)),
  ]),
  ...[307, 308].map((value): Row => [
    `a PATCH that is redirected with ${value}`,
    on('patch', again(value)),
  ]),
  ['a POST that is redirected with 307', on('start', again(307))],
  [
    'a PUT that is redirected with 302, which would become a GET',
    on('put-manifest', again(302)),
    { code: 'REGISTRY_FAILED', message: /302/ },
  ],
  ...[400, 403, 405, 500].map((value): Row => [
    `no HEAD of blobs: ${value}`,
    on('head-blob', refusing(value)),
  ]),
  ['a PATCH that fails once with 503', on('patch', { ...refusing(503), times: 1 })],
  ['a PATCH that is busy once with 429', on('patch', { ...refusing(429), times: 1 })],
  ['an upload that cannot be started once', on('start', { ...refusing(502), times: 1 })],
  [
    'a PATCH that always fails with 500',
    on('patch', refusing(500)),
    { code: 'REGISTRY_FAILED', message: /500/ },
  ],
  [
    'a registry that is always busy',
    on('start', refusing(429)),
    { code: 'REGISTRY_FAILED', hint: /log in/ },
  ],
  ['requests with Content-Range of 4 MiB at most', on('patch', bodyOver(4 << 20, 416))],
  ['no Content-Range at all', on('patch', bodyOver(0, 416))],
  ['bodies of 4 MiB at most', on('patch', bodyOver(4 << 20, 413))],
  ['bodies of 1 MiB at most', on('patch', bodyOver(1 << 20, 413))],
  [
    'bodies of 100 kB at most',
    on('patch', bodyOver(100_000, 413)),
    { code: 'REGISTRY_FAILED', hint: /--push-chunk-size/ },
  ],
  [
    'Location as a path',
    on(
      ['start', 'patch'],
      location((at) => at),
    ),
  ],
  [
    'Location as a path without its beginning',
    on(
      'start',
      location((at) => path.posix.basename(at)),
    ),
  ],
  [
    'Location as an address',
    on(
      ['start', 'patch'],
      location((at, host) => `http://${host}${at}`),
    ),
  ],
  [
    'Location with a query',
    on(
      ['start', 'patch'],
      location((at) => `${at}?_state=ab%2Fc%3D%3D&empty=`),
    ),
  ],
  [
    'no Location behind a PATCH',
    on(
      'patch',
      headers(() => ({ location: undefined })),
    ),
  ],
  [
    'no Location behind a POST',
    on(
      'start',
      headers(() => ({ location: undefined })),
    ),
    { code: 'REGISTRY_FAILED', message: /did not say where to continue the upload/ },
  ],
  [
    'a Location that is not an address',
    on(
      'start',
      headers(() => ({ location: 'http://[' })),
    ),
    { code: 'REGISTRY_FAILED' },
  ],
  [
    'a Location of another scheme',
    on(
      'start',
      headers(() => ({ location: 'file:///etc/passwd' })),
    ),
    { code: 'REGISTRY_FAILED', message: /file:/ },
  ],
  [
    'no digest in answers',
    on(
      'put-blob',
      headers(() => ({ 'docker-content-digest': undefined })),
    ),
  ],
];

const PULLS: readonly Row[] = [
  ...[400, 403, 405, 501].map((value): Row => [
    `no HEAD of manifests: ${value}`,
    on('head-manifest', refusing(value)),
  ]),
  ['a manifest that is busy once', on('get-manifest', { ...refusing(429), times: 1 })],
  ['a blob that fails once', on('get-blob', { ...refusing(503), times: 1 })],
  ['a blob that breaks off', on('get-blob', { changed: cut(1000), times: 2 })],
  [
    'no ranges of blobs',
    on('get-blob', {
      changed: (reply, { url }) => (reply.status === 206 ? whole(url) : reply),
    }),
  ],
  [
    'blobs that are always denied',
    on('get-blob', refusing(403)),
    { code: 'REGISTRY_DENIED', message: /team\/app/ },
  ],
  [
    'a registry that is always busy',
    on('get-manifest', refusing(429)),
    { code: 'REGISTRY_FAILED', hint: /log in/ },
  ],
  ...[
    'application/octet-stream',
    'application/json',
    'text/plain; charset=utf-8',
    `${MediaType.ociManifest}; charset=utf-8`,
    undefined,
  ].map((type): Row => [
    `a manifest of type ${type}`,
    on(
      ['head-manifest', 'get-manifest'],
      headers(() => ({ 'content-type': type })),
    ),
  ]),
  [
    'a manifest of the wrong known type',
    on(
      'get-manifest',
      headers(() => ({ 'content-type': MediaType.dockerManifest })),
    ),
    { code: 'IMAGE_INVALID' },
  ],
  ...[
    undefined,
    `"${digestOf(MANIFEST)}"`,
    `sha512:${createHash('sha512').update(MANIFEST).digest('hex')}`,
  ].map((digest): Row => [
    `Docker-Content-Digest: ${digest?.slice(0, 12)}`,
    on(
      ['head-manifest', 'get-manifest'],
      headers(() => ({ 'docker-content-digest': digest })),
    ),
  ]),
  [
    'the digest of something else',
    on(
      'get-manifest',
      headers(() => ({ 'docker-content-digest': digestOf('x') })),
    ),
    { code: 'DIGEST_MISMATCH' },
  ],
  [
    'no Content-Length',
    on(
      'head-manifest',
      headers(() => ({ 'content-length': undefined })),
    ),
  ],
  [
    'headers of 60 kB',
    on(
      'get-manifest',
      headers(() => ({ 'x-long': 'x'.repeat(60_000) })),
    ),
    { code: 'REGISTRY_FAILED', message: /16 KiB/ },
  ],
  [
    'a manifest that is not JSON',
    on('get-manifest', {
      changed: () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }),
    }),
    { code: 'REGISTRY_FAILED', message: /JSON/ },
  ],
  [
    'a manifest of a thousand levels',
    on('get-manifest', {
      changed: () => ({ status: 200, body: `${'['.repeat(1000)}${']'.repeat(1000)}` }),
    }),
    { code: 'REGISTRY_FAILED', message: /levels/ },
  ],
];

function cut(at: number) {
  return (reply: Reply): Reply => ({ ...reply, cutAt: at });
}

function whole(url: URL): Reply {
  const bytes = url.pathname.endsWith(digestOf(LARGE)) ? LARGE : SMALL;
  return { status: 200, headers: { 'content-length': bytes.length }, body: bytes };
}

const realm = (host: string): string => `http://${host}/token`;
const bearer = (host: string): string => `Bearer realm="${realm(host)}",service="odd"`;

type AuthRow = readonly [name: string, auth: OddAuth, outcome?: Outcome];

const CHALLENGES: readonly AuthRow[] = [
  ['Bearer', { challenge: bearer }],
  ['Bearer without a service', { challenge: (host) => `Bearer realm="${realm(host)}"` }],
  ['BEARER', { challenge: (host) => `BEARER Realm="${realm(host)}", Service="odd"` }],
  ['Bearer behind Basic', { challenge: (host) => `Basic realm="x", ${bearer(host)}` }],
  ['Bearer without quotes', { challenge: (host) => `Bearer realm=${realm(host)},service=odd` }],
  ['Bearer with a realm that is a path', { challenge: () => 'Bearer realm="/token"' }],
  ['a challenge with status 403', { challenge: bearer, refusal: 403 }],
  ['an open /v2/', { challenge: bearer, open: ['ping'] }],
  ['tokens that are good for one request', { challenge: bearer, uses: 1 }],
  [
    'an empty token beside an access_token',
    { challenge: bearer, answer: (token) => ({ token: '', access_token: token }) },
  ],
  [
    'a token that is null beside an access_token',
    { challenge: bearer, answer: (token) => ({ token: null, access_token: token }) },
  ],
  [
    'a lifetime that is a string',
    { challenge: bearer, answer: (token) => ({ token, expires_in: '300' }) },
  ],
  [
    'a token that would end a header',
    { challenge: bearer, answer: (token) => ({ token: `${token}\r\nx: 1` }) },
    { code: 'REGISTRY_FAILED', message: /token/ },
  ],
  [
    'a token server without a token',
    { challenge: bearer, answer: () => ({}) },
    { code: 'REGISTRY_FAILED', message: /token/ },
  ],
  [
    'a token server that refuses',
    { challenge: bearer, grants: () => false },
    { code: 'REGISTRY_DENIED', message: /team\/app/ },
  ],
  [
    'a token server that is not an address',
    { challenge: () => 'Bearer realm="http://["' },
    { code: 'REGISTRY_FAILED', message: /token server/ },
  ],
  [
    'a token server of another host in the clear',
    { challenge: () => 'Bearer realm="http://tokens.example/token"' },
    { code: 'REGISTRY_DENIED', message: /not encrypted/ },
  ],
  ['no challenge', { challenge: () => '' }, { code: 'REGISTRY_DENIED' }],
  [
    'Basic without credentials',
    { challenge: () => 'Basic realm="x"' },
    { code: 'REGISTRY_DENIED' },
  ],
  ['an unknown scheme', { challenge: () => 'Negotiate' }, { code: 'REGISTRY_DENIED' }],
];

/** A table with names for its columns. */
function named<T>(rows: readonly (readonly [name: string, odd: T, outcome?: Outcome])[]) {
  return rows.map(([name, odd, outcome = 'ok']) => ({ name, odd, outcome }));
}

async function expectOutcome(work: Promise<void>, outcome: Outcome): Promise<void> {
  if (outcome === 'ok') return work;
  const failure = (await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )) as { code?: string; message?: string; hint?: string } | undefined;
  expect(failure?.code).toBe(outcome.code);
  expect(failure?.message).toMatch(outcome.message ?? /./);
  expect(failure?.hint ?? '').toMatch(outcome.hint ?? /(?:)/);
}

describe('a push', () => {
  it.each(named(PUSHES))('to a registry with $name', async ({ odd: quirk, outcome }) => {
    await expectOutcome(push(await start({ quirks: [quirk] })), outcome);
  });

  it.each([400, 401, 403, 404, 405, 500, 503])('sends what it may not mount: %i', async (value) => {
    const registry = await start({ quirks: [on('mount', refusing(value))] });
    await push(registry, 'team/base');
    expect(registry.of('mount')).toHaveLength(2);
    expect(registry.of('start')).toHaveLength(2);
  });

  it('mounts what it may', async () => {
    const registry = await start({ quirks: [on('head-blob', refusing(404))] });
    for (const bytes of [LARGE, SMALL]) registry.blobs.set(digestOf(bytes), bytes);
    await push(registry, 'team/base');
    expect(registry.of('patch')).toEqual([]);
  });

  it('asks for a plain token where the token for a mount is refused', async () => {
    const auth: OddAuth = {
      challenge: bearer,
      grants: (scopes) => scopes.every((scope) => scope.startsWith('repository:team/app:')),
    };
    const registry = await start({ auth });
    await push(registry, 'secret/base');
    expect(registry.of('mount')).toEqual([]);
  });

  it('sends pieces that are as large as the registry wants them', async () => {
    const least = headers(() => ({ 'oci-chunk-min-length': String(5 << 20) }));
    const registry = await start({
      quirks: [on('start', least), on('patch', bodyOver(5 << 20, 413))],
    });
    await push(registry);
    expect(registry.of('patch').map(({ body }) => body.length)).toEqual([
      LARGE.length,
      5 << 20,
      1 << 20,
    ]);
  });

  it('sends a blob as a whole without Content-Range', async () => {
    const registry = await start();
    await push(registry);
    expect(registry.of('patch').map(({ headers: sent }) => sent['content-range'])).toEqual([
      undefined,
    ]);
  });

  it('never goes on in the clear after https', async () => {
    const { cert, key, ca } = makeCertificate(root);
    const tls = { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
    const plain = await start();
    const clear = on(
      'start',
      location((at) => `http://${plain.host}${at}`),
    );
    const secure = await start({ tls, quirks: [clear] });
    const trusting = (options: RegistryOptions = {}) =>
      client({ env: { HOME: root, SSL_CERT_FILE: ca }, ...options });
    await expect(push(secure, undefined, trusting())).rejects.toMatchObject({
      code: 'TLS_FAILED',
      message: expect.stringContaining('not encrypted'),
      hint: expect.stringContaining(`--insecure-registry ${plain.host}`),
    });
    expect(plain.seen).toEqual([]);
    // Named, it is asked; it does not know of the upload.
    await expect(
      push(secure, undefined, trusting({ insecure: [plain.host] })),
    ).rejects.toMatchObject({ code: 'REGISTRY_FAILED' });
    expect(plain.seen).not.toEqual([]);
  });
});

describe('a pull', () => {
  it.each(named(PULLS))('from a registry with $name', async ({ odd: quirk, outcome }) => {
    const registry = await start({ quirks: [quirk] });
    fill(registry);
    await expectOutcome(pull(registry), outcome);
  });

  it('follows a name to a registry with tokens and credentials of its own', async () => {
    const other = await start({ auth: { challenge: bearer } });
    fill(other);
    const to = {
      instead: ({ url }: Asked) => ({
        status: 307,
        headers: { location: `http://${other.host}${url.pathname}` },
      }),
    };
    const kinds: Operation[] = ['head-manifest', 'get-manifest', 'get-blob'];
    const first = await start({
      quirks: [on(kinds, to)],
      auth: { challenge: () => 'Basic realm="x"', open: kinds },
    });
    const auths = { [first.host]: { auth: Buffer.from('me:secret').toString('base64') } };
    const authFile = path.join(root, 'auth.json');
    writeFileSync(authFile, JSON.stringify({ auths }));
    await pull(first, client({ authFile }));
    expect(other.of('token').map(({ headers: sent }) => sent.authorization)).toEqual(
      other.of('token').map(() => undefined),
    );
    const basic = other.seen.filter(({ headers: sent }) =>
      sent.authorization?.startsWith('Basic '),
    );
    expect(basic).toEqual([]);
  });

  it('fetches a damaged part of an earlier download anew', async () => {
    const registry = await start();
    fill(registry);
    const made = client();
    const content = new LocalContentStore(root);
    const blob = descriptorOf(LARGE, MediaType.ociLayerTar);
    writeFileSync(content.partial(blob.digest).path, Buffer.alloc(500_000));
    await downloadBlob(blob, blobsIn(refTo(registry), made), { content, signal });
    expect(content.read(blob.digest).equals(LARGE)).toBe(true);
    expect(registry.of('get-blob').map(({ headers: sent }) => sent.range)).toEqual([
      'bytes=500000-',
      undefined,
    ]);
  });

  it('has no tags where they are null', async () => {
    const registry = await start({
      quirks: [on('tags', { changed: () => ({ status: 200, body: '{"tags":null}' }) })],
    });
    await expect(client().tags(refTo(registry), signal)).resolves.toEqual([]);
  });
});

describe('with a challenge', () => {
  it.each(named(CHALLENGES))('$name, a push', async ({ odd: auth, outcome }) => {
    await expectOutcome(push(await start({ auth })), outcome);
  });

  it.each(named(CHALLENGES))('$name, a pull', async ({ odd: auth, outcome }) => {
    const registry = await start({ auth });
    fill(registry);
    await expectOutcome(pull(registry), outcome);
  });
});
