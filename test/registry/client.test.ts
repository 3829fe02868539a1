import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LocalContentStore } from '../../src/content/local-store';
import { digestOf } from '../../src/oci/digest';
import type { Reference } from '../../src/oci/reference';
import { RegistryClient, type RegistryOptions } from '../../src/registry/client';
import { blobsIn, downloadBlob } from '../../src/registry/download';
import { serveImage, startFaultServer, type FaultServer } from './fault-server';

const signal = new AbortController().signal;
const BLOB = randomBytes(300_000);
const LAYER = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: digestOf(BLOB),
  size: BLOB.length,
};

let server: FaultServer;
let root: string;
let content: LocalContentStore;
const clients: RegistryClient[] = [];

beforeEach(async () => {
  server = await startFaultServer();
  serveImage(server, '1', [{ blob: BLOB, diffId: digestOf(BLOB), mediaType: LAYER.mediaType }]);
  root = mkdtempSync(path.join(tmpdir(), 'mbuild-client-'));
  content = new LocalContentStore(root);
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await server.close();
  rmSync(root, { recursive: true, force: true });
});

function client(options: RegistryOptions = {}): RegistryClient {
  const made = new RegistryClient({ pauseMs: 1, env: { HOME: root }, ...options });
  clients.push(made);
  return made;
}

function ref(tag = '1'): Reference {
  return { registry: server.host, repository: 'team/app', tag };
}

function download(made = client()): Promise<void> {
  return downloadBlob(LAYER, blobsIn(ref(), made), {
    content,
    signal,
    patience: { attempts: 3, pauseMs: 1 },
  });
}

/**
 * Sends a part of the layer, and breaks the connection once that is on the client's disk: what is
 * still under way is lost with it.
 */
function breakOff(response: ServerResponse, start: number, end: number): void {
  response.write(BLOB.subarray(start, end));
  const look = setInterval(() => {
    if (
      !response.destroyed &&
      !readdirSync(path.join(root, 'tmp')).some(
        (name) =>
          name.startsWith('partial-') &&
          (statSync(path.join(root, 'tmp', name), { throwIfNoEntry: false })?.size ?? 0) >= end,
      )
    )
      return;
    clearInterval(look);
    response.destroy();
  }, 5);
}

describe('a manifest', () => {
  it('is resolved by its head, and fetched to the byte', async () => {
    const made = client();
    const found = await made.resolve(ref(), signal);
    const { descriptor, bytes } = await made.manifest(ref(), signal);
    expect(found).toEqual(descriptor);
    expect(digestOf(bytes)).toBe(descriptor.digest);
    expect(await made.resolve(ref('2'), signal)).toBeUndefined();
    await expect(made.manifest(ref('2'), signal)).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
    });
  });

  it('that does not have the digest that was asked for is refused', async () => {
    const wanted = { ...ref(), digest: digestOf('else') };
    server.manifests.set(wanted.digest, server.manifests.get('1') ?? Buffer.alloc(0));
    await expect(client().manifest(wanted, signal)).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
  });

  it('that never ends is cut off', async () => {
    server.fault = (request, response) => {
      if (!request.url?.includes('/manifests/')) return false;
      response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' });
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(1 << 16, ' ')));
      };
      response.on('drain', more);
      more();
      return true;
    };
    await expect(client().manifest(ref(), signal)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    });
  });

  it.each([
    [
      'an index that is a manifest too',
      {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [],
        layers: [],
      },
    ],
    ['a type that nobody knows', { schemaVersion: 2, mediaType: 'application/x-else' }],
    [
      'Docker schema 1',
      { schemaVersion: 1, mediaType: 'application/vnd.docker.distribution.manifest.v1+json' },
    ],
  ])('of %s is refused', async (_, manifest) => {
    server.manifests.set('1', Buffer.from(JSON.stringify(manifest)));
    await expect(client().manifest(ref(), signal)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
  });
});

