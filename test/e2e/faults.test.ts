import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { digestOf, hexOf } from '../../src/oci/digest';
import { hostPlatform } from '../../src/oci/platform';
import { tarOf } from '../layer/trees';
import {
  serveImage,
  startFaultServer,
  type Fault,
  type FaultServer,
} from '../registry/fault-server';
import { Mbuild } from '../support/mbuild';
import { describeWith } from '../support/needs';
import { useTemp } from '../support/temp';

const MIB = 1 << 20;

/** A layer that does not compress, and one that compresses to nearly nothing. */
const noise = tarOf({ path: 'noise', content: randomBytes(4 * MIB).toString('latin1') });
const zeros = tarOf({ path: 'zeros', content: '\0'.repeat(8 * MIB) });
const layerOf = (tar: Buffer, level: number) => ({
  blob: gzipSync(tar, { level }),
  diffId: digestOf(tar),
});
const NOISE = layerOf(noise, 0);
const ZEROS = layerOf(zeros, 6);

/** Only blobs of layers. */
const isLayer = (url: string | undefined): boolean =>
  [NOISE, ZEROS].some(({ blob }) => url?.includes(digestOf(blob)) === true);

describeWith('a registry with faults', { root: true }, () => {
  const temp = useTemp();
  let server: FaultServer;
  let mbuild: Mbuild;
  let name: string;

  beforeEach(async () => {
    server = await startFaultServer();
    serveImage(server, '1', [NOISE, ZEROS], { ...hostPlatform() });
    mbuild = new Mbuild(temp.dir('store'));
    name = `${server.host}/team/app:1`;
  });
  afterEach(() => server.close());

  const pull = () => mbuild.run(['pull', name]);
  const inStore = (folder: string): string[] =>
    existsSync(join(mbuild.root, folder)) ? readdirSync(join(mbuild.root, folder)) : [];
  const ranges = (): number[] =>
    server.seen
      .filter(({ url, range }) => isLayer(url) && range !== undefined)
      .map(({ range }) => Number(/\d+/.exec(range ?? '')?.[0]));

  /** Answers the first `count` requests that `concerns` picks. */
  const first = (
    count: number,
    concerns: (url: string | undefined) => boolean,
    answer: Fault,
  ): Fault => {
    let left = count;
    return (request, response, seen) =>
      concerns(request.url) && left-- > 0 ? answer(request, response, seen) : false;
  };
  /** Sends a part of a blob and breaks the connection. */
  const cut: Fault = (request, response) => {
    const blob = request.url?.includes(digestOf(NOISE.blob)) === true ? NOISE.blob : ZEROS.blob;
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': blob.length - start,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${blob.length - 1}/${blob.length}` } : {}),
    });
    const end = start + Math.ceil(blob.length / 3);
    response.write(blob.subarray(start, end));
    // What is still under way when the connection breaks is lost with it.
    const look = setInterval(() => {
      if (
        !request.socket.destroyed &&
        !inStore('tmp').some(
          (file) =>
            file.startsWith(`partial-${hexOf(digestOf(blob))}`) &&
            (statSync(join(mbuild.root, 'tmp', file), { throwIfNoEntry: false })?.size ?? 0) >= end,
        )
      )
        return;
      clearInterval(look);
      request.socket.destroy();
    }, 5);
    return true;
  };
  const busy =
    (status: number): Fault =>
    (_request, response) => {
      response.writeHead(status, { 'retry-after': '0' }).end();
      return true;
    };

  it.each<[string, Fault]>([
    ['a connection that breaks in the middle of a blob', first(2, isLayer, cut)],
    [
      '429 with Retry-After',
      first(2, (url) => url?.includes('/manifests/') === true || isLayer(url), busy(429)),
    ],
    ['503 with Retry-After', first(2, () => true, busy(503))],
  ])('gets over %s', async (what, fault) => {
    server.fault = fault;
    const { code, stdout } = await pull();
    expect([code, stdout]).toEqual([0, expect.stringContaining('Status: Downloaded newer image')]);
    if (what.includes('breaks')) expect(Math.max(...ranges())).toBeGreaterThan(0);
  });

  const manifestOf =
    (body: unknown, type?: string): Fault =>
    (request, response) => {
      if (request.url?.includes('/manifests/1') !== true) return false;
      response
        .writeHead(200, { 'content-type': type ?? 'application/vnd.oci.image.index.v1+json' })
        .end(JSON.stringify(body));
      return true;
    };
  const endless =
    (concerns: (url: string | undefined) => boolean): Fault =>
    (request, response) => {
      if (!concerns(request.url)) return false;
      response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' });
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(1 << 16, ' ')));
      };
      response.on('drain', more);
      more();
      return true;
    };
  const lies =
    (change: (blob: Buffer) => Buffer): Fault =>
    (request, response) => {
      if (request.url?.includes(digestOf(NOISE.blob)) !== true) return false;
      response.writeHead(200).end(change(NOISE.blob));
      return true;
    };

  it.each<[string, string, RegExp, () => Fault]>([
    [
      '401 again and again',
      'REGISTRY_DENIED',
      /denies access to/,
      () => (request, response) => {
        if (request.url === '/v2/') return false;
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        return true;
      },
    ],
    [
      'a blob with another digest',
      'DIGEST_MISMATCH',
      /expected sha256:/,
      () => lies((blob) => Buffer.from(blob.map((byte, i) => (i === 1000 ? byte ^ 1 : byte)))),
    ],
    [
      'a blob that is too long',
      'SIZE_MISMATCH',
      /sends more than the \d+ bytes/,
      () => lies((blob) => Buffer.concat([blob, blob])),
    ],
    [
      'a blob that is too short',
      'SIZE_MISMATCH',
      /has \d+ bytes, but/,
      () => lies((blob) => blob.subarray(0, 5000)),
    ],
    [
      'a blob without an end',
      'SIZE_MISMATCH',
      /sends more than/,
      () => endless((url) => url?.includes(digestOf(NOISE.blob)) === true),
    ],
    [
      'a manifest without an end',
      'LIMIT_EXCEEDED',
      /more than 4194304 bytes/,
      () => endless((url) => url?.includes('/manifests/') === true),
    ],
    [
      'a manifest of an unknown type',
      'IMAGE_INVALID',
      /its manifest is "application\/x-odd"/,
      () => manifestOf({ schemaVersion: 2, mediaType: 'application/x-odd' }, 'application/x-odd'),
    ],
    [
      'an index without our platform',
      'PLATFORM_NOT_FOUND',
      /it exists for linux\/mips64le, linux\/s390x/,
      () =>
        manifestOf({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          manifests: ['s390x', 'mips64le'].map((architecture) => ({
            mediaType: 'application/vnd.oci.image.manifest.v1+json',
            digest: digestOf(architecture),
            size: 3,
            platform: { os: 'linux', architecture },
          })),
        }),
    ],
    [
      'a page instead of an answer',
      'REGISTRY_FAILED',
      /the registry's answer is not valid JSON/,
      () => (request, response) => {
        if (request.url?.includes('/manifests/') !== true) return false;
        response
          .writeHead(200, { 'content-type': 'text/html' })
          .end('<html>log in to the wifi</html>');
        return true;
      },
    ],
    [
      'a server error that stays',
      'REGISTRY_FAILED',
      /answered 503|kept answering with status 503/,
      () => (request, response) => {
        if (request.url?.includes('/blobs/') !== true) return false;
        response.writeHead(503, { 'retry-after': '0' }).end();
        return true;
      },
    ],
  ])('ends at %s with %s, and the next try succeeds', async (_what, code, message, fault) => {
    server.fault = fault();
    const failed = await pull();
    expect([failed.code, failed.stdout.includes('Status'), failed.stderr]).toEqual([
      1,
      false,
      expect.stringContaining(`[${code}]`),
    ]);
    expect(failed.stderr).toMatch(message);
    expect(failed.stderr).not.toMatch(/\n\s+at /);
    expect([
      inStore('images'),
      inStore('names'),
      inStore('chains'),
      inStore('layers'),
      inStore('active'),
      inStore('leases'),
    ]).toEqual([[], [], [], [], [], []]);
    server.fault = undefined;
    expect((await pull()).code).toBe(0);
    expect(inStore('chains')).toHaveLength(2);
  });

  it('names tags that are nearly the one asked for', async () => {
    server.manifests.set('bookworm', server.manifests.get('1') ?? Buffer.alloc(0));
    expect((await mbuild.run(['pull', `${server.host}/team/app:bokworm`])).stderr).toMatch(
      /has no image .*:bokworm\n\[IMAGE_NOT_FOUND\] hint: did you mean "bookworm"\?/,
    );
  });

  it('that is down is named, with what to check', async () => {
    const { code, stderr } = await mbuild.run(['pull', '127.0.0.1:1/team/app:1']);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(
        /cannot reach 127\.0\.0\.1:1[^]*\[REGISTRY_UNREACHABLE\] hint: check the name, the network and the proxy settings/,
      ),
    ]);
  });

  it('goes on where it was when the connection keeps breaking', async () => {
    // Every part that comes is progress, so that alone is no reason to give up: one that gives
    // nothing is.
    let parts = 0;
    server.fault = (request, response, seen) => {
      if (!isLayer(request.url)) return false;
      if (parts++ < 1) return cut(request, response, seen);
      request.socket.destroy();
      return true;
    };
    const failed = await pull();
    expect([failed.code, failed.stderr]).toEqual([
      1,
      expect.stringMatching(/keeps breaking[^]*what was fetched so far is kept/),
    ]);
    server.fault = undefined;
    server.seen.splice(0);
    expect((await pull()).code).toBe(0);
    expect(Math.max(0, ...ranges())).toBeGreaterThan(100);
  });

  it('sends no credentials where it is redirected to', async () => {
    const other = await startFaultServer();
    other.blobs = server.blobs;
    try {
      server.fault = (request, response) => {
        if (request.headers.authorization === undefined)
          response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
        else if (request.url?.includes('/blobs/') === true)
          response.writeHead(307, { location: `http://${other.host}${request.url}` }).end();
        else return false;
        return true;
      };
      const config = JSON.stringify({
        auths: { [server.host]: { auth: Buffer.from('me:secret').toString('base64') } },
      });
      const home = temp.dir('home');
      mkdirSync(join(home, '.docker'));
      spawnSync('sh', ['-c', 'cat > "$0"', join(home, '.docker/config.json')], { input: config });
      expect((await mbuild.run(['pull', name], { env: { HOME: home } })).code).toBe(0);
      expect(server.seen.some(({ authorization }) => authorization !== undefined)).toBe(true);
      expect(other.seen.length).toBeGreaterThan(0);
      expect(other.seen.filter(({ authorization }) => authorization !== undefined)).toEqual([]);
    } finally {
      await other.close();
    }
  });

  describeWith('on a disk that is full', { programs: ['mount'], also: noMounts }, () => {
    /** A store on a file system of its own. */
    const onDisk = (size: number): Mbuild => {
      const root = temp.dir('disk');
      if (
        spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}k,mode=700`, 'tmpfs', root])
          .status !== 0
      )
        throw new Error('mount failed');
      return new Mbuild(root);
    };
    const enlarge = ({ root }: Mbuild): void =>
      void spawnSync('mount', ['-o', 'remount,size=64m', root]);

    it.each([
      ['while a blob comes', 2500],
      ['while a layer is unpacked', 7000],
    ])(
      '%s: says so, leaves nothing half-made, and goes on when there is room',
      async (_when, size) => {
        mbuild = onDisk(size);
        const failed = await pull();
        expect([failed.code, failed.stderr]).toEqual([1, expect.stringMatching(/\[NO_SPACE\]/)]);
        expect([
          inStore('images'),
          inStore('names'),
          inStore('chains'),
          inStore('layers'),
          inStore('active'),
          inStore('leases'),
        ]).toEqual([[], [], [], [], [], []]);
        const before = await mbuild.run(['images', '-q']);
        expect([before.code, before.stdout]).toEqual([0, '']);
        enlarge(mbuild);
        server.seen.splice(0);
        expect((await pull()).code).toBe(0);
        const fetched = server.seen.filter(
          ({ url, method }) => method === 'GET' && url.includes(digestOf(NOISE.blob)),
        );
        // Nothing is fetched twice.
        expect(
          fetched
            .map(({ range }) => range ?? 'all')
            .filter((range) => !/^bytes=\d{5,}-$/.test(range)),
        ).toEqual([]);
      },
    );
  });
});

function noMounts(): string | undefined {
  const works =
    spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;
  return works ? undefined : 'file systems cannot be mounted here';
}
