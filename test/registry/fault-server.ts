import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { digestOf, type Digest } from '../../src/oci/digest';
import { MediaType } from '../../src/oci/media-types';

/** One request as the server saw it. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly authorization?: string | undefined;
  readonly range?: string | undefined;
}

/** A handler that answers a request itself returns true. */
export type Fault = (
  request: IncomingMessage,
  response: ServerResponse,
  seen: readonly Seen[],
) => boolean;

/** A registry of one's own making, which can be told to fail. */
export interface FaultServer {
  readonly host: string;
  readonly seen: Seen[];
  blobs: Map<string, Buffer>;
  manifests: Map<string, Buffer>;
  fault: Fault | undefined;
  close(): Promise<void>;
}

export async function startFaultServer(): Promise<FaultServer> {
  const server = createServer((request, response) => {
    const seen: Seen = {
      method: request.method ?? '',
      url: request.url ?? '',
      authorization: request.headers.authorization,
      range: request.headers.range,
    };
    self.seen.push(seen);
    request.resume();
    if (self.fault?.(request, response, self.seen) === true) return;
    serve(self, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const self: FaultServer = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    blobs: new Map(),
    manifests: new Map(),
    fault: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return self;
}

/** Puts an image of the given layer blobs into the server. */
export function serveImage(
  server: FaultServer,
  tag: string,
  layers: readonly { blob: Buffer; diffId: Digest; mediaType?: string }[],
  platform = { os: 'linux', architecture: 'amd64' },
): { manifest: Digest; config: Digest; size: number } {
  const config = Buffer.from(
    JSON.stringify({
      ...platform,
      config: {},
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MediaType.ociManifest,
      config: { mediaType: MediaType.ociConfig, digest: digestOf(config), size: config.length },
      layers: layers.map(({ blob, mediaType }) => ({
        mediaType: mediaType ?? MediaType.ociLayerGzip,
        digest: digestOf(blob),
        size: blob.length,
      })),
    }),
  );
  for (const bytes of [config, ...layers.map((layer) => layer.blob)])
    server.blobs.set(digestOf(bytes), bytes);
  server.manifests.set(tag, manifest);
  server.manifests.set(digestOf(manifest), manifest);
  return { manifest: digestOf(manifest), config: digestOf(config), size: manifest.length };
}

function serve(self: FaultServer, request: IncomingMessage, response: ServerResponse): void {
  const [, kind, name = ''] =
    /^\/v2\/[^?]*?\/?(manifests|blobs|tags)\/([^?]*)/.exec(request.url ?? '') ?? [];
  if (request.url === '/v2/') return void response.writeHead(200).end('{}');
  if (kind === 'tags')
    return void response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(
        JSON.stringify({ tags: [...self.manifests.keys()].filter((key) => !key.includes(':')) }),
      );
  const bytes =
    kind === 'manifests'
      ? self.manifests.get(name)
      : kind === 'blobs'
        ? self.blobs.get(name)
        : undefined;
  if (bytes === undefined)
    return void response
      .writeHead(404, { 'content-type': 'application/json' })
      .end('{"errors":[{"code":"NOT_FOUND"}]}');
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const type =
    kind === 'manifests'
      ? (JSON.parse(bytes.toString('utf8')) as { mediaType: string }).mediaType
      : 'application/octet-stream';
  response.writeHead(start > 0 ? 206 : 200, {
    'content-type': type,
    'content-length': bytes.length - start,
    ...(kind === 'manifests' ? { 'docker-content-digest': digestOf(bytes) } : {}),
    ...(start > 0 ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(start));
}