describe('passing failures', () => {
  it.each([429, 503])('%i with Retry-After is tried again', async (status) => {
    let left = 2;
    server.fault = (request, response) => {
      if (!request.url?.includes('/manifests/') || left-- <= 0) return false;
      response.writeHead(status, { 'retry-after': '0' }).end();
      return true;
    };
    await expect(client().manifest(ref(), signal)).resolves.toBeDefined();
  });

  it('are given up with the status after the last try', async () => {
    server.fault = (request, response) => {
      if (!request.url?.includes('/manifests/')) return false;
      response.writeHead(503).end('{"errors":[{"code":"UNAVAILABLE","message":"maintenance"}]}');
      return true;
    };
    await expect(client({ attempts: 2 }).manifest(ref(), signal)).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
      message: expect.stringMatching(/503.*maintenance/),
    });
  });

  it('that ask for more patience than a minute are not waited for', async () => {
    server.fault = (request, response) => {
      if (!request.url?.includes('/manifests/')) return false;
      response.writeHead(429, { 'retry-after': '3600' }).end();
      return true;
    };
    await expect(client().manifest(ref(), signal)).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
      message: expect.stringContaining('3600 s'),
    });
  });

  it('leave a registry that is down unreachable', async () => {
    const gone = ref();
    await server.close();
    await expect(client().manifest(gone, signal)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
    });
  });

  it('stop when the user gives up', async () => {
    const stop = new AbortController();
    server.fault = (_, response) => {
      response.writeHead(503).end();
      stop.abort();
      return true;
    };
    await expect(client({ pauseMs: 10_000 }).manifest(ref(), stop.signal)).rejects.toMatchObject({
      code: 'CANCELED',
    });
  });
});

describe('a blob', () => {
  it('whose connection breaks in the middle is resumed, not restarted', async () => {
    let breaks = 2;
    server.fault = (request, response) => {
      if (!request.url?.includes('/blobs/') || breaks-- <= 0) return false;
      const start = Number(/(\d+)/.exec(request.headers.range ?? '0')?.[1]);
      response.writeHead(start > 0 ? 206 : 200, {
        'content-length': BLOB.length - start,
        'content-range': `bytes ${start}-${BLOB.length - 1}/${BLOB.length}`,
      });
      breakOff(response, start, start + 100_000);
      return true;
    };
    await download();
    expect(content.read(LAYER.digest).equals(BLOB)).toBe(true);
    expect(
      server.seen.filter(({ url }) => url.includes('/blobs/')).map(({ range }) => range),
    ).toEqual([undefined, 'bytes=100000-', 'bytes=200000-']);
  });

  it('starts again where the server ignores the range', async () => {
    let broken = false;
    server.fault = (request, response) => {
      if (!request.url?.includes('/blobs/')) return false;
      response.writeHead(200, { 'content-length': BLOB.length });
      if (broken) response.end(BLOB);
      else breakOff(response, 0, 1000);
      broken = true;
      return true;
    };
    await download();
    expect(content.size(LAYER.digest)).toBe(BLOB.length);
  });

  it('that keeps breaking off is kept in part for the next try', async () => {
    server.fault = (request, response) => {
      if (!request.url?.includes('/blobs/')) return false;
      if (request.headers.range === undefined) {
        response.writeHead(200, { 'content-length': BLOB.length });
        breakOff(response, 0, 1000);
      } else {
        response.destroy();
      }
      return true;
    };
    await expect(download(client({ attempts: 2 }))).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
    });
    expect(content.list()).toEqual([]);
    server.fault = undefined;
    server.seen.length = 0;
    await download();
    expect(server.seen.find(({ url }) => url.includes('/blobs/'))?.range).toBe('bytes=1000-');
  });

  it.each([
    [
      'a byte that is another',
      'DIGEST_MISMATCH',
      Buffer.from(BLOB.map((byte, i) => (i === 5 ? byte ^ 1 : byte))),
    ],
    ['too many bytes', 'SIZE_MISMATCH', Buffer.concat([BLOB, BLOB])],
    ['too few bytes', 'SIZE_MISMATCH', BLOB.subarray(0, 100)],
  ])('with %s is refused with %s, and the next try is clean', async (_, code, bytes) => {
    server.fault = (request, response) => {
      if (!request.url?.includes('/blobs/')) return false;
      const start = Number(/(\d+)/.exec(request.headers.range ?? '0')?.[1]);
      // No length is announced, so the end of the body looks like the end of the blob.
      response.writeHead(
        start > 0 ? 206 : 200,
        start > 0 ? { 'content-range': `bytes ${start}-${bytes.length}/${bytes.length}` } : {},
      );
      response.end(bytes.subarray(start));
      return true;
    };
    await expect(download()).rejects.toMatchObject({ code });
    expect(content.list()).toEqual([]);
    server.fault = undefined;
    await download();
    expect(content.read(LAYER.digest).equals(BLOB)).toBe(true);
  });
});

