import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { proxyFor } from '../../src/registry/proxy';
import { Transport, readBody } from '../../src/registry/transport';
import { startProxy, startSocks, type Forward } from '../support/forward';
import { OddRegistry } from '../support/odd-registry';
import { makeCertificate } from '../support/registry';

const signal = new AbortController().signal;

describe('the proxy of a request', () => {
  const P = 'http://proxy:3128';
  it.each<[Record<string, string>, string, string | undefined]>([
    [{ HTTP_PROXY: P }, 'http://a.example/', `${P}/`],
    [{ HTTP_PROXY: P }, 'https://a.example/', undefined],
    [{ HTTPS_PROXY: P }, 'https://a.example/', `${P}/`],
    [{ https_proxy: P }, 'https://a.example/', `${P}/`],
    [{ HTTPS_PROXY: P, https_proxy: 'http://other' }, 'https://a.example/', `${P}/`],
    [{ HTTPS_PROXY: '', https_proxy: P }, 'https://a.example/', `${P}/`],
    [{ ALL_PROXY: P }, 'https://a.example/', `${P}/`],
    [{ HTTP_PROXY: 'proxy:3128' }, 'http://a.example/', `${P}/`],
    [{ HTTP_PROXY: '10.0.0.1:3128' }, 'http://a.example/', 'http://10.0.0.1:3128/'],
    [{ HTTPS_PROXY: 'socks5://proxy:1080' }, 'https://a.example/', 'socks5://proxy:1080'],
    [{ HTTP_PROXY: P }, 'http://localhost:5000/', undefined],
    [{ HTTP_PROXY: P }, 'http://127.9.0.1/', undefined],
    [{ HTTP_PROXY: P }, 'http://[::1]:5000/', undefined],
  ])('%j, %s: %s', (env, url, proxy) => {
    expect(proxyFor(new URL(url), env)?.href).toBe(proxy);
  });

  it.each([
    ['*', 'http://a.example/', false],
    ['a.example', 'http://a.example/', false],
    ['a.example', 'http://sub.a.example/', false],
    ['a.example', 'http://ba.example/', true],
    ['.a.example', 'http://sub.a.example/', false],
    ['.a.example', 'http://a.example/', true],
    ['*.a.example', 'http://sub.a.example/', false],
    ['*.a.example', 'http://a.example/', true],
    ['A.Example', 'http://a.example/', false],
    ['a.example:8080', 'http://a.example:8080/', false],
    ['a.example:8080', 'http://a.example/', true],
    ['a.example:80', 'http://a.example/', false],
    ['x, a.example ,y', 'http://a.example/', false],
    ['10.0.0.0/8', 'http://10.1.2.3/', false],
    ['10.0.0.0/8', 'http://11.1.2.3/', true],
    ['10.1.2.3', 'http://10.1.2.3:5000/', false],
    ['10.1.2.3:5000', 'http://10.1.2.3:5000/', false],
    ['10.1.2.3:5001', 'http://10.1.2.3:5000/', true],
    ['fd00::/8', 'http://[fd00::1]/', false],
    ['[fd00::1]:80', 'http://[fd00::1]/', false],
    ['fd00::1', 'http://[fd00:0::1]/', false],
    ['', 'http://a.example/', true],
    [',,', 'http://a.example/', true],
  ])('NO_PROXY=%s, %s: %s', (NO_PROXY, url, isProxied) => {
    const env = { HTTP_PROXY: P, NO_PROXY };
    expect(proxyFor(new URL(url), env) !== undefined).toBe(isProxied);
  });

  it.each(['ftp://proxy', 'http://', 'http://a b'])('%s is refused', (HTTP_PROXY) => {
    expect(() => proxyFor(new URL('http://a.example/'), { HTTP_PROXY })).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining('HTTP_PROXY') }),
    );
  });
});

