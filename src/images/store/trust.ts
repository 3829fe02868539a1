import { createHash } from 'node:crypto';
import { renameSync } from 'node:fs';
import { isMbuildError, errnoOf } from '../../diagnostics/error';
import { LAYER_LIMITS } from '../../layer/layer';
import type { layerTasks } from '../../layer/tasks';
import { toRaw, type RawPath } from '../../linux/paths';
import { bootId } from '../../linux/process';
import { chainIds, toDigest, type DiffID, type Digest } from '../../oci/digest';
import { layerCompression } from '../../oci/media-types';
import type { Stack } from '../../snapshot/snapshotter';
import { storedBlob } from './layer-blobs';
import type { LayerRecord } from './layer-index';
import { isTrusted } from './record-layer';
import type { ImageServices } from './services';

/** What layers are verified with. */
export type TrustServices = Pick<
  ImageServices,
  'content' | 'layers' | 'snapshots' | 'threads' | 'xattrs'
>;

/**
 * The unpacked layers of an image, bottom first, each of them made sure of. `undefined` when one is missing, or was damaged and
 * cannot be unpacked again: the image then has to be pulled or built anew.
 */
export async function trustedStack(
  diffIds: readonly DiffID[],
  services: TrustServices,
): Promise<Stack | undefined> {
  for (const chainId of chainIds(diffIds)) {
    const record = services.layers.get(chainId);
    if (record === undefined || !(await restoreLayer(record, services))) return undefined;
  }
  return services.layers.stack(diffIds);
}

/**
 * The same for the layers that a container stands on, which may be others by now than those of the index.
 * @returns the DiffID of one that was damaged and cannot be unpacked again; `undefined` when there is none.
 */
export async function firstDamaged(
  diffIds: readonly DiffID[],
  stack: Stack,
  services: TrustServices,
): Promise<DiffID | undefined> {
  for (const [i, chainId] of chainIds(diffIds).entries()) {
    const [record, id] = [services.layers.get(chainId), stack[i]];
    if (record === undefined || id === undefined || (record.id === id && isTrusted(record)))
      continue;
    // One that is damaged stays in the index until a build takes it out: the next start is refused as well.
    if (!(await isIntact({ ...record, id }, services, { repair: true }))) return record.diffId;
    if (record.id === id) services.layers.replace({ ...record, boot: bootId() });
  }
  return undefined;
}

/**
 * Makes sure of a layer that was written before the machine last started, and not synced, so that a loss of power may have damaged it.
 * One that is not what it was is unpacked again from its stored blob, in its place.
 * @returns false when that is not possible; the layer is then out of the index.
 */
export async function restoreLayer(record: LayerRecord, services: TrustServices): Promise<boolean> {
  if (isTrusted(record)) return true;
  if (!(await isIntact(record, services, { repair: true }))) {
    services.layers.delete(record.chainId);
    return false;
  }
  services.layers.replace({ ...record, boot: bootId() });
  return true;
}

/**
 * Whether a layer's directory is what its DiffID says: its tar is, or else what its stored blob unpacks to is the same tree (the tar
 * of another builder cannot be written anew). With `repair`, a directory that is not takes the blob's tree.
 * The layers below must be intact.
 */
export async function isIntact(
  record: LayerRecord,
  services: TrustServices,
  { repair }: { readonly repair: boolean },
): Promise<boolean> {
  const dir = toRaw(services.snapshots.layerDir(record.id));
  const hash = await diffIdOf(dir, record, services);
  return hash === record.diffId || compareWithBlob(record, hash, services, repair);
}

/** Whether a blob of the store still is what its name says. */
export async function isBlobIntact(
  digest: Digest,
  { content }: Pick<TrustServices, 'content'>,
): Promise<boolean> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of content.open(digest)) hash.update(chunk as Buffer);
  } catch (error) {
    if (!isMbuildError(error) && errnoOf(error) === undefined) throw error;
    return false;
  }
  return toDigest(hash) === digest;
}

/** Deletes a blob that is not what its name says any more, so that it is fetched again. */
export async function dropDamaged(
  digest: Digest,
  { content }: Pick<TrustServices, 'content'>,
): Promise<void> {
  if (content.size(digest) !== undefined && !(await isBlobIntact(digest, { content })))
    content.delete(digest);
}

/** The DiffID of a layer directory as it is now; `undefined` when it cannot be read as a whole. */
async function diffIdOf(
  dir: RawPath,
  { clampMtime }: LayerRecord,
  { threads, xattrs }: TrustServices,
): Promise<DiffID | undefined> {
  try {
    return (await threads.remote<typeof layerTasks>('layer').hashTree(dir, { xattrs, clampMtime }))
      .diffId;
  } catch (error) {
    if (!isMbuildError(error) && errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

async function compareWithBlob(
  record: LayerRecord,
  present: DiffID | undefined,
  services: TrustServices,
  repair: boolean,
): Promise<boolean> {
  const { content, snapshots, threads, xattrs } = services;
  const blob = storedBlob(record, services);
  const compression = blob === undefined ? undefined : layerCompression(blob.mediaType);
  const below = stackBelow(record, services.layers);
  if (blob === undefined || compression === undefined || below === undefined) return false;
  const active = snapshots.prepare(below);
  try {
    const parents = below.map((id) => snapshots.layerDir(id)).reverse();
    await threads.remote<typeof layerTasks>('layer').applyLayer(
      {
        path: content.path(blob.digest),
        compression,
        digest: blob.digest,
        diffId: record.diffId,
      },
      active.dir,
      { xattrs, limits: LAYER_LIMITS, parents },
    );
    const wanted = await diffIdOf(toRaw(active.dir), record, services);
    if (present === wanted && present !== undefined) return true;
    if (repair) putInPlace(record, active.dir, services);
    return repair;
  } catch (error) {
    if (!isMbuildError(error)) throw error;
    // The blob is damaged as well.
    return false;
  } finally {
    snapshots.discard(active);
  }
}

/** The layers below one, bottom first; `undefined` when one is missing. */
function stackBelow({ parent }: LayerRecord, layers: TrustServices['layers']): Stack | undefined {
  if (parent === undefined) return [];
  const record = layers.get(parent);
  const below = record === undefined ? undefined : stackBelow(record, layers);
  return record === undefined || below === undefined ? undefined : [...below, record.id];
}

/** Under the same id, for containers know their layers by it. */
function putInPlace({ id }: LayerRecord, dir: string, { snapshots }: TrustServices): void {
  snapshots.remove(id);
  try {
    renameSync(dir, snapshots.layerDir(id));
  } catch (error) {
    // Another process has restored it at the same time.
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') throw error;
  }
}