describe('credentials', () => {
  const credentials = { kind: 'password', username: 'me', password: 'hidden' } as const;

  it('are not sent where a redirect leads to another host', async () => {
    const elsewhere = await startFaultServer();
    try {
      elsewhere.fault = (_, response) => {
        response.writeHead(200, { 'content-length': BLOB.length }).end(BLOB);
        return true;
      };
      server.fault = (request, response) => {
        if (request.headers.authorization === undefined)
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        else if (request.url?.includes('/blobs/'))
          response.writeHead(307, { location: `http://${elsewhere.host}/store/blob?sig=1` }).end();
        else return false;
        return true;
      };
      await download(client({ credentials }));
      expect(content.size(LAYER.digest)).toBe(BLOB.length);
      expect(elsewhere.seen).toEqual([
        { method: 'GET', url: '/store/blob?sig=1', authorization: undefined, range: undefined },
      ]);
    } finally {
      await elsewhere.close();
    }
  });

  it('are answered to a basic challenge, and a second 401 ends it', async () => {
    server.fault = (_, response) => {
      response
        .writeHead(401, {
          'www-authenticate': 'Basic realm="x"',
          'content-type': 'application/json',
        })
        .end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
      return true;
    };
    const failure = client({ credentials }).manifest(ref(), signal);
    await expect(failure).rejects.toMatchObject({
      code: 'REGISTRY_DENIED',
      message: expect.stringContaining('authentication required'),
    });
    await expect(failure).rejects.toMatchObject({ message: expect.not.stringContaining('hidden') });
    expect(server.seen.length).toBeLessThan(5);
    expect(server.seen.at(-1)?.authorization).toBe(
      `Basic ${Buffer.from('me:hidden').toString('base64')}`,
    );
  });

  it('buy a token, which is used until the registry refuses it', async () => {
    let valid = 'first';
    server.fault = (request, response) => {
      if (request.url?.startsWith('/token') === true)
        response.writeHead(200).end(JSON.stringify({ token: valid, expires_in: 300 }));
      else if (request.headers.authorization !== `Bearer ${valid}`)
        response
          .writeHead(401, {
            'www-authenticate': `Bearer realm="http://${server.host}/token",service="reg.test",scope="repository:team/app:pull"`,
          })
          .end();
      else return false;
      return true;
    };
    const made = client({ credentials });
    await made.manifest(ref(), signal);
    await made.resolve(ref(), signal);
    const tokens = (): string[] =>
      server.seen
        .filter(({ url }) => url.startsWith('/token'))
        .map(({ url }) => decodeURIComponent(url));
    expect(tokens()).toEqual(['/token?service=reg.test&scope=repository:team/app:pull']);
    valid = 'second';
    await made.manifest(ref(), signal);
    expect(tokens()).toHaveLength(2);
  });

  it('are not taken to a token server without encryption on another machine', async () => {
    server.fault = (_, response) => {
      response
        .writeHead(401, { 'www-authenticate': 'Bearer realm="ftp://elsewhere.example/token"' })
        .end();
      return true;
    };
    await expect(client({ credentials }).manifest(ref(), signal)).rejects.toMatchObject({
      code: 'REGISTRY_DENIED',
    });
  });
});

describe('tags', () => {
  it('are read page by page', async () => {
    server.fault = (request, response) => {
      if (request.url?.includes('/tags/list') !== true) return false;
      const second = request.url.includes('last=b');
      response
        .writeHead(200, second ? {} : { link: '</v2/team/app/tags/list?last=b>; rel="next"' })
        .end(JSON.stringify({ tags: second ? ['c'] : ['a', 'b'] }));
      return true;
    };
    expect(await client().tags(ref(), signal)).toEqual(['a', 'b', 'c']);
  });
});

