import fc from 'fast-check';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cacheKey, KEY_VERSION, sourceResult } from '../../src/cache/key';
import { CACHE_CONFIG_TYPE, configOf, readCache } from '../../src/cache/remote/format';
import { LocalPlace } from '../../src/cache/remote/local-place';
import { isMbuildError } from '../../src/diagnostics/error';
import { dockerCandidates } from '../../src/images/transfer/docker-archive';
import { directoryFiles } from '../../src/images/transfer/image-files';
import { layoutEntries } from '../../src/images/transfer/layout';
import { LocalContentStore } from '../../src/content/local-store';
import { digestOf } from '../../src/oci/digest';
import { MediaType } from '../../src/oci/media-types';
import { parseConfig, parseIndex, parseManifest } from '../../src/oci/read-image';
import { findDaemon } from '../../src/output/find-daemon';
import { parseToken } from '../../src/registry/auth';
import { findCredentials } from '../../src/registry/credentials';
import { manifestOf } from '../../src/registry/manifest-answer';
import { policyOf } from '../../src/registry/policy';
import { readRegistrySettings } from '../../src/registry/settings';
import { DeviceRegistry, editsOf } from '../../src/sandbox/devices/cdi';

/*
 * Every reader of JSON that others wrote, given a document of its form in which members are null, missing or of another type: what comes is an
 * ordinary error, or a reading without null in a place that has a type.
 */

const HEX = '0'.repeat(64);
const DIGEST = `sha256:${HEX}`;
const descriptor = (mediaType: string) => ({
  mediaType,
  digest: DIGEST,
  size: 5,
  annotations: { a: 'b' },
  platform: { os: 'linux', architecture: 'amd64', variant: 'v2', 'os.features': ['x'] },
  urls: ['http://x'],
});
const CONFIG = {
  created: '2024-01-01T00:00:00Z',
  author: 'me',
  os: 'linux',
  architecture: 'amd64',
  config: {
    User: 'u',
    ExposedPorts: { '80/tcp': {} },
    Env: ['A=b'],
    Entrypoint: ['x'],
    Cmd: ['y'],
    Volumes: { '/v': {} },
    WorkingDir: '/w',
    Labels: { a: 'b' },
    StopSignal: 'TERM',
    Healthcheck: { Test: ['NONE'], Interval: 1, Retries: 2 },
    OnBuild: ['RUN x'],
    Shell: ['/bin/sh', '-c'],
    ArgsEscaped: true,
    StopTimeout: 3,
  },
  rootfs: { type: 'layers', diff_ids: [DIGEST] },
  history: [{ created: '2024-01-01T00:00:00Z', created_by: 'x', empty_layer: true }],
};
const MANIFEST = {
  schemaVersion: 2,
  mediaType: MediaType.ociManifest,
  config: descriptor(MediaType.ociConfig),
  layers: [descriptor(MediaType.ociLayerTar)],
  annotations: { a: 'b' },
  subject: descriptor(MediaType.ociManifest),
};
const INDEX = {
  schemaVersion: 2,
  mediaType: MediaType.ociIndex,
  manifests: [
    {
      ...descriptor(MediaType.ociManifest),
      annotations: {
        'io.containerd.image.name': 'docker.io/library/a:1',
        'org.opencontainers.image.ref.name': '2',
      },
    },
  ],
  annotations: { a: 'b' },
};
const DOCKER = [{ Config: `${HEX}.json`, RepoTags: ['a:1'], Layers: ['l/layer.tar'] }];
const INPUT = { kind: 'run', parent: sourceResult(undefined), inputs: { args: ['x'], env: {} } };
const CACHE = {
  version: 1,
  keys: KEY_VERSION,
  layers: [DIGEST],
  selections: [],
  digests: { [HEX]: DIGEST },
  bases: [{ stage: 's', name: 'n', digest: 'd' }],
  records: [
    {
      key: cacheKey(INPUT),
      input: INPUT,
      result: HEX,
      layer: { diffId: DIGEST, chainId: DIGEST, size: 1, contentSize: 2 },
      created: '2024-01-01T00:00:00Z',
      durationMs: 5,
      stage: 's',
      index: 0,
      line: 1,
      text: 'RUN x',
    },
  ],
};
const CACHE_MANIFEST = { ...MANIFEST, config: descriptor(CACHE_CONFIG_TYPE) };
const AUTH = {
  auths: { 'reg.example': { auth: 'dTpw', username: 'u', password: 'p', identitytoken: '' } },
  credHelpers: {},
  credsStore: '',
};
const POLICY = {
  default: [{ type: 'insecureAcceptAnything' }],
  transports: { docker: { 'reg.example': [{ type: 'reject' }] } },
};
const CDI = {
  cdiVersion: '0.6.0',
  kind: 'a/b',
  annotations: { x: 'y' },
  devices: [
    {
      name: 'c',
      annotations: { x: 'y' },
      containerEdits: {
        env: ['A=b'],
        deviceNodes: [{ path: '/dev/x', hostPath: '/dev/y' }],
        mounts: [{ hostPath: '/a', containerPath: '/b', options: ['ro'] }],
        additionalGids: [1],
      },
    },
  ],
  containerEdits: { env: ['C=d'] },
};
const TOKEN = { token: 'a', access_token: 'b', expires_in: 5 };
const DAEMON = { 'registry-mirrors': ['https://m.example'], 'insecure-registries': ['i.example'] };
const DOCKER_CONFIG = { currentContext: 'x' };

