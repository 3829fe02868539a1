import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findCredentials } from '../../src/registry/credentials';
import { eraseCredentials, saveCredentials } from '../../src/registry/login';

describe('keeping credentials', () => {
  let home: string;
  beforeEach(() => (home = mkdtempSync(path.join(tmpdir(), 'mbuild-home-'))));
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const user = { username: 'me', password: 'a:b c' };
  const at = (name: string): string => path.join(home, name);
  const json = (name: string): Record<string, unknown> =>
    JSON.parse(readFileSync(at(name), 'utf8')) as Record<string, unknown>;
  const found = (registry: string, env: Record<string, string> = {}) =>
    findCredentials({ registry, repository: 'x' }, { env: { HOME: home, ...env } });

  it.each([
    ['reg.example:5000', 'reg.example:5000'],
    ['docker.io', 'https://index.docker.io/v1/'],
  ])('of %s in config.json, which nobody else can read', async (registry, key) => {
    mkdirSync(at('.docker'));
    writeFileSync(
      at('.docker/config.json'),
      JSON.stringify({ proxies: { default: {} }, auths: { other: { auth: 'eDp5' } } }),
    );
    expect(await saveCredentials(registry, user, { env: { HOME: home } })).toEqual({
      kind: 'file',
      path: at('.docker/config.json'),
    });
    expect(json('.docker/config.json')).toEqual({
      proxies: { default: {} },
      auths: {
        other: { auth: 'eDp5' },
        [key]: { auth: Buffer.from('me:a:b c').toString('base64') },
      },
    });
    expect(statSync(at('.docker/config.json')).mode & 0o777).toBe(0o600);
    expect(await found(registry)).toEqual({ kind: 'password', ...user });
    expect(await eraseCredentials(registry, { env: { HOME: home } })).toBe(true);
    expect(await eraseCredentials(registry, { env: { HOME: home } })).toBe(false);
    expect(json('.docker/config.json').auths).toEqual({ other: { auth: 'eDp5' } });
  });

  it.each([
    ['DOCKER_CONFIG', 'dc', 'dc/config.json'],
    ['REGISTRY_AUTH_FILE', 'auth.json', 'auth.json'],
  ])('where %s says', async (name, value, file) => {
    await saveCredentials('reg.example', user, { env: { HOME: home, [name]: at(value) } });
    expect(Object.keys(json(file).auths as object)).toEqual(['reg.example']);
  });

  it('leaves a symlink what it is', async () => {
    mkdirSync(at('.docker'));
    writeFileSync(at('real.json'), '{}');
    symlinkSync('../real.json', at('.docker/config.json'));
    await saveCredentials('reg.example', user, { env: { HOME: home } });
    expect(Object.keys(json('real.json').auths as object)).toEqual(['reg.example']);
  });

  describe('with a credential helper', () => {
    const helper = (): Record<string, string> => {
      mkdirSync(at('bin'));
      writeFileSync(
        at('bin/docker-credential-test'),
        '#!/bin/sh\ncase $1 in store) cat > "$STORE";; get) cat >/dev/null; cat "$STORE" 2>/dev/null || { echo "credentials not found"; exit 1; };; erase) cat >/dev/null; rm "$STORE";; esac\n',
      );
      chmodSync(at('bin/docker-credential-test'), 0o755);
      return { PATH: `${at('bin')}:${process.env.PATH ?? ''}`, STORE: at('secret') };
    };

    it.each([
      [{ credsStore: 'test' }],
      [{ credHelpers: { 'reg.example': 'test' }, credsStore: 'nosuch' }],
    ])('%j has them, and the file only the name', async (config) => {
      const env = { HOME: home, ...helper() };
      mkdirSync(at('.docker'));
      writeFileSync(at('.docker/config.json'), JSON.stringify(config));
      expect(await saveCredentials('reg.example', user, { env })).toEqual({
        kind: 'helper',
        name: 'test',
      });
      expect(json('secret')).toEqual({ ServerURL: 'reg.example', Username: 'me', Secret: 'a:b c' });
      expect(json('.docker/config.json').auths).toEqual({ 'reg.example': {} });
      expect(await found('reg.example', env)).toEqual({ kind: 'password', ...user });
      expect(await eraseCredentials('reg.example', { env })).toBe(true);
      expect(await found('reg.example', env)).toBeUndefined();
    });

    it('that fails is named without the secret', async () => {
      const env = { HOME: home, ...helper() };
      mkdirSync(at('.docker'));
      writeFileSync(at('.docker/config.json'), '{"credsStore":"missing"}');
      await expect(saveCredentials('reg.example', user, { env })).rejects.toMatchObject({
        code: 'REGISTRY_DENIED',
        message: expect.not.stringContaining('a:b c'),
      });
    });
  });
});
