import { once } from 'node:events';
import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingMessage,
} from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';

/** Something between a client and a server. */
export interface Forward {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** Bytes that clients sent. */
  sent(): number;
  /** Hosts that were asked for, when this is a proxy. */
  readonly asked: string[];
  close(): Promise<void>;
}

/**
 * Passes connections on to `host:port` and counts what is sent; with `tls` it speaks TLS to the
 * client.
 */
export async function startForward(target: string, tls?: TlsOptions): Promise<Forward> {
  const sockets = new Set<Socket>();
  let bytes = 0;
  const pass = (client: Socket): void => {
    const [host, port] = target.split(':');
    join(client, connect(Number(port), host), sockets);
    client.on('data', (data: Buffer) => (bytes += data.length));
  };
  return listening(
    tls === undefined ? createServer(pass) : createTlsServer(tls, pass),
    sockets,
    () => bytes,
    [],
  );
}

/**
 * An http proxy, for plain requests and with tunnels (CONNECT), which takes every host to be
 * `target`.
 */
export async function startProxy(target: string, credentials?: string): Promise<Forward> {
  const sockets = new Set<Socket>();
  const asked: string[] = [];
  let bytes = 0;
  const expected = `Basic ${Buffer.from(credentials ?? '').toString('base64')}`;
  const isRefused = ({ headers }: IncomingMessage): boolean =>
    credentials !== undefined && headers['proxy-authorization'] !== expected;
  const [host = '', port] = target.split(':');
  const server = createHttpServer((request, response) => {
    if (isRefused(request)) return void response.writeHead(407).end();
    const url = new URL(request.url ?? '');
    asked.push(url.host);
    request.on('data', (data: Buffer) => (bytes += data.length));
    const { method, headers } = request;
    const options = { host, port, method, path: url.pathname + url.search, headers };
    const upstream = httpRequest(options, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    request.pipe(upstream);
    return undefined;
  });
  server.on('connect', (request, client: Socket, head: Buffer) => {
    if (isRefused(request)) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    asked.push(request.url ?? '');
    const upstream = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      upstream.write(head);
      join(client, upstream, sockets);
    });
    upstream.on('error', () => client.destroy());
    client.on('data', (data: Buffer) => (bytes += data.length));
  });
  return listening(server, sockets, () => bytes, asked);
}

/** A SOCKS 5 proxy (RFC 1928, RFC 1929), which takes every name to be `target`. */
export async function startSocks(target: string, credentials?: string): Promise<Forward> {
  const sockets = new Set<Socket>();
  const asked: string[] = [];
  const [host = '', port] = target.split(':');
  const serve = async (client: Socket): Promise<void> => {
    const method = credentials === undefined ? 0 : 2;
    const [, count = 0] = await take(client, 2);
    if (!(await take(client, count)).includes(method))
      return void client.end(Buffer.from([5, 0xff]));
    client.write(Buffer.from([5, method]));
    if (credentials !== undefined) {
      const [, length = 0] = await take(client, 2);
      const user = (await take(client, length)).toString();
      const [size = 0] = await take(client, 1);
      const isRight = `${user}:${(await take(client, size)).toString()}` === credentials;
      client.write(Buffer.from([1, isRight ? 0 : 1]));
      if (!isRight) return void client.end();
    }
    const [, , , kind, length = 0] = await take(client, 5);
    const name = (await take(client, length)).toString();
    asked.push(`${kind}:${name}:${(await take(client, 2)).readUInt16BE()}`);
    const upstream = connect(Number(port), host, () => {
      client.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
      join(client, upstream, sockets);
    });
    return undefined;
  };
  return listening(
    createServer((client) => void serve(client).catch(() => client.destroy())),
    sockets,
    () => 0,
    asked,
  );
}

async function take(socket: Socket, length: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(length) as Buffer | null;
    if (bytes !== null) return bytes;
    await once(socket, 'readable');
  }
}

function join(client: Socket, upstream: Socket, sockets: Set<Socket>): void {
  for (const [one, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    sockets.add(one);
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
    one.pipe(other);
  }
}

async function listening(
  server: Server,
  sockets: ReadonlySet<Socket>,
  sent: () => number,
  asked: string[],
): Promise<Forward> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    sent,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
