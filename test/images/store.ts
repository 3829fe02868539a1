import { Aside } from '../../src/content/aside';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LocalContentStore } from '../../src/content/local-store';
import { assembleImage } from '../../src/images/store/assemble';
import { FileImageStore } from '../../src/images/store/file-image-store';
import { FileLayerIndex } from '../../src/images/store/file-layer-index';
import type { Image } from '../../src/images/store/image-store';
import { Lease } from '../../src/images/store/lease';
import type { LayerRecord } from '../../src/images/store/layer-index';
import type { ImageServices } from '../../src/images/store/services';
import { hashTree } from '../../src/layer/diff';
import { layerTasks } from '../../src/layer/tasks';
import { bootId } from '../../src/linux/process';
import type { Remote, Tasks } from '../../src/linux/threads';
import { chainIds, type DiffID } from '../../src/oci/digest';
import type { ContainerConfig } from '../../src/oci/image';
import { hostPlatform, type Platform } from '../../src/oci/platform';
import type { BuildEvent, BuildScope } from '../../src/progress/events';
import { OverlaySnapshotter } from '../../src/snapshot/overlay';

/** A store in a temporary folder. Worker tasks run in the test's own thread. */
export interface TestStore extends ImageServices {
  readonly content: LocalContentStore;
  readonly images: FileImageStore;
  readonly snapshots: OverlaySnapshotter;
  dispose(): void;
}

export function openStore(root = mkdtempSync(path.join(tmpdir(), 'mbuild-store-'))): TestStore {
  const content = new LocalContentStore(root);
  const layers = new FileLayerIndex(root);
  const tasks = Object.entries(layerTasks).map(([name, task]) => [
    name,
    async (...args: readonly unknown[]) =>
      (task as (...args: readonly unknown[]) => unknown)(...args),
  ]);
  const threads = {
    size: 2,
    started: true,
    start: () => undefined,
    remote: <T extends Tasks>(): Remote<T> => Object.fromEntries(tasks) as Remote<T>,
  };
  return {
    root,
    content,
    layers,
    aside: new Aside(root),
    threads,
    xattrs: 'trusted',
    images: new FileImageStore(root, content, layers),
    snapshots: new OverlaySnapshotter(root),
    dispose: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** A scope that keeps its events. */
export function scopeOf(
  signal: AbortSignal = new AbortController().signal,
): BuildScope & { readonly log: BuildEvent[] } {
  const log: BuildEvent[] = [];
  return { signal, log, events: (event) => log.push(event) };
}

/** Commits a layer on top of others, as a build step does; `write` fills its directory. */
export function addLayer(
  store: TestStore,
  below: readonly LayerRecord[],
  write: (dir: string) => void,
): LayerRecord {
  const active = store.snapshots.prepare(below.map((layer) => layer.id));
  write(active.dir);
  const summary = hashTree(active.dir, { xattrs: store.xattrs });
  const id = store.snapshots.commit(active).at(-1) ?? active.id;
  const chainId = chainIds([...below.map((layer) => layer.diffId), summary.diffId]).at(-1);
  if (chainId === undefined) throw new Error('no chain');
  const parent = below.at(-1)?.chainId;
  return store.layers.put({
    chainId,
    id,
    diffId: summary.diffId,
    size: summary.size,
    contentSize: summary.contentSize,
    blobs: [],
    boot: bootId(),
    synced: false,
    ...(parent === undefined ? {} : { parent }),
  });
}

/** An image of built layers. */
export function addImage(
  store: TestStore,
  layers: readonly LayerRecord[],
  names: readonly string[],
  config: ContainerConfig = {},
  platform: Platform = hostPlatform(),
): Image {
  const diffIds: DiffID[] = layers.map((layer) => layer.diffId);
  const lease = new Lease(store.root);
  try {
    return assembleImage(
      {
        names,
        config: {
          ...platform,
          created: '2024-01-02T03:04:05Z',
          config,
          rootfs: { type: 'layers', diff_ids: diffIds },
          history: [],
        },
      },
      store,
      lease,
    );
  } finally {
    lease.release();
  }
}
