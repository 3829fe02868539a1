import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadImages } from '../../../src/images/transfer/load';
import { digestOf, hexOf, type Digest } from '../../../src/oci/digest';
import { MediaType } from '../../../src/oci/media-types';
import { useTemp } from '../../support/temp';
import { openStore, scopeOf, type TestStore } from '../store';

describe('load refuses a layout', () => {
  const temp = useTemp();
  let store: TestStore;
  beforeEach(() => {
    store = openStore();
  });
  afterEach(() => store.dispose());

  const load = (dir: string) =>
    loadImages({ path: dir }, undefined, { services: store, vertex: 1, scope: scopeOf() });

  /** A layout of these manifests of an index; blobs by what their digest says they are. */
  function layout(blobs: Readonly<Record<Digest, string>>, manifests: readonly unknown[]): string {
    const dir = temp.dir('layout');
    mkdirSync(join(dir, 'blobs/sha256'), { recursive: true });
    writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    for (const [digest, text] of Object.entries(blobs))
      writeFileSync(join(dir, 'blobs/sha256', hexOf(digest as Digest)), text);
    return dir;
  }

  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MediaType.ociManifest,
    config: { mediaType: MediaType.ociConfig, digest: digestOf(Buffer.from('{}')), size: 2 },
    layers: [],
  });
  const digest = digestOf(Buffer.from(manifest));
  const entry = { mediaType: MediaType.ociManifest, digest, size: manifest.length };

  test.each<[string, () => string, string]>([
    ['without images', () => layout({}, []), 'ARCHIVE_INVALID'],
    ['that lacks a manifest', () => layout({}, [entry]), 'ARCHIVE_INVALID'],
    ['that lacks a config', () => layout({ [digest]: manifest }, [entry]), 'ARCHIVE_INVALID'],
    [
      'with other bytes than a digest says',
      () => layout({ [digest]: manifest.replace('layers', 'LAYERS') }, [entry]),
      'DIGEST_MISMATCH',
    ],
  ])('%s, and keeps nothing of it', async (_, make, code) => {
    await expect(load(make())).rejects.toMatchObject({ code });
    expect(store.images.list()).toEqual([]);
  });
});
