import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import type { ConnectionOptions } from 'node:tls';
import { MbuildError } from '../diagnostics/error';
import { hostnameOf } from './proxy';

/** A server behind a proxy. */
export interface Destination {
  readonly hostname: string;
  readonly port: number;
}

const CONNECT_MS = 30_000;
/** RFC 1928. */
const SOCKS_VERSION = 5;
const NO_AUTHENTICATION = 0;
const USER_AND_PASSWORD = 2;
const SOCKS_REFUSALS: Readonly<Record<number, string>> = {
  1: 'it failed',
  2: 'its rules do not allow it',
  3: 'the network cannot be reached',
  4: 'the host cannot be reached',
  5: 'the host refuses the connection',
  6: 'it took too long',
};

/**
 * A connection to a server through a proxy, on which TLS or http can be spoken: http and https
 * proxies by CONNECT (RFC 9110, 9.3.6), SOCKS 5 proxies, which are told the server's name and look
 * it up themselves.
 * @throws MbuildError REGISTRY_UNREACHABLE, and errors of the connection to the proxy.
 */
export function openTunnel(
  proxy: URL,
  destination: Destination,
  tls: ConnectionOptions,
): Promise<Socket> {
  return proxy.protocol.startsWith('socks5')
    ? openSocks(proxy, destination)
    : openConnect(proxy, destination, tls);
}

/** The header that a proxy's user and password go in. */
export function proxyAuthorization(proxy: URL): Readonly<Record<string, string>> {
  if (proxy.username === '') return {};
  const { user, password } = userOf(proxy);
  const encoded = Buffer.from(`${user}:${password}`).toString('base64');
  return { 'proxy-authorization': `Basic ${encoded}` };
}

function openConnect(
  proxy: URL,
  { hostname, port }: Destination,
  tls: ConnectionOptions,
): Promise<Socket> {
  const place = `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`;
  const isSecure = proxy.protocol === 'https:';
  const options = {
    host: hostnameOf(proxy.host),
    port: proxy.port || (isSecure ? 443 : 80),
    method: 'CONNECT',
    path: place,
    headers: { host: place, ...proxyAuthorization(proxy) },
    timeout: CONNECT_MS,
    agent: false as const,
  };
  return new Promise((resolve, reject) => {
    const asked = isSecure ? httpsRequest({ ...tls, ...options }) : httpRequest(options);
    asked.once('connect', ({ statusCode = 0 }, socket: Socket) => {
      socket.setTimeout(0);
      if (statusCode >= 200 && statusCode < 300) return resolve(socket);
      socket.destroy();
      reject(refused(proxy, place, describeStatus(statusCode)));
    });
    asked.once('response', (response) => {
      response.destroy();
      reject(refused(proxy, place, describeStatus(response.statusCode ?? 0)));
    });
    asked.once('timeout', () => asked.destroy(refused(proxy, place, 'it does not answer')));
    asked.once('error', reject);
    asked.end();
  });
}

function describeStatus(status: number): string {
  return status === 407 ? 'it asks for a user and password' : `it answers with status ${status}`;
}

async function openSocks(proxy: URL, { hostname, port }: Destination): Promise<Socket> {
  const socket = connect({ host: hostnameOf(proxy.host), port: Number(proxy.port || 1080) });
  const place = `${hostname}:${port}`;
  const timer = setTimeout(
    () => socket.destroy(refused(proxy, place, 'it does not answer')),
    CONNECT_MS,
  );
  try {
    await once(socket, 'connect');
    const read = reader(socket);
    await authenticate(proxy, socket, read);
    const name = Buffer.from(hostname);
    // CONNECT to a name.
    socket.write(
      Buffer.from([SOCKS_VERSION, 1, 0, 3, name.length, ...name, port >> 8, port & 255]),
    );
    const [, status = 1, , kind = 1] = await read(4);
    if (status !== 0)
      throw refused(proxy, place, SOCKS_REFUSALS[status] ?? `it answers with ${status}`);
    const [length = 0] = kind === 3 ? await read(1) : [kind === 4 ? 16 : 4];
    await read(length + 2);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** RFC 1928, 3; RFC 1929. */
async function authenticate(
  proxy: URL,
  socket: Socket,
  read: (length: number) => Promise<Buffer>,
): Promise<void> {
  const { user, password } = userOf(proxy);
  const methods = user === '' ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, USER_AND_PASSWORD];
  socket.write(Buffer.from([SOCKS_VERSION, methods.length, ...methods]));
  const [version, method] = await read(2);
  if (version !== SOCKS_VERSION) throw refused(proxy, '', 'it does not speak SOCKS 5');
  if (method === NO_AUTHENTICATION) return;
  if (method !== USER_AND_PASSWORD || user === '')
    throw refused(proxy, '', 'it asks for a user and password');
  const [name, secret] = [Buffer.from(user), Buffer.from(password)];
  socket.write(Buffer.from([1, name.length, ...name, secret.length, ...secret]));
  const [, status] = await read(2);
  if (status !== 0) throw refused(proxy, '', 'it does not take the user and password');
}

/** Reads so many bytes and no more: what comes behind them is the server's. */
function reader(socket: Socket): (length: number) => Promise<Buffer> {
  return async (length) => {
    for (;;) {
      const bytes = socket.read(length) as Buffer | null;
      if (bytes !== null && bytes.length === length) return bytes;
      if (socket.readableEnded || socket.destroyed) throw new Error('the proxy hung up');
      await Promise.race([once(socket, 'readable'), once(socket, 'close')]);
      if (socket.destroyed && socket.readableLength < length) throw new Error('the proxy hung up');
    }
  };
}

function userOf(proxy: URL): { readonly user: string; readonly password: string } {
  return {
    user: decodeURIComponent(proxy.username),
    password: decodeURIComponent(proxy.password),
  };
}

function refused(proxy: URL, place: string, why: string): MbuildError {
  const what = place === '' ? 'cannot be used' : `does not lead to ${place}`;
  return new MbuildError('REGISTRY_UNREACHABLE', `the proxy ${proxy.host} ${what}: ${why}`, {
    hint: 'check the proxy settings: HTTPS_PROXY, HTTP_PROXY and NO_PROXY',
  });
}
