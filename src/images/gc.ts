import { lstatSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isAbandoned, namesIn, removeFile } from '../content/files';
import { isPartialName } from '../content/local-store';
import type { ChainID, Digest } from '../oci/digest';
import type { LayerId } from '../snapshot/snapshotter';
import type { LayerRecord } from './layer-index';
import { dropDeadLeases, heldByLeases } from './lease';
import type { ImageServices } from './services';

/** What the collector needs of a store; `snapshots` as the overlay snapshotter has them. */
export interface CollectableStore extends Omit<ImageServices, 'snapshots' | 'threads' | 'xattrs'> {
  readonly snapshots: Pick<ImageServices['snapshots'], 'remove'> & {
    /** All committed layers. */
    list(): LayerId[];
    /** Deletes what processes that have ended left unfinished. */
    collectAbandoned(): void;
  };
}

/** What is kept besides what images and leases need: the build cache's and the containers' layers. */
export interface Roots {
  readonly layers?: Iterable<LayerId> | undefined;
  readonly blobs?: Iterable<Digest> | undefined;
}

/** What was collected. */
export interface Collected {
  readonly layers: readonly LayerRecord[];
  readonly blobs: readonly Digest[];
  /** Bytes that were freed, as `docker system df` counts them: contents of layers' files, and blobs. */
  readonly bytes: number;
}

/**
 * Deletes layers and blobs that no image, no lease of a living process and none of `roots` needs; layers from the top down,
 * as an upper one is nothing without those below. Also what dead processes left unfinished, downloads included.
 * Several may collect at once, and builds go on meanwhile (see {@link Lease} for why that is safe).
 */
export function removeUnused(store: CollectableStore, roots: Roots = {}): Collected {
  dropDeadLeases(store.root);
  const layers = removeLayers(store, roots);
  removeStrays(store);
  const blobs = removeBlobs(store, roots);
  removeAbandonedFiles(store);
  return {
    layers, blobs: blobs.map((blob) => blob.digest),
    bytes: layers.reduce((sum, layer) => sum + layer.contentSize, 0) + blobs.reduce((sum, blob) => sum + blob.size, 0),
  };
}

/** The records of all layers that the given ones need: they themselves and all below. */
function closure(ids: ReadonlySet<LayerId>, records: readonly LayerRecord[]): Set<ChainID> {
  const byChain = new Map(records.map((record) => [record.chainId, record]));
  const needed = new Set<ChainID>();
  for (const record of records) {
    if (!ids.has(record.id)) continue;
    for (let at: LayerRecord | undefined = record; at !== undefined && !needed.has(at.chainId); at = at.parent === undefined ? undefined : byChain.get(at.parent)) needed.add(at.chainId);
  }
  return needed;
}

function removeLayers(store: CollectableStore, roots: Roots): LayerRecord[] {
  const records = store.layers.list();
  const rooted = new Set<LayerId>([...store.images.list().flatMap((image) => image.stack), ...(roots.layers ?? []), ...heldByLeases(store.root).layers]);
  const needed = closure(rooted, records);
  const removed: LayerRecord[] = [];
  for (const record of topDown(records.filter((layer) => !needed.has(layer.chainId)))) {
    // Out of the index first: whoever takes a lease from here on looks there again, and does not find it.
    store.layers.delete(record.chainId);
    if (isNeededNow(record, records, store)) {
      store.layers.put(record);
      continue;
    }
    store.snapshots.remove(record.id);
    removed.push(record);
  }
  return removed;
}

/** Layers so that each comes before those below it. */
function topDown(records: readonly LayerRecord[]): LayerRecord[] {
  const byChain = new Map(records.map((record) => [record.chainId, record]));
  const depth = (record: LayerRecord): number => {
    let below = 0;
    for (let at = record.parent; at !== undefined; at = byChain.get(at)?.parent) below++;
    return below;
  };
  return records.map((record) => ({ record, depth: depth(record) })).sort((a, b) => b.depth - a.depth).map(({ record }) => record);
}

/** True when a lease or an image came to need the layer while garbage was being looked for. */
function isNeededNow(record: LayerRecord, records: readonly LayerRecord[], store: CollectableStore): boolean {
  const held = heldByLeases(store.root).layers;
  if (held.has(record.id)) return true;
  const present = [...store.layers.list(), record];
  return closure(held, [...present, ...records]).has(record.chainId);
}

/** Layer directories without a record: their process died between committing and recording them. */
function removeStrays(store: CollectableStore): void {
  const committed = store.snapshots.list();
  // Read after the directories, and the leases after the records, as a process at work holds, commits and records in this order.
  const known = new Set(store.layers.list().map((record) => record.id));
  const held = heldByLeases(store.root).layers;
  for (const id of committed) {
    if (!known.has(id) && !held.has(id)) store.snapshots.remove(id);
  }
  store.snapshots.collectAbandoned();
}

function removeBlobs(store: CollectableStore, roots: Roots): { digest: Digest; size: number }[] {
  const blobs = store.content.list();
  const images = store.images.list().flatMap((image) => [image.descriptor.digest, image.id, ...image.manifest.layers.map((layer) => layer.digest)]);
  const needed = new Set<Digest>([...images, ...(roots.blobs ?? [])]);
  const removed: { digest: Digest; size: number }[] = [];
  for (const digest of blobs) {
    if (needed.has(digest) || heldByLeases(store.root).blobs.has(digest)) continue;
    removed.push({ digest, size: store.content.size(digest) ?? 0 });
    store.content.delete(digest);
  }
  return removed;
}

function removeAbandonedFiles(store: CollectableStore): void {
  const folder = path.join(store.root, 'tmp');
  for (const name of namesIn(folder)) {
    if (!isAbandoned(name)) continue;
    const file = path.join(folder, name);
    if (isPartialName(name) || lstatSync(file, { throwIfNoEntry: false })?.isFile() === true) removeFile(file);
    else rmSync(file, { recursive: true, force: true });
  }
}