/** What stands in the place of a member. */
const MISSING = Symbol('missing');
const strange = fc.constantFrom<unknown>(
  null,
  MISSING,
  0,
  -1.5,
  1e300,
  true,
  '',
  'x',
  '\0',
  [],
  [null],
  ['x'],
  {},
  { __proto__: null, a: null },
  { '': {} },
  [[[[[]]]]],
);

/** A document with some members exchanged. */
function mangled(document: unknown): fc.Arbitrary<unknown> {
  const places = placesOf(document);
  return fc
    .array(fc.tuple(fc.constantFrom(...places), strange), { minLength: 1, maxLength: 3 })
    .map((changes) =>
      changes.reduce((value, [place, odd]) => replaced(value, place, odd), document),
    );
}

function placesOf(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [[...at]];
  return [
    [...at],
    ...Object.entries(value).flatMap(([name, member]) => placesOf(member, [...at, name])),
  ];
}

function replaced(value: unknown, [name, ...rest]: readonly string[], odd: unknown): unknown {
  if (name === undefined) return odd;
  if (typeof value !== 'object' || value === null) return value;
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  const made = replaced(copy[name], rest, odd);
  if (made === MISSING) delete copy[name];
  else copy[name] = made;
  return copy;
}

const bytesOf = (value: unknown): Buffer =>
  Buffer.from(value === MISSING ? '' : (JSON.stringify(value) ?? ''));

/** No member of a document that was read is null, but for what is kept as it is. */
function expectWhole(value: unknown, at = ''): void {
  if (value === null) throw new Error(`null at ${at}`);
  if (typeof value !== 'object') return;
  for (const [name, member] of Object.entries(value)) expectWhole(member, `${at}.${name}`);
}

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'mbuild-foreign-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const REF = { registry: 'reg.example', repository: 'a', tag: '1' };

function inFile(name: string, bytes: Buffer): string {
  const file = path.join(root, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, bytes);
  return file;
}

