import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { isInsecureHost, placesOf, readRegistrySettings } from '../../src/registry/settings';
import { TomlError, parseToml } from '../../src/registry/toml';

describe('TOML', () => {
  it.each<[string, object]>([
    ['', {}],
    ['# only a comment\n\n', {}],
    ['a = 1 # one\nb = "x"\nc = true', { a: 1, b: 'x', c: true }],
    ['a.b."c.d" = \'raw \\n\'', { a: { b: { 'c.d': 'raw \\n' } } }],
    [
      '[a]\nb = [ "x", # first\n  "y",\n]\n[a.c]\nd = 1_000',
      { a: { b: ['x', 'y'], c: { d: 1000 } } },
    ],
    [
      '[[r]]\nx = 1\n[[r.m]]\ny = 1\n[[r.m]]\ny = 2\n[[r]]\nx = 2',
      { r: [{ x: 1, m: [{ y: 1 }, { y: 2 }] }, { x: 2 }] },
    ],
    ['a = { b = 1, c = { d = "e" } }', { a: { b: 1, c: { d: 'e' } } }],
    ['a = "tab\\t quote\\" \\u00e9 \\U0001F600"', { a: 'tab\t quote" é 😀' }],
    ['a = """\nline\nfolded \\\n   on"""', { a: 'line\nfolded on' }],
    ["a = '''it's'''\r\nb = -1.5", { a: "it's", b: -1.5 }],
  ])('%j', (text, expected) => {
    expect(JSON.parse(JSON.stringify(parseToml(text)))).toEqual(expected);
  });

  it.each([
    'a',
    'a =',
    'a = "x',
    'a = 1 b = 2',
    '[a',
    'a = 1\na = 2',
    'a = [1',
    'a = x',
    'a = "\\q"',
    'a = 1\n[a]\nb = 1',
    '[[a]',
    'a = {b = 1',
  ])('refuses %j and names the line', (text) => {
    expect(() => parseToml(text)).toThrow(/^line \d+: /);
  });

  it('never fails in another way', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-c=."'[\]{},\\\n #0-9-]*$/), (text) => {
        try {
          parseToml(text);
        } catch (error) {
          expect(error).toBeInstanceOf(TomlError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the settings of registries', () => {
  let home: string;
  beforeEach(() => (home = mkdtempSync(path.join(tmpdir(), 'mbuild-home-'))));
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const put = (name: string, text: string): string => {
    const file = path.join(home, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    return file;
  };
  const read = (env: Record<string, string> = {}) => readRegistrySettings({ HOME: home, ...env });
  const places = (name: string, env: Record<string, string> = {}): string[] => {
    const [registry = '', ...rest] = name.split('/');
    return placesOf({ registry, repository: rest.join('/') }, read(env)).map(
      (place) => `${place.registry}/${place.repository} ${place.pulls}`,
    );
  };

  it('daemon.json gives mirrors of Docker Hub, and hosts that need no certificate', () => {
    put(
      '.config/docker/daemon.json',
      JSON.stringify({
        'registry-mirrors': ['https://mirror.example/', 'http://10.0.0.1:5000/hub'],
        'insecure-registries': ['plain.example:5000', '10.1.0.0/16'],
        other: 1,
      }),
    );
    expect(places('docker.io/library/debian')).toEqual([
      'mirror.example/library/debian all',
      '10.0.0.1:5000/hub/library/debian all',
      'docker.io/library/debian all',
    ]);
    expect(places('else.example/x')).toEqual(['else.example/x all']);
    const { insecure } = read();
    expect(
      [
        'plain.example:5000',
        'plain.example:5001',
        'plain.example',
        '10.1.2.3:80',
        '10.2.0.1',
        '10.0.0.1:5000',
        'mirror.example',
      ].filter((host) => isInsecureHost(host, insecure)),
    ).toEqual(['plain.example:5000', '10.1.2.3:80', '10.0.0.1:5000']);
  });

  it('registries.conf moves, mirrors and blocks by the longest prefix', () => {
    const file = put(
      'registries.conf',
      `
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "reg.example"
[[registry]]
prefix = "reg.example/team"
location = "inner.example:5000/moved"
insecure = true
[[registry.mirror]]
location = "near.example/team"
[[registry.mirror]]
location = "digests.example/team"
pull-from-mirror = "digest-only"
insecure = true
[[registry]]
prefix = "*.blocked.example"
blocked = true
`,
    );
    const env = { CONTAINERS_REGISTRIES_CONF: file };
    expect(places('reg.example/team/app', env)).toEqual([
      'near.example/team/app all',
      'digests.example/team/app digest-only',
      'inner.example:5000/moved/app all',
    ]);
    expect(places('reg.example/teams/app', env)).toEqual(['reg.example/teams/app all']);
    expect(() => places('a.blocked.example:5000/app', env)).toThrow(/blocked/);
    expect(places('blocked.example/app', env)).toEqual(['blocked.example/app all']);
    expect(read(env).insecure).toEqual(
      expect.arrayContaining(['inner.example:5000', 'digests.example']),
    );
  });

  it.each([
    ['registries.conf', '[[registry]\n', /registries\.conf is not valid: line 1/],
    ['.config/docker/daemon.json', '{', /daemon\.json cannot be used: it is not valid JSON/],
  ])('a broken %s is named', (name, text, message) => {
    const file = put(name, text);
    expect(() =>
      read(name === 'registries.conf' ? { CONTAINERS_REGISTRIES_CONF: file } : {}),
    ).toThrow(message);
  });
});
