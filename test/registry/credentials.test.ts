import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseChallenge, parseToken } from '../../src/registry/auth';
import { findCredentials } from '../../src/registry/credentials';

let home: string;
beforeEach(() => (home = mkdtempSync(path.join(tmpdir(), 'mbuild-home-'))));
afterEach(() => rmSync(home, { recursive: true, force: true }));

const REPOSITORY = { registry: 'reg.example:5000', repository: 'team/app' };
const auth = (user: string): { auth: string } => ({
  auth: Buffer.from(`${user}:secret`).toString('base64'),
});

function put(name: string, content: unknown): string {
  const file = path.join(home, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

async function userOf(
  repository = REPOSITORY,
  env: Record<string, string> = {},
  authFile?: string,
): Promise<string | undefined> {
  const found = await findCredentials(repository, { env: { HOME: home, ...env }, authFile });
  return found?.kind === 'password' ? found.username : found?.token;
}

describe('credentials', () => {
  it('come from the first file that has some, in the documented order', async () => {
    put('.docker/config.json', { auths: { 'reg.example:5000': auth('home') } });
    expect(await userOf()).toBe('home');
    put('dc/config.json', { auths: { 'reg.example:5000': auth('docker-config') } });
    const env: Record<string, string> = { DOCKER_CONFIG: path.join(home, 'dc') };
    expect(await userOf(REPOSITORY, env)).toBe('docker-config');
    put('run/containers/auth.json', { auths: { 'reg.example:5000': auth('runtime') } });
    env.XDG_RUNTIME_DIR = path.join(home, 'run');
    expect(await userOf(REPOSITORY, env)).toBe('runtime');
    env.REGISTRY_AUTH_FILE = put('ra.json', {
      auths: { 'reg.example:5000': auth('registry-auth-file') },
    });
    expect(await userOf(REPOSITORY, env)).toBe('registry-auth-file');
    expect(
      await userOf(
        REPOSITORY,
        env,
        put('flag.json', { auths: { 'reg.example:5000': auth('flag') } }),
      ),
    ).toBe('flag');
    expect(await userOf(REPOSITORY, env, put('empty.json', {}))).toBeUndefined();
  });

  it.each([
    ['https://reg.example:5000/v2/', 'user'],
    ['reg.example:5000/team', 'user'],
    ['reg.example:5000/team/app', 'user'],
    ['reg.example:5000/tea', undefined],
    ['reg.example', undefined],
    ['evil-reg.example:5000', undefined],
    ['reg.example:5000.evil.example', undefined],
  ])('filed under %s give %s', async (key, expected) => {
    put('.docker/config.json', { auths: { [key]: auth('user') } });
    expect(await userOf()).toBe(expected);
  });

  it('of Docker Hub are filed under its old address', async () => {
    put('.docker/config.json', { auths: { 'https://index.docker.io/v1/': auth('hub') } });
    expect(await userOf({ registry: 'docker.io', repository: 'library/debian' })).toBe('hub');
  });

  it('of the most specific path win', async () => {
    put('.docker/config.json', {
      auths: { 'reg.example:5000': auth('host'), 'reg.example:5000/team': auth('team') },
    });
    expect(await userOf()).toBe('team');
  });

  it('may be identity tokens', async () => {
    put('.docker/config.json', { auths: { 'reg.example:5000': { identitytoken: 'idtoken' } } });
    expect(await userOf()).toBe('idtoken');
  });

  describe('of helpers', () => {
    const withPath = (): Record<string, string> => ({
      PATH: `${path.join(home, 'bin')}:${process.env.PATH ?? ''}`,
    });
    const helper = (name: string, script: string): void => {
      const file = put(`bin/docker-credential-${name}`, `#!/bin/sh\n${script}\n`);
      chmodSync(file, 0o755);
    };

    it("are asked for the server on standard input, the host's own helper first", async () => {
      helper(
        'own',
        'read server; [ "$1" = get ] && [ "$server" = reg.example:5000 ] && echo \'{"Username":"own","Secret":"s"}\'',
      );
      helper('all', 'echo \'{"Username":"all","Secret":"s"}\'');
      put('.docker/config.json', {
        credHelpers: { 'reg.example:5000': 'own' },
        credsStore: 'all',
        auths: { 'reg.example:5000': auth('file') },
      });
      expect(await userOf(REPOSITORY, withPath())).toBe('own');
      expect(await userOf({ registry: 'other.example', repository: 'a' }, withPath())).toBe('all');
    });

    it('that have none leave it to the file', async () => {
      helper('none', 'echo "credentials not found in native keychain"; exit 1');
      put('.docker/config.json', {
        credsStore: 'none',
        auths: { 'reg.example:5000': auth('file') },
      });
      expect(await userOf(REPOSITORY, withPath())).toBe('file');
    });

    it.each([
      ['fails', 'broken', 'echo "locked" >&2; exit 1', 'broken'],
      ['answers with something else', 'odd', 'echo my-secret', 'odd'],
      ['is not installed', 'missing', undefined, 'not installed'],
    ])('one that %s is an error that shows no secret', async (_, name, script, message) => {
      if (script !== undefined) helper(name, script);
      put('.docker/config.json', { credsStore: name });
      await expect(userOf(REPOSITORY, withPath())).rejects.toMatchObject({
        code: 'REGISTRY_DENIED',
        message: expect.stringContaining(message),
      });
      await expect(userOf(REPOSITORY, withPath())).rejects.toMatchObject({
        message: expect.not.stringContaining('my-secret'),
      });
    });
  });

  it('in a broken file are an error that names it', async () => {
    const file = put('.docker/config.json', '{');
    await expect(userOf()).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(file),
    });
  });
});

describe('a challenge', () => {
  it.each([
    ['Basic realm="x"', { scheme: 'basic' }],
    [
      'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"',
      {
        scheme: 'bearer',
        realm: 'https://a/token',
        service: 's',
        scope: 'repository:a/b:pull,push',
      },
    ],
    [
      'bearer realm=https://a/token',
      { scheme: 'bearer', realm: 'https://a/token', service: undefined, scope: undefined },
    ],
    [
      'Basic realm="x", Bearer realm="https://a/t"',
      { scheme: 'bearer', realm: 'https://a/t', service: undefined, scope: undefined },
    ],
    ['Negotiate', undefined],
    [undefined, undefined],
  ])('%s reads as %j', (header, expected) => {
    expect(parseChallenge(header)).toEqual(expected);
  });
});

describe('a token', () => {
  it.each([
    ['{"token":"a","expires_in":100}', { value: 'a', expires: 90_000 }],
    ['{"access_token":"b"}', { value: 'b', expires: 50_000 }],
    ['{"token":""}', undefined],
    ['{"token":"","access_token":"c"}', { value: 'c', expires: 50_000 }],
    ['{"token":null,"access_token":"c","expires_in":"300"}', { value: 'c', expires: 290_000 }],
    ['{"token":"a\\r\\nx: 1"}', undefined],
    ['{"token":7}', undefined],
    ['null', undefined],
    ['<html>', undefined],
  ])('%s reads as %j', (text, expected) => {
    expect(parseToken(Buffer.from(text), 0)).toEqual(expected);
  });
});