describe('an upload', () => {
  const bytes = randomBytes(3_000_000);
  const descriptor = {
    mediaType: 'application/octet-stream',
    digest: digestOf(bytes),
    size: bytes.length,
  };
  const source = {
    descriptor,
    open: async function* open(start: number) {
      for (let at = start; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    },
  };

  /** Takes uploads; `breakAt` cuts the connection once, when so many bytes have come. */
  function takeUploads(breakAt: number): {
    received: () => Buffer;
    ranges: (string | undefined)[];
  } {
    const chunks: Buffer[] = [];
    const ranges: (string | undefined)[] = [];
    const size = (): number => chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    let broken = breakAt === 0;
    server.fault = (request, response) => {
      const location = { location: `http://${server.host}/v2/up/1?state=${size()}` };
      if (request.method === 'HEAD') response.writeHead(404).end();
      else if (request.method === 'POST') response.writeHead(202, location).end();
      else if (request.method === 'GET' && request.url?.startsWith('/v2/up/1') === true)
        response.writeHead(204, { ...location, range: `0-${Math.max(0, size() - 1)}` }).end();
      else if (request.method === 'PATCH') {
        ranges.push(request.headers['content-range']);
        request.on('data', (chunk: Buffer) => {
          if (!broken && size() + chunk.length > breakAt) {
            broken = true;
            request.socket.destroy();
          } else if (!request.destroyed) chunks.push(chunk);
        });
        request.on('end', () => response.writeHead(202, location).end());
      } else if (request.method === 'PUT') response.writeHead(201).end();
      else return false;
      return true;
    };
    return { received: () => Buffer.concat(chunks), ranges };
  }

  it('that breaks in the middle goes on from what the registry has', async () => {
    const taken = takeUploads(1_000_000);
    await expect(client().pushBlob(ref(), source, signal)).resolves.toBe('uploaded');
    expect(taken.received().equals(bytes)).toBe(true);
    expect(taken.ranges).toHaveLength(2);
    expect(Number(/^(\d+)-/.exec(taken.ranges[1] ?? '')?.[1])).toBeGreaterThan(0);
  });

  it('goes in chunks of the size that is set', async () => {
    const taken = takeUploads(0);
    await client({ pieceSize: 1_000_000 }).pushBlob(ref(), source, signal);
    expect(taken.received().equals(bytes)).toBe(true);
    expect(taken.ranges).toEqual(['0-999999', '1000000-1999999', '2000000-2999999']);
    expect(server.seen.at(-1)).toMatchObject({
      method: 'PUT',
      url: expect.stringContaining(`digest=${encodeURIComponent(descriptor.digest)}`),
    });
  });

  it('that began before its digest was known is only closed', async () => {
    const taken = takeUploads(0);
    const pushing = client();
    const early = await pushing.beginBlob(ref(), () => source.open(0), signal);
    const sent: number[] = [];
    await expect(
      pushing.pushBlob(ref(), { ...source, early }, signal, (count) => sent.push(count)),
    ).resolves.toBe('uploaded');
    expect(taken.received().equals(bytes)).toBe(true);
    expect(taken.ranges).toEqual([undefined]);
    expect(sent.at(-1)).toBe(bytes.length);
  });

  it('that began early and broke is sent in the usual way', async () => {
    const taken = takeUploads(1_000_000);
    const pushing = client();
    const early = await pushing.beginBlob(ref(), () => source.open(0), signal);
    await expect(early.finish(descriptor.digest)).rejects.toThrow();
    await expect(pushing.pushBlob(ref(), { ...source, early }, signal)).resolves.toBe('uploaded');
    expect(taken.received().subarray(-bytes.length).equals(bytes)).toBe(true);
  });

  it('that began early ends when the registry turns out to have the blob', async () => {
    takeUploads(0);
    const takes = server.fault;
    server.fault = (request, response, seen) => {
      if (request.method !== 'HEAD') return takes?.(request, response, seen) ?? false;
      response.writeHead(200).end();
      return true;
    };
    const pushing = client();
    const { promise: begun, resolve: begin } = promiseWith();
    const { promise: ended, resolve: end } = promiseWith();
    const early = await pushing.beginBlob(
      ref(),
      async function* open(stop) {
        yield bytes.subarray(0, 10);
        stop.addEventListener('abort', end);
        begin();
        await ended;
      },
      signal,
    );
    await begun;
    await expect(pushing.pushBlob(ref(), { ...source, early }, signal)).resolves.toBe('exists');
    await ended;
  });
});

function promiseWith(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

describe('a stored blob', () => {
  it("that lost its end with the machine's power is fetched again", async () => {
    content.write(BLOB);
    truncateSync(content.path(LAYER.digest), 10);
    await download();
    expect(content.read(LAYER.digest).equals(BLOB)).toBe(true);
  });
});
