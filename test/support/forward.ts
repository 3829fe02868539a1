import { createServer as createHttpServer } from 'node:http';
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

/** Passes connections on to `host:port` and counts what is sent; with `tls` it speaks TLS to the client. */
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

/** An http proxy with tunnels (CONNECT), which takes every host to be `target`. */
export async function startProxy(target: string, credentials?: string): Promise<Forward> {
  const sockets = new Set<Socket>();
  const asked: string[] = [];
  let bytes = 0;
  const server = createHttpServer((_request, response) => void response.writeHead(405).end());
  server.on('connect', (request, client: Socket, head: Buffer) => {
    if (
      credentials !== undefined &&
      request.headers['proxy-authorization'] !==
        `Basic ${Buffer.from(credentials).toString('base64')}`
    ) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      return;
    }
    asked.push(request.url ?? '');
    const [host, port] = target.split(':');
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
