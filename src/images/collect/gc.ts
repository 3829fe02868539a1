import { renameSync } from 'node:fs';
import { recordsAside } from '../../content/aside';
import { tempName } from '../../content/files';
import { errnoOf } from '../../diagnostics/error';
import { removeFile } from '../../linux/remove-tree';
import { sharedSize } from '../../linux/tree-size';
import type { ChainID, Digest } from '../../oci/digest';
import type { LayerId } from '../../snapshot/snapshotter';
import type { LayerRecord } from '../store/layer-index';
import { heldByLeases } from '../store/lease';
import { removeLeftovers } from './leftovers';
import type { ImageServices } from '../store/services';

/** What the collector needs of a store; `snapshots` as the overlay snapshotter has them. */
export interface CollectableStore extends Omit<
  ImageServices,
  'images' | 'snapshots' | 'threads' | 'xattrs'
> {
  readonly images: {
    /** Layers and blobs of all images, also of those that lack some. */
    needs(): { readonly chains: readonly ChainID[]; readonly blobs: readonly Digest[] };
  };
  readonly snapshots: Pick<ImageServices['snapshots'], 'layerDir' | 'remove'> & {
    /** All committed layers. */
    list(): LayerId[];
  };
}

/**
 * What is kept besides what images and leases need: the build cache's and the containers' layers.
 * They are looked at more than once, and must then tell what is true at that time, as a process
 * gives up its lease once something else of it keeps the layer.
 */
export interface Roots {
  readonly layers?: Iterable<LayerId> | undefined;
  readonly blobs?: Iterable<Digest> | undefined;
}

/** What was collected. */
export interface Collected {
  readonly layers: readonly LayerRecord[];
  readonly blobs: readonly Digest[];
  /**
   * Bytes that were freed: contents of layers' files, but for those that layers which stay share,
   * and blobs.
   */
  readonly bytes: number;
}

/**
 * Deletes layers and blobs that no image, no lease of a living process and none of `roots` needs;
 * layers from the top down, as an upper one is nothing without those below. Also what dead
 * processes left unfinished, downloads included. Builds go on meanwhile (see {@link Lease} for why
 * that is safe), but only one may collect at a time: what one has taken out of the index to look
 * again, another would take for a stray.
 */
export function removeUnused(store: CollectableStore, roots: Roots = {}): Collected {
  removeLeftovers(store.root);
  const { layers, bytes } = removeLayers(store, roots);
  for (const id of findStrays(store, roots)) store.snapshots.remove(id);
  const blobs = removeBlobs(store, roots);
  return {
    layers,
    blobs: blobs.map((blob) => blob.digest),
    bytes: bytes + blobs.reduce((sum, blob) => sum + blob.size, 0),
  };
}

/**
 * What {@link removeUnused} would collect now, but for what dead processes left. Nothing is
 * touched.
 */
export function findUnused(store: CollectableStore, roots: Roots = {}): Collected {
  const records = store.layers.list();
  const needed = neededChains(store, records, roots);
  const layers = topDown(records.filter((layer) => !needed.has(layer.chainId)));
  const staying = records
    .filter((layer) => needed.has(layer.chainId))
    .flatMap((layer) => layer.blobs.map((blob) => blob.digest));
  const kept = new Set([
    ...heldByLeases(store.root).blobs,
    ...store.images.needs().blobs,
    ...staying,
    ...(roots.blobs ?? []),
  ]);
  const blobs = store.content.list().filter((digest) => !kept.has(digest));
  return {
    layers,
    blobs,
    bytes:
      bytesOf(withoutShared(layers, records), records, store) +
      blobs.reduce((sum, digest) => sum + (store.content.size(digest) ?? 0), 0),
  };
}

/** ChainIDs of all layers that are needed: those of images and leases, and all below them. */
function neededChains(
  store: CollectableStore,
  records: readonly LayerRecord[],
  roots: Roots,
): Set<ChainID> {
  // Leases before images, as a process names its image before it gives up the lease.
  const ids = new Set<LayerId>([...heldByLeases(store.root).layers, ...(roots.layers ?? [])]);
  const needed = new Set(store.images.needs().chains);
  const byChain = new Map(records.map((record) => [record.chainId, record]));
  for (const record of records) {
    if (!ids.has(record.id)) continue;
    for (
      let at: LayerRecord | undefined = record;
      at !== undefined && !needed.has(at.chainId);
      at = at.parent === undefined ? undefined : byChain.get(at.parent)
    )
      needed.add(at.chainId);
  }
  return needed;
}

