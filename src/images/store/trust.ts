import { mkdtempSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errnoOf, isMbuildError } from '../../diagnostics/error';
import { LAYER_LIMITS } from '../../layer/layer';
import type { layerTasks } from '../../layer/tasks';
import { toRaw, type RawPath } from '../../linux/paths';
import { bootId } from '../../linux/process';
import { removeTree } from '../../linux/remove-tree';
import { chainIds, type DiffID, type Digest } from '../../oci/digest';
import { layerCompression } from '../../oci/media-types';
import type { Stack } from '../../snapshot/snapshotter';
import { storedBlob } from './layer-blobs';
import type { LayerRecord } from './layer-index';
import { isTrusted } from './record-layer';
import type { ImageServices } from './services';

/*
 * Damage is a finding, not an error: a layer is damaged when a comparison was finished and differs. Whatever else goes wrong while looking (a
 * full disk, no descriptor or memory left, a disk that cannot be read, a signal) is thrown, and nothing is taken away.
 */

/** What layers are verified with. */
export type TrustServices = Pick<
  ImageServices,
  'content' | 'layers' | 'snapshots' | 'threads' | 'xattrs' | 'aside'
>;

/**
 * The unpacked layers of an image, bottom first, each of them made sure of. `undefined` when one is
 * missing, or was damaged and cannot be unpacked again: the image then has to be pulled or built
 * anew.
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
 * The same for the layers that a container stands on, which may be others by now than those of the
 * index.
 * @returns the DiffID of one that was damaged and cannot be unpacked again; `undefined` when there
 * is none.
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
    // One that is damaged stays in the index until a build takes it out: the next start is refused
    // as well.
    if (!(await isIntact({ ...record, id }, services, { repair: true }))) return record.diffId;
    if (record.id === id) noteTrust(record, services);
  }
  return undefined;
}

/**
 * Makes sure of a layer that was written before the machine last started, and not synced, so that a
 * loss of power may have damaged it. One that is not what it was is unpacked again from its stored
 * blob, in its place.
 * @returns false when that is not possible; the layer's record is then set aside.
 * @throws what keeps the layer from being looked at.
 */
export async function restoreLayer(record: LayerRecord, services: TrustServices): Promise<boolean> {
  if (isTrusted(record)) return true;
  if (!(await isIntact(record, services, { repair: true }))) {
    services.layers.setAside(record.chainId);
    return false;
  }
  noteTrust(record, services);
  return true;
}

/**
 * Remembers that a layer was verified in this boot. Where that cannot be written, it is verified
 * again the next time.
 */
function noteTrust(record: LayerRecord, { layers }: TrustServices): void {
  try {
    layers.replace({ ...record, boot: bootId() });
  } catch (error) {
    if (!isMbuildError(error, 'NO_SPACE') && !isMbuildError(error, 'PERMISSION_DENIED'))
      throw error;
  }
}

/**
 * Whether a layer's directory is what its DiffID says: its tar is, or else what its stored blob
 * unpacks to is the same tree (the tar of another builder cannot be written anew). With `repair`, a
 * directory that is not is set aside, and the blob's tree takes its place. The layers below must be
 * intact.
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

/** Sets a blob aside that is not what its name says any more, so that it is fetched again. */
export async function dropDamaged(
  digest: Digest,
  { content }: Pick<TrustServices, 'content'>,
): Promise<void> {
  if (content.size(digest) !== undefined && !(await content.isIntact(digest)))
    content.setAside(digest);
}

/**
 * The DiffID of a layer directory as it is now; `undefined` when it, or some of it, is not there
 * any more, or is what no layer holds.
 */
async function diffIdOf(
  dir: RawPath,
  { clampMtime }: LayerRecord,
  { threads, xattrs }: TrustServices,
): Promise<DiffID | undefined> {
  try {
    return (await threads.remote<typeof layerTasks>('layer').hashTree(dir, { xattrs, clampMtime }))
      .diffId;
  } catch (error) {
    const isFinding =
      isMbuildError(error, 'STORE_CORRUPT') ||
      isMbuildError(error, 'UNSUPPORTED') ||
      ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '');
    if (!isFinding) throw error;
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
  const scratch = openScratch(below, services, repair);
  try {
    const parents = below.map((id) => snapshots.layerDir(id)).reverse();
    await threads.remote<typeof layerTasks>('layer').applyLayer(
      {
        path: content.path(blob.digest),
        compression,
        digest: blob.digest,
        diffId: record.diffId,
      },
      scratch.dir,
      { xattrs, limits: LAYER_LIMITS, parents },
    );
    const wanted = await diffIdOf(toRaw(scratch.dir), record, services);
    if (present === wanted && present !== undefined) return true;
    if (repair) putInPlace(record, scratch.dir, services);
    return repair;
  } catch (error) {
    // What unpacking says may have other reasons, as a program that was killed: the bytes decide.
    if (!isMbuildError(error, 'DIGEST_MISMATCH') && (await content.isIntact(blob.digest)))
      throw error;
    return false;
  } finally {
    scratch.end();
  }
}

/** A directory to unpack a layer into. */
interface Scratch {
  readonly dir: string;
  end(): void;
}

/** In the store; elsewhere where that is read-only, and nothing is to be put in place. */
function openScratch(below: Stack, { snapshots }: TrustServices, repair: boolean): Scratch {
  try {
    const active = snapshots.prepare(below);
    return { dir: active.dir, end: () => snapshots.discard(active) };
  } catch (error) {
    if (repair || errnoOf(error) !== 'EROFS') throw error;
    const dir = mkdtempSync(path.join(tmpdir(), 'mbuild-check-'));
    return { dir, end: () => removeTree(dir) };
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
function putInPlace({ id }: LayerRecord, dir: string, { snapshots, aside }: TrustServices): void {
  aside.move(snapshots.layerDir(id));
  try {
    renameSync(dir, snapshots.layerDir(id));
  } catch (error) {
    // Another process has restored it at the same time.
    if (errnoOf(error) !== 'ENOTEMPTY' && errnoOf(error) !== 'EEXIST') throw error;
  }
}