describe('a request through a proxy', () => {
  const open: { close(): Promise<void> }[] = [];
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'mbuild-proxy-'));
  });
  afterEach(async () => {
    for (const item of open.splice(0)) await item.close();
    rmSync(root, { recursive: true, force: true });
  });

  async function opened(forward: Promise<Forward>): Promise<Forward> {
    const made = await forward;
    open.push(made);
    return made;
  }

  async function ask(url: string, env: Record<string, string>): Promise<string> {
    const transport = new Transport({ env, insecure: [], certFolders: [] });
    open.push(transport);
    const response = await transport.send({ method: 'GET', url: new URL(url), signal });
    return `${response.status} ${(await readBody(response, 1000)).toString()}`;
  }

  async function plainServer(): Promise<string> {
    const registry = await OddRegistry.start();
    open.push(registry);
    return registry.host;
  }

  /** A server for localhost, which the proxies take every name to be. */
  async function secureServer(): Promise<{ readonly host: string; readonly ca: string }> {
    const { key, cert, ca } = makeCertificate(root, 'registry.test');
    const read = (file: string): string => readFileSync(file, 'utf8');
    const server = createServer({ key: read(key), cert: read(cert) }, (_, response) =>
      response.end('secure'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    open.push({
      close: () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    });
    return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, ca };
  }

  it.each([
    ['without a user', undefined],
    ['with a user', 'me:se cret'],
  ])('is handed over as it is when it is plain, %s', async (_, credentials) => {
    const proxy = await opened(startProxy(await plainServer(), credentials));
    const user = credentials === undefined ? '' : 'me:se%20cret@';
    const HTTP_PROXY = `http://${user}${proxy.host}`;
    await expect(ask('http://registry.test/v2/', { HTTP_PROXY })).resolves.toBe('200 {}');
    expect(proxy.asked).toEqual(['registry.test']);
  });

  it.each([
    ['http', undefined],
    ['http', 'me:secret'],
    ['socks5', undefined],
    ['socks5', 'me:secret'],
  ])('goes through a tunnel when it is encrypted: %s, %s', async (scheme, credentials) => {
    const { host, ca } = await secureServer();
    const start = scheme === 'http' ? startProxy : startSocks;
    const proxy = await opened(start(host, credentials));
    const user = credentials === undefined ? '' : `${credentials}@`;
    const env = { HTTPS_PROXY: `${scheme}://${user}${proxy.host}`, SSL_CERT_FILE: ca };
    await expect(ask('https://registry.test/', env)).resolves.toBe('200 secure');
    // SOCKS is told the name, kind 3.
    expect(proxy.asked).toEqual([scheme === 'http' ? 'registry.test:443' : '3:registry.test:443']);
  });

  it('goes through a SOCKS proxy when it is plain', async () => {
    const proxy = await opened(startSocks(await plainServer()));
    const env = { HTTP_PROXY: `socks5://${proxy.host}` };
    await expect(ask('http://registry.test/v2/', env)).resolves.toBe('200 {}');
  });

  it.each(['http', 'socks5'])('checks whom the tunnel leads to: %s', async (scheme) => {
    const { host, ca } = await secureServer();
    const proxy = await opened((scheme === 'http' ? startProxy : startSocks)(host));
    const env = { HTTPS_PROXY: `${scheme}://${proxy.host}`, SSL_CERT_FILE: ca };
    await expect(ask('https://other.test/', env)).rejects.toMatchObject({ code: 'TLS_FAILED' });
  });

  it.each([
    ['https://registry.test/', 'http'],
    ['http://registry.test/', 'http'],
    ['https://registry.test/', 'socks5'],
  ])('says that the proxy wants a user: %s by %s', async (url, scheme) => {
    const start = scheme === 'http' ? startProxy : startSocks;
    const proxy = await opened(start('127.0.0.1:1', 'me:secret'));
    const address = `${scheme}://${proxy.host}`;
    await expect(ask(url, { HTTP_PROXY: address, HTTPS_PROXY: address })).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining(proxy.host),
    });
  });

  it('says that the proxy does not answer', async () => {
    const HTTPS_PROXY = 'socks5://127.0.0.1:1';
    await expect(ask('https://registry.test/', { HTTPS_PROXY })).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
    });
  });
});
