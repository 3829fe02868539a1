import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A registry seen through something that takes down what is asked of it. */
export interface WatchedRegistry {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** `METHOD path` of every request, in order. */
  readonly seen: string[];
  /** Bytes of the bodies of its answers so far. */
  readonly sent: () => number;
  /** Answers 404 to what it picks. */
  hide: (method: string, path: string) => boolean;
  close(): Promise<void>;
}

/** Passes requests on to the registry at `host:port`. */
export async function watchRegistry(target: string): Promise<WatchedRegistry> {
  const [host, port] = target.split(':');
  const seen: string[] = [];
  let sent = 0;
  const server = createServer((incoming, response) => {
    const [method, path] = [incoming.method ?? '', incoming.url ?? ''];
    seen.push(`${method} ${path}`);
    if (watched.hide(method, path)) {
      response
        .writeHead(404, { 'content-type': 'application/json' })
        .end('{"errors":[{"code":"BLOB_UNKNOWN"}]}');
      return;
    }
    const passed = request({ host, port, method, path, headers: incoming.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('data', (chunk: Buffer) => (sent += chunk.length));
      answer.pipe(response);
    });
    passed.on('error', () => response.destroy());
    incoming.pipe(passed);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const watched: WatchedRegistry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    sent: () => sent,
    hide: () => false,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return watched;
}
