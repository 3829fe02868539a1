import { readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { addImage, addLayer, openStore, type TestStore } from '../store';
import type { ChainID, Digest } from '../../../src/oci/digest';

let store: TestStore;
beforeEach(() => (store = openStore()));
afterEach(() => store.dispose());

const NAME = 'docker.io/library/app:latest';

function layer(content: string) {
  return addLayer(store, [], (dir) => writeFileSync(path.join(dir, 'file'), content));
}

describe('the image store', () => {
  it('finds an image by name, familiar name, id, short id and manifest digest', () => {
    const image = addImage(store, [layer('a')], [NAME]);
    for (const name of [
      NAME,
      'app',
      'app:latest',
      image.id,
      image.id.slice(7),
      image.id.slice(7, 19),
      image.descriptor.digest,
      `app@${image.descriptor.digest}`,
    ]) {
      expect(store.images.find(name)?.id).toBe(image.id);
    }
    expect(store.images.find('other')).toBeUndefined();
    expect(store.images.find('app:1')).toBeUndefined();
    expect(store.images.find('ff')).toBeUndefined();
  });

  it('lists an image once with all its names and digests', () => {
    const image = addImage(store, [layer('a')], [NAME]);
    store.images.put(
      image,
      ['docker.io/library/app:2'],
      [`docker.io/library/app@${image.descriptor.digest}`],
    );
    expect(
      store.images.list().map(({ id, names, repoDigests }) => ({ id, names, repoDigests })),
    ).toEqual([
      {
        id: image.id,
        names: ['docker.io/library/app:2', NAME],
        repoDigests: [`docker.io/library/app@${image.descriptor.digest}`],
      },
    ]);
  });

  it('moves a name to the image that is given it last, and the other stays without', () => {
    const first = addImage(store, [layer('a')], [NAME]);
    const second = addImage(store, [layer('b')], [NAME]);
    expect(store.images.find(NAME)?.id).toBe(second.id);
    expect(store.images.find(first.id)?.names).toEqual([]);
    store.images.tag(first.id, NAME);
    expect(store.images.find(NAME)?.id).toBe(first.id);
  });

  it('keeps an image per platform under one name', () => {
    const amd = addImage(store, [layer('a')], [NAME], {}, { os: 'linux', architecture: 'amd64' });
    const arm = addImage(store, [layer('b')], [NAME], {}, { os: 'linux', architecture: 'arm64' });
    expect(store.images.find(NAME, { os: 'linux', architecture: 'arm64' })?.id).toBe(arm.id);
    expect(store.images.find(NAME, { os: 'linux', architecture: 'amd64' })?.id).toBe(amd.id);
    expect(store.images.find(NAME, { os: 'linux', architecture: 's390x' })).toBeUndefined();
    store.images.tag(arm.id, NAME);
    expect(store.images.find(NAME, { os: 'linux', architecture: 'amd64' })).toBeUndefined();
  });

  it('takes names away one by one, and all with the image', () => {
    const image = addImage(store, [layer('a')], [NAME, 'docker.io/library/app:2']);
    expect(store.images.untag(NAME)).toBe(true);
    expect(store.images.untag(NAME)).toBe(false);
    expect(store.images.find('app:2')?.names).toEqual(['docker.io/library/app:2']);
    store.images.remove(image.id);
    expect(store.images.list()).toEqual([]);
    expect(store.images.find('app:2')).toBeUndefined();
  });

  it('does not show an image whose layers are gone', () => {
    const record = layer('a');
    addImage(store, [record], [NAME]);
    store.layers.delete(record.chainId);
    expect(store.images.find(NAME)).toBeUndefined();
    expect(store.images.list()).toEqual([]);
  });

  it('lists in index.json the images whose blobs are all there', async () => {
    const record = layer('a');
    const image = addImage(store, [record], [NAME]);
    const index = () => {
      store.images.flush();
      return JSON.parse(readFileSync(path.join(store.root, 'index.json'), 'utf8')) as {
        manifests: { digest: string; annotations?: Record<string, string> }[];
      };
    };
    expect(index().manifests).toEqual([]);
    const { openLayerTar } = await import('../../../src/images/store/layer-blobs');
    await store.content.ingest(openLayerTar(record, store));
    store.images.tag(image.id, 'docker.io/library/app:2');
    expect(
      index().manifests.map((entry) => [
        entry.digest,
        entry.annotations?.['org.opencontainers.image.ref.name'],
      ]),
    ).toEqual([
      [image.descriptor.digest, 'docker.io/library/app:2'],
      [image.descriptor.digest, NAME],
    ]);
    store.images.untag('docker.io/library/app:2');
    expect(index().manifests).toHaveLength(1);
    store.images.remove(image.id);
    expect(index().manifests).toEqual([]);
  });

  it('writes index.json once for all that was done, and anew after a process that died before it did', async () => {
    const record = layer('a');
    const { openLayerTar } = await import('../../../src/images/store/layer-blobs');
    await store.content.ingest(openLayerTar(record, store));
    const image = addImage(store, [record], [NAME]);
    const file = path.join(store.root, 'index.json');
    const names = (): unknown[] =>
      (
        JSON.parse(readFileSync(file, 'utf8')) as {
          manifests: { annotations?: Record<string, string> }[];
        }
      ).manifests
        .map(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'])
        .sort();
    expect(names()).toEqual([]);
    store.images.flush();
    const { ino } = statSync(file);
    store.images.flush();
    expect([names(), statSync(file).ino]).toEqual([[NAME], ino]);
    // As a process does that is killed before the end of its command.
    const tmp = path.join(store.root, 'tmp');
    store.images.tag(image.id, 'docker.io/library/app:lost');
    for (const mark of readdirSync(tmp).filter((name) => name.startsWith('index.')))
      renameSync(
        path.join(tmp, mark),
        path.join(tmp, mark.replace(/\.[^.]*$/, '.1-1-00000000-0000-0000-0000-000000000000-1')),
      );
    const other = openStore(store.root);
    other.images.tag(image.id, 'docker.io/library/app:2');
    other.images.flush();
    expect(names()).toEqual(['docker.io/library/app:2', NAME, 'docker.io/library/app:lost'].sort());
  });

  it('finds the names of an image that a store of before or of another boot has', () => {
    const image = addImage(store, [layer('a')], [NAME, 'docker.io/library/app:2']);
    const tags = path.join(store.root, 'tags', image.id.slice('sha256:'.length));
    for (const change of [
      () => rmSync(tags),
      () => writeFileSync(tags, '00000000-0000-0000-0000-000000000000\n'),
    ]) {
      change();
      // No process outlives its boot.
      expect(openStore(store.root).images.find(image.id)?.names).toEqual(
        ['docker.io/library/app:2', NAME].sort(),
      );
      change();
      const { images } = openStore(store.root);
      images.tag(image.id, 'docker.io/library/app:3');
      expect([...images.namesOf(image.id)]).toHaveLength(3);
      images.untag('docker.io/library/app:3');
    }
  });

  it('reads all names once for the lists of all images', () => {
    const [first, second, third] = ['a', 'b', 'c'].map((content) =>
      addImage(store, [layer(content)], [`docker.io/library/${content}:1`]),
    );
    const tags = path.join(store.root, 'tags');
    rmSync(tags, { recursive: true });
    const { images } = openStore(store.root);
    expect([...images.namesOf(first?.id as Digest)]).toEqual(['docker.io/library/a:1']);
    expect(readdirSync(tags)).toHaveLength(3);
    images.tag(second?.id as Digest, 'docker.io/library/more:1');
    expect([...images.namesOf(second?.id as Digest)]).toHaveLength(2);
    images.untag('docker.io/library/c:1');
    expect([...images.namesOf(third?.id as Digest)]).toEqual([]);
  });

  it('loses no name when several processes give names at once', async () => {
    const image = addImage(store, [layer('a')], []);
    const script = `
      const { writeFileSync, mkdirSync } = require('fs');
      require('esbuild').buildSync({ entryPoints: [process.argv[1]], bundle: true, platform: 'node', outfile: process.argv[2], external: ['koffi', 'undici'], logLevel: 'silent' });`;
    const bundle = path.join(
      __dirname,
      '../../../node_modules/.cache',
      `tagger-${process.pid}.cjs`,
    );
    await run(['-e', script, path.join(__dirname, 'tagger.ts'), bundle]);
    await Promise.all(
      ['a', 'b', 'c', 'd'].map((who) => run([bundle, store.root, image.id, who, '25'])),
    );
    rmSync(bundle);
    expect(store.images.find(image.id)?.names).toHaveLength(100);
  });
});

describe('the layer index', () => {
  it('keeps the record of the process that was first', () => {
    const record = layer('a');
    const late = { ...record, id: 'late' as typeof record.id };
    expect(store.layers.put(late)).toEqual(record);
    expect(store.layers.list()).toEqual([record]);
  });

  it('remembers each blob once', () => {
    const record = layer('a');
    const blob = { mediaType: 'x', digest: `sha256:${'a'.repeat(64)}` as Digest, size: 1 };
    store.layers.addBlob(record.chainId, blob);
    store.layers.addBlob(record.chainId, blob);
    expect(store.layers.get(record.chainId)?.blobs).toEqual([blob]);
    store.layers.addBlob(`sha256:${'0'.repeat(64)}` as ChainID, blob);
    expect(store.layers.list()).toHaveLength(1);
  });

  it('gives a stack only when every layer is there', () => {
    const bottom = layer('a');
    const top = addLayer(store, [bottom], (dir) => writeFileSync(path.join(dir, 'two'), ''));
    expect(store.layers.stack([bottom.diffId, top.diffId])).toEqual([bottom.id, top.id]);
    expect(store.layers.stack([])).toEqual([]);
    store.layers.delete(bottom.chainId);
    expect(store.layers.stack([bottom.diffId, top.diffId])).toBeUndefined();
  });
});

function run(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      cwd: path.join(__dirname, '../../..'),
    });
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`code ${code}`))));
  });
}