const READERS: readonly (readonly [
  name: string,
  document: unknown,
  read: (bytes: Buffer) => unknown,
])[] = [
  ['a config', CONFIG, (bytes) => expectWhole(parseConfig(bytes, 1, 'x').config ?? {})],
  ['a manifest', MANIFEST, (bytes) => expectWhole(parseManifest(bytes, 'x').layers)],
  ['an index', INDEX, (bytes) => expectWhole(parseIndex(bytes, 'x').manifests)],
  [
    "a registry's manifest",
    MANIFEST,
    (bytes) =>
      manifestOf(
        { status: 200, url: new URL('http://x/'), headers: {}, body: undefined as never },
        bytes,
        REF,
      ),
  ],
  ["a remote cache's manifest", CACHE_MANIFEST, (bytes) => configOf(bytes)],
  [
    'a remote cache',
    CACHE,
    (bytes) => readCache(bytesOf(CACHE_MANIFEST), bytes)?.contents.records.map(({ text }) => text),
  ],
  [
    'an inline cache',
    { ...CONFIG, 'mbuild.cache.v1': CACHE },
    (bytes) => readCache(bytesOf(MANIFEST), bytes),
  ],
  [
    'a directory of caches',
    { ...INDEX, manifests: [{ ...descriptor(MediaType.ociManifest), annotations: undefined }] },
    async (bytes) => {
      inFile('index.json', bytes);
      await new LocalPlace(root, 'latest').read();
    },
  ],
  [
    'an archive of docker',
    DOCKER,
    async (bytes) => {
      inFile('manifest.json', bytes);
      await dockerCandidates(directoryFiles(root, new LocalContentStore(root)), undefined as never);
    },
  ],
  [
    'a layout',
    INDEX,
    async (bytes) => {
      inFile('index.json', bytes);
      await layoutEntries(directoryFiles(root, new LocalContentStore(root)));
    },
  ],
  [
    'credentials',
    AUTH,
    (bytes) => findCredentials(REF, { env: { HOME: root }, authFile: inFile('auth.json', bytes) }),
  ],
  [
    'a policy',
    POLICY,
    (bytes) =>
      policyOf({ env: { HOME: root }, file: inFile('policy.json', bytes) })({
        transport: 'docker',
        ref: REF,
      }),
  ],
  [
    'devices',
    CDI,
    async (bytes) => {
      inFile('cdi/x.json', bytes);
      const registry = await DeviceRegistry.read([path.join(root, 'cdi')]);
      for (const name of registry.names()) editsOf(registry.find(name));
    },
  ],
  ['a token', TOKEN, (bytes) => parseToken(bytes, 0)],
  [
    "docker's daemon.json",
    DAEMON,
    (bytes) => {
      inFile('.config/docker/daemon.json', bytes);
      readRegistrySettings({ HOME: root });
    },
  ],
  [
    "docker's config.json",
    DOCKER_CONFIG,
    (bytes) => {
      inFile('.docker/config.json', bytes);
      findDaemon({ HOME: root });
    },
  ],
];

describe('JSON that others wrote', () => {
  it.each(READERS)('%s is read, or refused in words', async (_, document, read) => {
    await fc.assert(
      fc.asyncProperty(mangled(document), async (value) => {
        try {
          await read(bytesOf(value));
        } catch (error) {
          if (!isMbuildError(error) || error.code === 'INTERNAL') throw error;
        }
      }),
      { numRuns: 300 },
    );
  });

  it.each(READERS)(
    '%s of a hundred thousand levels is refused or passed over',
    async (_, __, read) => {
      for (const [open, close] of [
        ['[', ']'],
        ['{"a":', '}'],
      ] as const) {
        const bytes = Buffer.from(`{"a":${open.repeat(1e5)}1${close.repeat(1e5)}}`);
        try {
          await read(bytes);
        } catch (error) {
          if (!isMbuildError(error) || error.code === 'INTERNAL') throw error;
        }
      }
    },
  );

  it('that is null in every place means what is empty', () => {
    for (const name of Object.keys(CONFIG.config)) {
      const value = { ...CONFIG, config: { ...CONFIG.config, [name]: null } };
      expect(parseConfig(bytesOf(value), 1, 'x').config).not.toHaveProperty(name);
    }
    for (const name of ['created', 'author', 'config', 'history']) {
      expect(parseConfig(bytesOf({ ...CONFIG, [name]: null }), 1, 'x')).not.toHaveProperty(name);
    }
    expect(parseManifest(bytesOf({ ...MANIFEST, layers: null }), 'x').layers).toEqual([]);
    expect(parseIndex(bytesOf({ ...INDEX, manifests: null }), 'x').manifests).toEqual([]);
  });

  it('that names no platform is for the machine', () => {
    const { os: _os, architecture: _architecture, ...config } = CONFIG;
    const platform = { os: 'linux', architecture: 'riscv64' };
    expect(parseConfig(bytesOf(config), 1, 'x', platform)).toMatchObject(platform);
  });

  it('with digests of another algorithm is told', () => {
    const config = { ...MANIFEST.config, digest: `sha512:${'0'.repeat(128)}` };
    expect(() => parseManifest(bytesOf({ ...MANIFEST, config }), 'x')).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('sha512') }),
    );
  });

  it('keeps what mbuild does not know', () => {
    const value = { ...CONFIG, container: digestOf('x'), config: { ...CONFIG.config, Tty: false } };
    expect(parseConfig(bytesOf(value), 1, 'x')).toMatchObject({
      container: digestOf('x'),
      config: { Tty: false },
    });
  });
});
