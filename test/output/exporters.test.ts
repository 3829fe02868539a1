import { execFileSync } from 'node:child_process';
import {
  chownSync,
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  createReadStream,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { importImage } from '../../src/images/transfer/import';
import { loadImages } from '../../src/images/transfer/load';
import { openLayerTar } from '../../src/images/store/layer-blobs';
import { mountSources } from '../../src/images/transfer/mount-sources';
import { pullImage } from '../../src/images/transfer/pull';
import type { Image } from '../../src/images/store/image-store';
import type { LayerRecord } from '../../src/images/store/layer-index';
import { digestOf } from '../../src/oci/digest';
import { dockerExporter } from '../../src/output/docker';
import { localExporter } from '../../src/output/local';
import { ociExporter } from '../../src/output/oci';
import { pushExporter } from '../../src/output/push';
import { writeTo } from '../../src/output/destination';
import { treeTar } from '../../src/output/tar';
import { RegistryClient } from '../../src/registry/client';
import { addImage, addLayer, openStore, scopeOf, type TestStore } from '../images/store';
import { describeWith } from '../support/needs';
import { TEST_USER, startRegistry, type TestRegistry } from '../support/registry';
import { makeWhiteout } from '../../src/linux/mknod';

const NAME = 'docker.io/library/app:1';

describeWith('exporting', { root: true, programs: ['tar'] }, () => {
  let store: TestStore;
  let other: TestStore;
  let folder: string;
  let layers: LayerRecord[];
  let image: Image;

  beforeEach(() => {
    store = openStore();
    other = openStore();
    folder = mkdtempSync(path.join(tmpdir(), 'mbuild-out-'));
    const base = addLayer(store, [], (dir) => {
      mkdirSync(path.join(dir, 'etc'), { mode: 0o755 });
      mkdirSync(path.join(dir, 'bin'), { mode: 0o755 });
      writeFileSync(path.join(dir, 'etc/gone'), 'gone');
      writeFileSync(path.join(dir, 'etc/kept'), 'kept');
      writeFileSync(path.join(dir, 'bin/su'), '#!');
      chownSync(path.join(dir, 'bin/su'), 0, 42);
      chmodSync(path.join(dir, 'bin/su'), 0o4755);
      linkSync(path.join(dir, 'bin/su'), path.join(dir, 'bin/sudo'));
      symlinkSync('/etc/kept', path.join(dir, 'etc/link'));
    });
    const top = addLayer(store, [base], (dir) => {
      mkdirSync(path.join(dir, 'etc'), { mode: 0o755 });
      makeWhiteout(path.join(dir, 'etc/gone'));
      writeFileSync(path.join(dir, 'etc/new'), 'new'.repeat(10_000));
    });
    layers = [base, top];
    image = addImage(store, layers, [NAME], { Cmd: ['/bin/sh'], Labels: { a: 'b' } });
  });
  afterEach(() => {
    store.dispose();
    other.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const at = (name: string): string => path.join(folder, name);
  const outgoing = (): { image: Image; names: string[] }[] => [{ image, names: [NAME] }];

  function expectFiles(root: string): void {
    expect(readdirSync(path.join(root, 'etc')).sort()).toEqual(['kept', 'link', 'new']);
    expect(readFileSync(path.join(root, 'etc/new'), 'utf8')).toHaveLength(30_000);
    expect(lstatSync(path.join(root, 'etc/link')).isSymbolicLink()).toBe(true);
    const su = statSync(path.join(root, 'bin/su'));
    expect([su.mode & 0o7777, su.uid, su.gid, su.nlink]).toEqual([0o4755, 0, 42, 2]);
    expect(statSync(path.join(root, 'bin/sudo')).ino).toBe(su.ino);
  }

  async function expectLoaded(source: Parameters<typeof loadImages>[0]): Promise<Image> {
    const [loaded, ...more] = await loadImages(source, undefined, {
      services: other,
      vertex: 1,
      scope: scopeOf(),
    });
    expect(more).toEqual([]);
    expect(loaded?.names).toEqual(['app:1']);
    expect(loaded?.image.id).toBe(image.id);
    expect(loaded?.image.config).toEqual(image.config);
    await localExporter(at('loaded'), other).export(
      [{ image: other.images.find('app:1') ?? image, names: [] }],
      1,
      scopeOf(),
    );
    expectFiles(at('loaded'));
    return loaded?.image ?? image;
  }

  it('type=local writes the merged tree with modes, owners and links', async () => {
    await localExporter(at('tree'), store).export(outgoing(), 1, scopeOf());
    expectFiles(at('tree'));
  });

  it('type=local adds to a folder and follows no symlink in it', async () => {
    mkdirSync(at('tree'));
    mkdirSync(at('outside'));
    writeFileSync(at('tree/mine'), 'stays');
    symlinkSync(at('outside'), at('tree/etc'));
    await localExporter(at('tree'), store).export(outgoing(), 1, scopeOf());
    expectFiles(at('tree'));
    expect(readFileSync(at('tree/mine'), 'utf8')).toBe('stays');
    expect(readdirSync(at('outside'))).toEqual([]);
  });

  it('type=tar writes what GNU tar unpacks to the same tree', async () => {
    await writeTo(
      { path: at('tree.tar') },
      treeTar(store.snapshots.view(image.stack)),
      scopeOf().signal,
    );
    mkdirSync(at('tree'));
    execFileSync('tar', ['-C', at('tree'), '-xpf', at('tree.tar')]);
    expectFiles(at('tree'));
    expect(readdirSync(folder).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('type=tar goes to a stream, which stays open', async () => {
    const stream = new PassThrough();
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await writeTo({ stream }, treeTar(store.snapshots.view(image.stack)), scopeOf().signal);
    expect(stream.writableEnded).toBe(false);
    await writeTo(
      { path: at('same.tar') },
      treeTar(store.snapshots.view(image.stack)),
      scopeOf().signal,
    );
    expect(Buffer.concat(chunks).equals(readFileSync(at('same.tar')))).toBe(true);
  });

  it.each([
    ['type=docker', () => dockerExporter({ destination: { path: at('image') } }, store)],
    ['type=oci', () => ociExporter({ destination: { path: at('image') } }, store)],
    [
      'type=oci in zstd',
      () =>
        ociExporter({ destination: { path: at('image') }, compression: { type: 'zstd' } }, store),
    ],
    [
      'type=oci uncompressed',
      () =>
        ociExporter({ destination: { path: at('image') }, compression: { type: 'none' } }, store),
    ],
    ['type=oci as a folder', () => ociExporter({ destination: { folder: at('image') } }, store)],
    [
      'type=docker in gzip',
      () =>
        dockerExporter(
          { destination: { path: at('image') }, compression: { type: 'gzip', level: 1 } },
          store,
        ),
    ],
  ])('%s is loaded again as the same image', async (_, make) => {
    await make().export(outgoing(), 1, scopeOf());
    await expectLoaded({ path: at('image') });
  });

  it('an archive is loaded from a pipe and through gzip', async () => {
    await dockerExporter({ destination: { path: at('image') } }, store).export(
      outgoing(),
      1,
      scopeOf(),
    );
    execFileSync('gzip', [at('image')]);
    await expectLoaded({ stream: createReadStream(at('image.gz'), { highWaterMark: 1000 }) });
  });

  it('what was loaded leaves again byte for byte', async () => {
    await ociExporter({ destination: { path: at('image') } }, store).export(
      outgoing(),
      1,
      scopeOf(),
    );
    const loaded = await expectLoaded({ path: at('image') });
    await ociExporter({ destination: { path: at('again') } }, other).export(
      [{ image: loaded, names: [NAME] }],
      1,
      scopeOf(),
    );
    expect(readFileSync(at('again')).equals(readFileSync(at('image')))).toBe(true);
  });

  it('the compressed blob is remembered, so that the second export compresses nothing', async () => {
    const first = await ociExporter({ destination: { path: at('one') } }, store).export(
      outgoing(),
      1,
      scopeOf(),
    );
    const scope = scopeOf();
    const second = await ociExporter({ destination: { path: at('two') } }, store).export(
      outgoing(),
      1,
      scope,
    );
    expect(second).toEqual(first);
    expect(scope.log).toEqual([]);
    expect(layers.map((layer) => store.layers.get(layer.chainId)?.blobs.length)).toEqual([1, 1]);
  });

  it('several images share layers and names in one archive', async () => {
    const [base] = layers;
    const second = addImage(store, base === undefined ? [] : [base], [
      'docker.io/library/base:1',
      'docker.io/library/base:2',
    ]);
    await dockerExporter({ destination: { path: at('both') } }, store).export(
      [...outgoing(), { image: second, names: second.names }],
      1,
      scopeOf(),
    );
    const names = execFileSync('tar', ['-tf', at('both')], { encoding: 'utf8' })
      .trim()
      .split('\n');
    expect(names.filter((name) => name === `blobs/sha256/${base?.diffId.slice(7)}`)).toHaveLength(
      1,
    );
    const loaded = await loadImages({ path: at('both') }, undefined, {
      services: other,
      vertex: 1,
      scope: scopeOf(),
    });
    expect(loaded.map((each) => [each.image.id, each.names])).toEqual([
      [image.id, ['app:1']],
      [second.id, ['base:1', 'base:2']],
    ]);
  });

  it('a layer directory that changed is an error and no image', async () => {
    const id = layers[1]?.id;
    if (id === undefined) throw new Error('no layer');
    writeFileSync(path.join(store.snapshots.layerDir(id), 'etc/new'), 'tampered');
    await expect(
      dockerExporter({ destination: { path: at('image') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      ),
    ).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('a damaged archive is refused and names nothing', async () => {
    await ociExporter({ destination: { path: at('image') } }, store).export(
      outgoing(),
      1,
      scopeOf(),
    );
    const bytes = readFileSync(at('image'));
    const manifestAt = bytes.indexOf('"schemaVersion"');
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8((damaged[manifestAt + 40] ?? 0) ^ 1, manifestAt + 40);
    writeFileSync(at('damaged'), damaged);
    await expect(
      loadImages({ path: at('damaged') }, undefined, {
        services: other,
        vertex: 1,
        scope: scopeOf(),
      }),
    ).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
    });
    writeFileSync(at('short'), bytes.subarray(0, bytes.length / 2));
    await expect(
      loadImages({ path: at('short') }, undefined, {
        services: other,
        vertex: 1,
        scope: scopeOf(),
      }),
    ).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
    });
    writeFileSync(at('text'), 'no archive at all');
    await expect(
      loadImages({ path: at('text') }, undefined, {
        services: other,
        vertex: 1,
        scope: scopeOf(),
      }),
    ).rejects.toMatchObject({
      code: 'ARCHIVE_INVALID',
    });
    expect(other.images.list()).toEqual([]);
  });

  it('import makes an image of one layer, whose tar stays as it was', async () => {
    await writeTo(
      { path: at('rootfs.tar') },
      treeTar(store.snapshots.view(image.stack)),
      scopeOf().signal,
    );
    const imported = await importImage(
      {
        source: { path: at('rootfs.tar') },
        label: 'rootfs.tar',
        name: 'docker.io/library/base:new',
        config: { Cmd: ['sh'], Env: ['A=b'] },
        message: 'hello',
      },
      other,
      scopeOf(),
    );
    expect(imported.config).toMatchObject({
      config: { Cmd: ['sh'], Env: ['A=b'] },
      rootfs: { diff_ids: [digestOf(readFileSync(at('rootfs.tar')))] },
      history: [{ comment: 'hello' }],
    });
    expect(other.images.find('base:new')?.id).toBe(imported.id);
    await localExporter(at('tree'), other).export([{ image: imported, names: [] }], 1, scopeOf());
    expectFiles(at('tree'));
  });

  describeWith('for other tools', { programs: ['skopeo', 'umoci', 'podman'] }, () => {
    it('skopeo reads OCI archives, OCI folders and docker archives', async () => {
      await ociExporter({ destination: { path: at('oci.tar') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      );
      await ociExporter({ destination: { folder: at('oci') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      );
      await dockerExporter({ destination: { path: at('docker.tar') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      );
      for (const source of [
        `oci-archive:${at('oci.tar')}`,
        `oci:${at('oci')}:1`,
        `docker-archive:${at('docker.tar')}`,
      ]) {
        const config = JSON.parse(
          execFileSync('skopeo', ['inspect', '--config', source], { encoding: 'utf8' }),
        ) as { rootfs: { diff_ids: string[] } };
        expect(config.rootfs.diff_ids).toEqual(layers.map((layer) => layer.diffId));
        execFileSync('skopeo', ['copy', '-q', source, `dir:${at('copy')}`]);
      }
    });

    it('umoci unpacks the folder to the same tree', async () => {
      await ociExporter({ destination: { folder: at('oci') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      );
      execFileSync('umoci', ['raw', 'unpack', '--image', `${at('oci')}:1`, at('tree')], {
        stdio: 'ignore',
      });
      expectFiles(at('tree'));
    });

    it('podman loads the docker archive under its name', async () => {
      await dockerExporter({ destination: { path: at('docker.tar') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      );
      const podman = (...args: string[]): string =>
        execFileSync(
          'podman',
          ['--root', at('podman'), '--runroot', at('run'), '--storage-driver', 'vfs', ...args],
          { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
        );
      expect(podman('load', '-i', at('docker.tar'))).toContain('docker.io/library/app:1');
      expect(podman('inspect', '--format', '{{.Id}}', 'app:1').trim()).toBe(image.id.slice(7));
    });

    it('what skopeo wrote is loaded: docker archive, OCI archive and folder', async () => {
      await ociExporter({ destination: { folder: at('oci') } }, store).export(
        outgoing(),
        1,
        scopeOf(),
      );
      for (const target of [
        `docker-archive:${at('s.tar')}:app:1`,
        `oci-archive:${at('so.tar')}:docker.io/library/app:1`,
      ]) {
        execFileSync('skopeo', ['copy', '-q', `oci:${at('oci')}:1`, target]);
        await expectLoaded({ path: target.split(':')[1] ?? '' });
        rmSync(at('loaded'), { recursive: true });
      }
    });
  });

  describeWith('to a registry', { programs: ['docker-registry', 'openssl', 'skopeo'] }, () => {
    let registry: TestRegistry;
    const clients: RegistryClient[] = [];
    const client = (options = {}): RegistryClient => {
      const made = new RegistryClient({ env: { HOME: folder }, pauseMs: 1, ...options });
      clients.push(made);
      return made;
    };
    afterEach(async () => {
      for (const made of clients.splice(0)) await made.close();
      await registry.stop();
    });

    const push = (made: RegistryClient, repository = 'team/app') =>
      pushExporter({}, store, made).export(
        [{ image, names: [`${registry.host}/${repository}:1`] }],
        1,
        scopeOf(),
      );
    const pull = (made: RegistryClient, repository = 'team/app') =>
      pullImage({ ref: { registry: registry.host, repository, tag: '1' } }, made, {
        services: other,
        vertex: 1,
        scope: scopeOf(),
      });

    it('an image is pushed, pulled again and read by skopeo', async () => {
      registry = await startRegistry();
      const made = client();
      const { descriptors } = await push(made);
      const pulled = await pull(made);
      expect(pulled.image.id).toBe(image.id);
      expect(pulled.descriptor.digest).toBe(descriptors[0]?.digest);
      await localExporter(at('tree'), other).export(
        [{ image: pulled.image, names: [] }],
        1,
        scopeOf(),
      );
      expectFiles(at('tree'));
      execFileSync('skopeo', [
        'inspect',
        '--tls-verify=false',
        `docker://${registry.host}/team/app:1`,
      ]);
      expect(
        await made.tags(
          { registry: registry.host, repository: 'team/app' },
          new AbortController().signal,
        ),
      ).toEqual(['1']);
      expect(await made.repositories(registry.host, new AbortController().signal)).toEqual([
        'team/app',
      ]);
    });

    it('a blob larger than one request goes in chunks and comes back whole', async () => {
      registry = await startRegistry();
      const big = addLayer(store, [], (dir) =>
        writeFileSync(
          path.join(dir, 'big'),
          Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 11)),
        ),
      );
      image = addImage(store, [big], []);
      const made = client({ pieceSize: 1_000_000 });
      await push(made);
      expect((await pull(made)).image.id).toBe(image.id);
    });

    it('blobs that are there are not sent again, and those of another repository are mounted', async () => {
      registry = await startRegistry();
      const made = client();
      await push(made);
      const states = async (repository: string): Promise<Set<string>> => {
        const scope = scopeOf();
        await pushExporter({ mountFrom: mountSources(store) }, store, made).export(
          [{ image, names: [`${registry.host}/${repository}:1`] }],
          1,
          scope,
        );
        return new Set(
          scope.log.flatMap((event) =>
            event.kind === 'status' && event.state !== 'waiting' && event.state !== 'preparing'
              ? [event.state]
              : [],
          ),
        );
      };
      expect(await states('team/app')).toEqual(new Set(['exists']));
      store.images.addDigest(image.id, `${registry.host}/team/app:1`, image.descriptor.digest);
      expect(await states('team/other')).toEqual(new Set(['mounted']));
    });

    it('with a password takes what config.json and credential helpers say, and nothing less', async () => {
      registry = await startRegistry({ auth: true });
      await expect(push(client())).rejects.toMatchObject({ code: 'REGISTRY_DENIED' });
      const auth = Buffer.from(`${TEST_USER.username}:${TEST_USER.password}`).toString('base64');
      mkdirSync(at('.docker'));
      writeFileSync(
        at('.docker/config.json'),
        JSON.stringify({ auths: { [registry.host]: { auth } } }),
      );
      await push(client());
      expect((await pull(client())).image.id).toBe(image.id);
      writeFileSync(
        at('wrong.json'),
        JSON.stringify({
          auths: { [registry.host]: { auth: Buffer.from('tester:wrong').toString('base64') } },
        }),
      );
      await expect(
        client({ authFile: at('wrong.json') }).check(registry.host, new AbortController().signal),
      ).rejects.toMatchObject({
        code: 'REGISTRY_DENIED',
        message: expect.not.stringContaining('wrong'),
      });
      await client().check(registry.host, new AbortController().signal);
    });

    it('with TLS is trusted by its CA alone, or not at all on request', async () => {
      registry = await startRegistry({ tls: true });
      await expect(push(client())).rejects.toMatchObject({
        code: 'TLS_FAILED',
        hint: expect.stringContaining('--insecure-registry'),
      });
      await push(client({ env: { HOME: folder, SSL_CERT_FILE: registry.caFile } }));
      expect(
        (await pull(client({ env: { HOME: folder, MBUILD_EXTRA_CA_CERTS: registry.caFile } })))
          .image.id,
      ).toBe(image.id);
      await push(client({ insecure: [registry.host] }));
      mkdirSync(path.join(folder, 'certs.d', registry.host), { recursive: true });
      writeFileSync(
        path.join(folder, 'certs.d', registry.host, 'ca.crt'),
        readFileSync(registry.caFile ?? ''),
      );
      await push(client({ certFolders: [at('certs.d')] }));
    });
  });

  it('the tar of a built layer is what its DiffID says', async () => {
    for (const layer of layers) {
      const chunks: Buffer[] = [];
      for await (const chunk of openLayerTar(layer, store)) chunks.push(Buffer.from(chunk));
      expect(digestOf(Buffer.concat(chunks))).toBe(layer.diffId);
    }
  });
});