function removeLayers(
  store: CollectableStore,
  roots: Roots,
): { readonly layers: readonly LayerRecord[]; readonly bytes: number } {
  const records = store.layers.list();
  const before = neededChains(store, records, roots);
  const unused = topDown(records.filter((layer) => !before.has(layer.chainId)));
  // Out of the index first: whoever takes a lease from here on looks there again, and does not find
  // them.
  for (const record of unused) store.layers.delete(record.chainId);
  const after = unused.length === 0 ? before : neededChains(store, records, roots);
  for (const record of unused.filter((layer) => after.has(layer.chainId))) store.layers.put(record);
  const removed = unused.filter((layer) => !after.has(layer.chainId));
  // One directory may be several layers, with other times in their tars.
  const staying = new Set(store.layers.list().map((record) => record.id));
  const going = removed.filter((layer) => !staying.has(layer.id));
  const bytes = bytesOf(going, records, store);
  for (const id of new Set(going.map((layer) => layer.id))) store.snapshots.remove(id);
  return { layers: removed, bytes };
}

/** The layers whose directories are those of no layer that stays. */
function withoutShared(
  going: readonly LayerRecord[],
  all: readonly LayerRecord[],
): readonly LayerRecord[] {
  const unused = new Set(going);
  const staying = new Set(all.filter((layer) => !unused.has(layer)).map(({ id }) => id));
  return going.filter(({ id }) => !staying.has(id));
}

/**
 * What is freed when some of all layers go. A copy shares files with the copy that it was edited
 * from, onto the same layer.
 */
function bytesOf(
  going: readonly LayerRecord[],
  all: readonly LayerRecord[],
  { snapshots }: Pick<CollectableStore, 'snapshots'>,
): number {
  const directories = new Map(going.map((layer) => [layer.id, layer]));
  const onto = new Map<ChainID | undefined, number>();
  for (const { parent } of all) onto.set(parent, (onto.get(parent) ?? 0) + 1);
  const mayShare = [...directories.values()].filter(({ parent }) => (onto.get(parent) ?? 0) > 1);
  return (
    [...directories.values()].reduce((sum, layer) => sum + layer.contentSize, 0) -
    sharedSize(mayShare.map(({ id }) => snapshots.layerDir(id)))
  );
}

/** Layers so that each comes before those below it. */
function topDown(records: readonly LayerRecord[]): LayerRecord[] {
  const byChain = new Map(records.map((record) => [record.chainId, record]));
  const depth = (record: LayerRecord): number => {
    let below = 0;
    for (let at = record.parent; at !== undefined; at = byChain.get(at)?.parent) below++;
    return below;
  };
  return records
    .map((record) => ({ record, depth: depth(record) }))
    .sort((a, b) => b.depth - a.depth)
    .map(({ record }) => record);
}

/**
 * Layer directories without a record that nothing needs: their process died between committing and
 * recording them.
 */
export function findStrays(store: CollectableStore, roots: Roots = {}): LayerId[] {
  const committed = store.snapshots.list();
  // Read before the records and after them: a process at work holds, commits and records in this
  // order, and then lets go.
  const before = heldByLeases(store.root).layers;
  const known = new Set(store.layers.list().map((record) => record.id));
  const kept = new Set([
    ...before,
    ...heldByLeases(store.root).layers,
    ...(roots.layers ?? []),
    // Directories of damaged layers stay as long as their records.
    ...recordsAside<LayerRecord>(store.root, 'chains').map(({ id }) => id),
  ]);
  return committed.filter((id) => !known.has(id) && !kept.has(id));
}

/** Moves what seems unused aside, looks again, and puts back what was not. */
function removeBlobs(store: CollectableStore, roots: Roots): { digest: Digest; size: number }[] {
  // The blobs of layers that stay are kept with them: a tar that another builder made cannot be
  // written anew.
  const ofLayers = (): Digest[] =>
    store.layers.list().flatMap((layer) => layer.blobs.map((blob) => blob.digest));
  const needed = (): Set<Digest> =>
    new Set([
      ...heldByLeases(store.root).blobs,
      ...store.images.needs().blobs,
      ...ofLayers(),
      ...(roots.blobs ?? []),
    ]);
  const before = needed();
  const unused = store.content
    .list()
    .filter((digest) => !before.has(digest))
    .flatMap((digest) => {
      const aside = tempName(store.root, 'unused');
      const size = store.content.size(digest);
      return size !== undefined && moved(store.content.path(digest), aside)
        ? [{ digest, size, aside }]
        : [];
    });
  const after = unused.length === 0 ? before : needed();
  return unused.filter(({ digest, aside }) => {
    if (after.has(digest)) moved(aside, store.content.path(digest));
    else removeFile(aside);
    return !after.has(digest);
  });
}

/** Renames a file; false when another process was first. */
function moved(from: string, to: string): boolean {
  try {
    renameSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
