import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  readdirSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync, gunzipSync } from 'node:zlib';
import { pullImage } from '../../../src/images/transfer/pull';
import { resolveImage } from '../../../src/images/transfer/resolve';
import { namesIn } from '../../../src/content/files';
import { digestOf } from '../../../src/oci/digest';
import type { Reference } from '../../../src/oci/reference';
import { RegistryClient } from '../../../src/registry/client';
import { serveImage, startFaultServer, type FaultServer } from '../../registry/fault-server';
import { describeWith } from '../../support/needs';
import { addImage, addLayer, openStore, scopeOf, type TestStore } from '../store';

/** A gzip layer of the given files, made by GNU tar. */
function makeLayer(
  files: Readonly<Record<string, string>>,
  options: readonly string[] = [],
): { blob: Buffer; diffId: ReturnType<typeof digestOf> } {
  const dir = mkdtempSync(path.join(tmpdir(), 'mbuild-tree-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
      writeFileSync(path.join(dir, name), text);
    }
    const tar = execFileSync('tar', [
      '-C',
      dir,
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      ...options,
      '-cf',
      '-',
      ...(options.includes('--no-recursion') ? [] : ['.']),
    ]);
    return { blob: gzipSync(tar), diffId: digestOf(tar) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describeWith('pulling', { root: true, programs: ['tar'] }, () => {
  let server: FaultServer;
  let store: TestStore;
  let client: RegistryClient;

  beforeEach(async () => {
    server = await startFaultServer();
    store = openStore();
    client = new RegistryClient({ pauseMs: 1, env: { HOME: store.root } });
  });
  afterEach(async () => {
    await client.close();
    await server.close();
    store.dispose();
  });

  const refOf = (tag = '1'): Reference => ({ registry: server.host, repository: 'team/app', tag });
  const pull = (tag = '1', scope = scopeOf()) =>
    pullImage({ ref: refOf(tag), platform: { os: 'linux', architecture: 'amd64' } }, client, {
      services: store,
      vertex: 1,
      scope,
    });
  const bottom = makeLayer({ 'etc/one': 'bottom', 'etc/two': 'bottom', 'usr/bin/x': '1' });
  const top = makeLayer({ 'etc/.wh.two': '', 'etc/one': 'top' });

  it('unpacks the layers on each other, names the image and keeps the blobs as they were', async () => {
    const served = serveImage(server, '1', [bottom, top]);
    const scope = scopeOf();
    const { image, changed } = await pull('1', scope);
    expect(image).toMatchObject({ id: served.config, descriptor: { digest: served.manifest } });
    expect(changed).toBe(true);
    expect(image.names).toEqual([`${server.host}/team/app:1`]);
    expect(image.repoDigests).toEqual([`${server.host}/team/app@${served.manifest}`]);
    const view = store.snapshots.view(image.stack);
    expect(view.readdir('/etc')).toEqual(['one']);
    expect(readFileSync(view.stat('/etc/one')?.hostPath ?? '', 'utf8')).toBe('top');
    expect(store.content.read(digestOf(bottom.blob)).equals(bottom.blob)).toBe(true);
    const states = scope.log.flatMap((event) =>
      event.kind === 'status' && event.item === digestOf(bottom.blob).slice(7, 19)
        ? [event.state]
        : [],
    );
    expect(states).toEqual(['waiting', 'downloading', 'extracting', 'done']);
  });

  it('fetches a layer that the image has twice once', async () => {
    serveImage(server, '1', [bottom, bottom, top, bottom]);
    const { image } = await pull();
    expect(image.stack).toHaveLength(4);
    expect(
      server.seen.filter(
        ({ method, url }) => method === 'GET' && url.includes(digestOf(bottom.blob)),
      ),
    ).toHaveLength(1);
  });

  it('unpacks a layer while it comes, in pieces and over a break', async () => {
    let broken = false;
    server.fault = (request, response) => {
      if (!request.url?.includes(digestOf(bottom.blob)) || broken) return false;
      broken = true;
      response.writeHead(200, { 'content-length': bottom.blob.length });
      response.write(bottom.blob.subarray(0, 20));
      setTimeout(() => response.write(bottom.blob.subarray(20, 50)), 30);
      setTimeout(() => request.socket.destroy(), 60);
      return true;
    };
    serveImage(server, '1', [bottom, top]);
    const { image } = await pull();
    expect(image.stack).toHaveLength(2);
    expect(server.seen.map(({ range }) => range)).toContain('bytes=50-');
  });

  it('fetches no layer that is there already', async () => {
    serveImage(server, '1', [bottom]);
    await pull();
    serveImage(server, '2', [bottom, top]);
    server.seen.length = 0;
    const { image } = await pull('2');
    expect(image.stack).toHaveLength(2);
    expect(server.seen.map(({ url }) => url)).not.toContainEqual(
      expect.stringContaining(digestOf(bottom.blob)),
    );
    await expect(pull('2')).resolves.toMatchObject({ changed: false });
  });

  it('gives directories that an upper layer only passes through the attributes from below', async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'mbuild-tree-'));
    try {
      mkdirSync(path.join(dir, 'var/spool'), { recursive: true, mode: 0o750 });
      writeFileSync(path.join(dir, 'var/spool/file'), 'new');
      const tar = execFileSync('tar', ['-C', dir, '-cf', '-', 'var/spool/file']);
      const passing = { blob: gzipSync(tar), diffId: digestOf(tar) };
      execFileSync('sh', [
        '-c',
        `chown 12:34 ${dir}/var/spool && chmod 3771 ${dir}/var/spool && rm ${dir}/var/spool/file`,
      ]);
      const below = execFileSync('tar', ['-C', dir, '--numeric-owner', '-cf', '-', 'var']);
      serveImage(server, '1', [{ blob: gzipSync(below), diffId: digestOf(below) }, passing]);
      const { image } = await pull();
      const spool = store.snapshots.view(image.stack).lstat('/var/spool')?.stats;
      expect(spool).toMatchObject({ uid: 12, gid: 34 });
      expect((spool?.mode ?? 0) & 0o7777).toBe(0o3771);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('takes the platform that is asked for, and lists the others when it is not there', async () => {
    const amd = serveImage(server, 'amd', [bottom]);
    const arm = serveImage(server, 'arm', [top], { os: 'linux', architecture: 'arm64' });
    server.manifests.set(
      '1',
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          manifests: [
            {
              mediaType: 'application/vnd.oci.image.manifest.v1+json',
              digest: arm.manifest,
              size: arm.size,
              platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
            },
            {
              mediaType: 'application/vnd.oci.image.manifest.v1+json',
              digest: amd.manifest,
              size: amd.size,
              platform: { os: 'linux', architecture: 'amd64' },
            },
            {
              mediaType: 'application/vnd.oci.image.manifest.v1+json',
              digest: digestOf('attestation'),
              size: 2,
              platform: { os: 'unknown', architecture: 'unknown' },
              annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
            },
          ],
        }),
      ),
    );
    await expect(pull()).resolves.toMatchObject({ image: { id: amd.config } });
    const other = pullImage(
      { ref: refOf(), platform: { os: 'linux', architecture: 's390x' } },
      client,
      { services: store, vertex: 1, scope: scopeOf() },
    );
    await expect(other).rejects.toMatchObject({
      code: 'PLATFORM_NOT_FOUND',
      hint: expect.stringContaining('linux/amd64, linux/arm64'),
    });
  });

  it.each([
    [
      'whose DiffID lies',
      () => serveImage(server, '1', [{ ...bottom, diffId: digestOf('lie') }]),
      'DIGEST_MISMATCH',
    ],
    [
      'with a truncated layer',
      () =>
        serveImage(server, '1', [
          {
            blob: gzipSync(gunzipSync(bottom.blob).subarray(0, 700)),
            diffId: digestOf(gunzipSync(bottom.blob).subarray(0, 700)),
          },
        ]),
      'ARCHIVE_INVALID',
    ],
    [
      'whose config counts other layers',
      () => {
        serveImage(server, '1', [bottom]);
        const manifest = JSON.parse(server.manifests.get('1')?.toString() ?? '') as {
          layers: unknown[];
        };
        server.manifests.set(
          '1',
          Buffer.from(
            JSON.stringify({ ...manifest, layers: [...manifest.layers, ...manifest.layers] }),
          ),
        );
      },
      'IMAGE_INVALID',
    ],
  ])('refuses an image %s and leaves no layer behind', async (_, serve, code) => {
    serve();
    await expect(pull()).rejects.toMatchObject({ code });
    expect(store.images.list()).toEqual([]);
    expect(store.layers.list()).toEqual([]);
    expect(store.snapshots.list()).toEqual([]);
    expect(readdirSync(path.join(store.root, 'active'))).toEqual([]);
    expect(namesIn(path.join(store.root, 'leases'))).toEqual([]);
  });

  it('suggests a tag that is nearly the one asked for', async () => {
    serveImage(server, 'bookworm', [bottom]);
    await expect(pull('bokworm')).rejects.toMatchObject({
      code: 'IMAGE_NOT_FOUND',
      hint: expect.stringContaining('bookworm'),
    });
  });

  describe('a name that FROM gives', () => {
    const resolve = (name: string, how: 'always' | 'missing' | 'never') =>
      resolveImage({ name, pull: how }, client, {
        services: store,
        vertex: 1,
        scope: scopeOf(),
      });

    it('is a local image without asking anybody', async () => {
      const image = addImage(
        store,
        [addLayer(store, [], (dir) => writeFileSync(path.join(dir, 'f'), ''))],
        [`${server.host}/team/app:1`],
      );
      await expect(resolve(`${server.host}/team/app:1`, 'missing')).resolves.toMatchObject({
        id: image.id,
      });
      await expect(resolve(image.id.slice(7, 19), 'never')).resolves.toMatchObject({
        id: image.id,
      });
      expect(server.seen).toEqual([]);
    });

    it('is pulled when it is not there, and again when that is asked for', async () => {
      const first = serveImage(server, '1', [bottom], {
        os: 'linux',
        architecture: process.arch === 'x64' ? 'amd64' : 'arm64',
      });
      await expect(resolve(`${server.host}/team/app:1`, 'missing')).resolves.toMatchObject({
        id: first.config,
      });
      const second = serveImage(server, '1', [top], {
        os: 'linux',
        architecture: process.arch === 'x64' ? 'amd64' : 'arm64',
      });
      await expect(resolve(`${server.host}/team/app:1`, 'missing')).resolves.toMatchObject({
        id: first.config,
      });
      await expect(resolve(`${server.host}/team/app:1`, 'always')).resolves.toMatchObject({
        id: second.config,
      });
    });

    it('is not found with the close name that the store has', async () => {
      addImage(
        store,
        [addLayer(store, [], (dir) => writeFileSync(path.join(dir, 'f'), ''))],
        ['docker.io/library/service:latest'],
      );
      await expect(resolve('servce', 'never')).rejects.toMatchObject({
        code: 'IMAGE_NOT_FOUND',
        hint: expect.stringContaining('service'),
      });
      await expect(resolve('Bad Name', 'missing')).rejects.toMatchObject({
        code: 'REFERENCE_INVALID',
      });
    });
  });

  it('keeps the store closed to other users', () => {
    expect(statSync(store.root).mode & 0o077).toBe(0);
  });
});
