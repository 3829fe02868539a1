import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatOwner } from '../../../src/content/owner';
import { removeUnused } from '../../../src/images/collect/gc';
import { openLayerTar } from '../../../src/images/store/layer-blobs';
import { Lease, heldByLeases } from '../../../src/images/store/lease';
import type { LayerRecord } from '../../../src/images/store/layer-index';
import { recordLayer } from '../../../src/images/store/record-layer';
import { ownIdentity } from '../../../src/linux/process';
import { describeWith } from '../../support/needs';
import { addImage, addLayer, openStore, type TestStore } from '../store';

describeWith('garbage collection', { root: true }, () => {
  let store: TestStore;
  let base: LayerRecord;
  let left: LayerRecord;
  let right: LayerRecord;

  beforeEach(() => {
    store = openStore();
    const layer = (below: LayerRecord[], name: string): LayerRecord =>
      addLayer(store, below, (dir) => writeFileSync(path.join(dir, name), name.repeat(10)));
    base = layer([], 'base');
    left = layer([base], 'left');
    right = layer([base], 'right');
  });
  afterEach(() => store.dispose());

  const there = (): string[] =>
    store.layers
      .list()
      .map((record) => record.id)
      .sort();
  const ids = (...records: LayerRecord[]): string[] => records.map((record) => record.id).sort();

  it('deletes what no image needs, with its directory, and says how much that was', () => {
    addImage(store, [base, left], ['docker.io/library/app:1']);
    const stray = store.content.write(Buffer.from('nobody needs this'));
    const collected = removeUnused(store);
    expect(collected.layers.map((layer) => layer.id)).toEqual([right.id]);
    expect(collected.blobs).toEqual([stray]);
    expect(collected.bytes).toBe(50 + 17);
    expect(there()).toEqual(ids(base, left));
    expect(store.snapshots.list()).toEqual(ids(base, left));
    expect(store.images.find('app:1')).toBeDefined();
  });

  it('goes from the top down and keeps a layer that another image stands on', () => {
    const one = addImage(store, [base, left], ['docker.io/library/app:1']);
    addImage(store, [base, right], ['docker.io/library/app:2']);
    store.images.remove(one.id);
    expect(removeUnused(store).layers.map((layer) => layer.id)).toEqual([left.id]);
    store.images.untag('docker.io/library/app:2');
    for (const image of store.images.list()) store.images.remove(image.id);
    expect(removeUnused(store).layers.map((layer) => layer.id)).toEqual([right.id, base.id]);
    expect(store.content.list()).toEqual([]);
  });

  it('keeps what a lease holds and all below it, until it is released', () => {
    const lease = new Lease(store.root);
    const blob = store.content.write(Buffer.from('in use'));
    lease.hold({ layers: [left.id], blobs: [blob] });
    expect(heldByLeases(store.root)).toEqual({
      layers: new Set([left.id]),
      blobs: new Set([blob]),
    });
    removeUnused(store);
    expect(there()).toEqual(ids(base, left));
    expect(store.content.list()).toEqual([blob]);
    lease.release();
    lease.release();
    removeUnused(store);
    expect(there()).toEqual([]);
    expect(store.content.list()).toEqual([]);
  });

  it('keeps what the caller names, such as the layers of the build cache', () => {
    removeUnused(store, { layers: [right.id] });
    expect(there()).toEqual(ids(base, right));
  });

  it('keeps the blobs of layers that stay', async () => {
    const { digest, size } = await store.content.ingest(openLayerTar(base, store));
    store.layers.addBlob(base.chainId, {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size,
    });
    removeUnused(store, { layers: [base.id] });
    expect(store.content.size(digest)).toBe(size);
  });

  it.each([
    ['whose pid another process has by now', { startTime: 1 }],
    ['of an earlier boot', { boot: '00000000-0000-0000-0000-000000000000' }],
    ['of a PID namespace in which nobody is left', { pidNamespace: 1 }],
  ])(
    'does not heed the leases of processes that have ended, %s, and clears away what they left',
    (_, other) => {
      const dead = formatOwner({ ...ownIdentity(), ...other });
      mkdirSync(path.join(store.root, 'leases'), { recursive: true });
      mkdirSync(path.join(store.root, 'sandbox'));
      writeFileSync(
        path.join(store.root, 'leases', `lease.00.${dead}`),
        `${JSON.stringify({ layers: [left.id], blobs: [] })}\n{"lay`,
      );
      writeFileSync(path.join(store.root, 'tmp', `blob.00.${dead}`), 'half');
      mkdirSync(path.join(store.root, 'active', `x.${dead}`));
      mkdirSync(path.join(store.root, 'sandbox', `stubs.00.${dead}`));
      const mine = store.snapshots.prepare([]);
      removeUnused(store);
      expect(there()).toEqual([]);
      for (const folder of ['leases', 'tmp', 'sandbox'])
        expect(readdirSync(path.join(store.root, folder))).toEqual([]);
      expect(existsSync(mine.dir)).toBe(true);
      expect(readdirSync(path.join(store.root, 'active'))).toHaveLength(1);
      store.snapshots.discard(mine);
    },
  );

  it('removes a directory that was committed but never recorded', () => {
    const active = store.snapshots.prepare([]);
    store.snapshots.commit(active);
    removeUnused(store, { layers: [base.id] });
    expect(store.snapshots.list()).toEqual([base.id]);
  });

  it('puts back what somebody took while it was looking', () => {
    // The lease appears between the first look and the second, as another process would take it.
    const lease = new Lease(store.root);
    const { delete: remove } = store.layers;
    store.layers.delete = (chain) => {
      remove.call(store.layers, chain);
      lease.hold({ layers: [left.id] });
    };
    removeUnused(store);
    expect(there()).toEqual(ids(base, left));
    lease.release();
  });

  it('does not take the layer that another process recorded from one who comes to the same', () => {
    const lease = new Lease(store.root);
    const twin = store.snapshots.commit(store.snapshots.prepare([])).at(-1) ?? left.id;
    lease.hold({ layers: [twin] });
    // The other's is collected just after it was found.
    const { put } = store.layers;
    const index = {
      get: store.layers.get.bind(store.layers),
      replace: store.layers.replace.bind(store.layers),
      put: (record: LayerRecord) => {
        const first = put.call(store.layers, record);
        if (first.id === left.id) removeUnused(store, { layers: [base.id] });
        return first;
      },
    };
    const kept = recordLayer({ ...left, id: twin }, index, lease);
    expect(kept.id).toBe(twin);
    removeUnused(store);
    expect(there()).toEqual(ids(base, kept));
    expect(store.snapshots.list()).toEqual(ids(base, kept));
    lease.release();
  });
});
