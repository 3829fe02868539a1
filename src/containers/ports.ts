import { createServer } from 'node:net';
import type { PortMapping } from './container';

/** The mappings with a free port of the host where none was asked for. */
export async function publishedPorts(
  requests: readonly (Omit<PortMapping, 'hostPort'> & { readonly hostPort?: number | undefined })[],
): Promise<PortMapping[]> {
  const ports: PortMapping[] = [];
  for (const request of requests)
    ports.push({ ...request, hostPort: request.hostPort ?? (await freePort()) });
  return ports;
}

/**
 * A port that nobody listens on at this moment; the kernel does not give the same one again soon.
 */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, () => {
      const address = server.address();
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });
}
