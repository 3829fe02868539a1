import { MbuildError, isMbuildError } from '../diagnostics/error';
import { completeApplied } from '../layer/apply';
import { LAYER_LIMITS, type Applied } from '../layer/layer';
import type { layerTasks } from '../layer/tasks';
import { bootId } from '../linux/process';
import { chainIds, type ChainID, type DiffID } from '../oci/digest';
import type { Descriptor } from '../oci/image';
import { layerCompression } from '../oci/media-types';
import type { BuildScope, VertexId } from '../progress/events';
import type { ActiveSnapshot, LayerId, Stack } from '../snapshot/snapshotter';
import type { Lease } from './lease';
import type { ImageServices } from './services';
import { isBlobIntact, restoreLayer } from './trust';
import { PARALLEL_TRANSFERS, checkCanceled, limiter, together, transferReporter } from './transfer';

/** A layer to be unpacked, and how its blob comes into the content store if it has to. */
export interface LayerToUnpack {
  readonly diffId: DiffID;
  readonly blob: Descriptor;
  /** Called at most once, and not for a layer that is unpacked already. */
  fetch(scope: BuildScope, progress: (state: 'downloading' | 'retrying', bytes: number) => void): Promise<void>;
}

/** A layer in its own directory, not yet on top of the others. */
interface Unpacked {
  readonly active: ActiveSnapshot;
  /** Absent when it can only be unpacked with those below it known. */
  readonly applied?: Applied | undefined;
}

/**
 * Makes the layers of an image, bottom first, a stack in the store. Blobs are fetched and unpacked side by side, each in a
 * directory of its own; then every layer is completed against those below it, committed and recorded, in order.
 * What is unpacked already is neither fetched nor unpacked again. What failed leaves nothing but blobs.
 * `lease` keeps the result until the caller has named it.
 * @throws MbuildError as fetching and unpacking do, STORE_CORRUPT when a layer is not what the config says.
 */
export async function unpackLayers(layers: readonly LayerToUnpack[], services: ImageServices, lease: Lease, vertex: VertexId, scope: BuildScope): Promise<Stack> {
  const chains = chainIds(layers.map((layer) => layer.diffId));
  const present = await holdPresent(chains, services, lease);
  const missing = layers.slice(present.length);
  for (const layer of layers.slice(0, present.length)) transferReporter(scope, vertex, layer.blob.digest, layer.blob.size)('exists', layer.blob.size);

  const inTurn = limiter(PARALLEL_TRANSFERS);
  const open = new Set<ActiveSnapshot>();
  let below: Promise<Stack> = Promise.resolve(present);
  for (const { blob } of missing) transferReporter(scope, vertex, blob.digest, blob.size)('waiting');
  const calls = missing.map((layer, i) => {
    // Each layer waits for the one below it only when it is unpacked itself.
    let settle: { resolve: (stack: Stack) => void; reject: (error: unknown) => void } | undefined;
    const parents = below;
    const done = new Promise<Stack>((resolve, reject) => (settle = { resolve, reject }));
    done.catch(() => undefined);
    below = done;
    return async (inner: BuildScope): Promise<void> => {
      try {
        const unpacked = await inTurn(() => unpackAlone(layer, present.length + i === 0, services, vertex, inner, open));
        settle?.resolve(await commitOn(await parents, unpacked, layer, chains, present.length + i, services, lease, open));
      } catch (error) {
        settle?.reject(error);
        throw error;
      }
    };
  });
  try {
    await together(scope, calls);
    return await below;
  } finally {
    for (const active of open) services.snapshots.discard(active);
  }
}

/** The layers at the bottom that are unpacked already, held. */
async function holdPresent(chains: readonly ChainID[], services: ImageServices, lease: Lease): Promise<Stack> {
  const stack: LayerId[] = [];
  for (const chain of chains) {
    const record = services.layers.get(chain);
    if (record === undefined) break;
    stack.push(record.id);
  }
  lease.hold({ layers: stack });
  for (const [i, chain] of chains.slice(0, stack.length).entries()) {
    const record = services.layers.get(chain);
    if (record === undefined || !(await restoreLayer(record, services))) return stack.slice(0, i);
  }
  return stack;
}

async function unpackAlone(layer: LayerToUnpack, isFirst: boolean, services: ImageServices, vertex: VertexId, scope: BuildScope, open: Set<ActiveSnapshot>): Promise<Unpacked> {
  const { blob } = layer;
  const report = transferReporter(scope, vertex, blob.digest, blob.size);
  checkCanceled(scope.signal);
  const wasThere = services.content.size(blob.digest) !== undefined;
  await layer.fetch(scope, report);
  checkCanceled(scope.signal);
  report('extracting', blob.size);
  const active = services.snapshots.prepare([]);
  open.add(active);
  try {
    const applied = await applyTo(active, layer, services, isFirst ? [] : undefined);
    report('done', blob.size);
    return { active, applied };
  } catch (error) {
    if (wasThere && !(await isBlobIntact(blob.digest, services))) {
      // Left by an earlier process, and damaged since: it is fetched once more.
      services.content.delete(blob.digest);
      services.snapshots.discard(active);
      open.delete(active);
      return await unpackAlone(layer, isFirst, services, vertex, scope, open);
    }
    // A name that leads through a symlink may be a sound one in the merged tree.
    if (isFirst || !isMbuildError(error, 'ARCHIVE_UNSAFE')) throw error;
    return { active };
  }
}

async function commitOn(
  below: Stack, unpacked: Unpacked, layer: LayerToUnpack, chains: readonly ChainID[], at: number,
  services: ImageServices, lease: Lease, open: Set<ActiveSnapshot>,
): Promise<Stack> {
  let { active, applied } = unpacked;
  const { snapshots, layers } = services;
  const parents = below.map((id) => snapshots.layerDir(id)).reverse();
  if (applied === undefined || (parents.length > 0 && !completeApplied(applied, active.dir, parents, services))) {
    snapshots.discard(active);
    open.delete(active);
    active = snapshots.prepare(below);
    open.add(active);
    applied = await applyTo(active, layer, services, parents);
  }
  const chainId = chains[at];
  const parent = chains[at - 1];
  if (chainId === undefined) throw new MbuildError('INTERNAL', `there is no layer ${at}`);
  lease.hold({ layers: [active.id] });
  const id = snapshots.commit(active).at(-1) ?? active.id;
  open.delete(active);
  lease.hold({ layers: [id] });
  const record = layers.put({
    chainId, id, diffId: layer.diffId, size: applied.size, contentSize: applied.contentSize, blobs: [layer.blob], boot: bootId(), synced: false,
    ...(parent === undefined ? {} : { parent }),
  });
  if (record.id !== id) {
    snapshots.remove(id);
    layers.addBlob(chainId, layer.blob);
    lease.hold({ layers: [record.id] });
  }
  return [...below, record.id];
}

/** @param parents directories of the layers below, the top first. */
async function applyTo(active: ActiveSnapshot, layer: LayerToUnpack, services: ImageServices, parents?: readonly string[]): Promise<Applied> {
  const compression = layerCompression(layer.blob.mediaType);
  if (compression === undefined) throw new MbuildError('IMAGE_INVALID', `${layer.blob.mediaType} is no layer of a file system`);
  return services.threads.remote<typeof layerTasks>('layer').applyLayer(
    { path: services.content.path(layer.blob.digest), compression, digest: layer.blob.digest, diffId: layer.diffId },
    active.dir,
    { xattrs: services.xattrs, limits: LAYER_LIMITS, ...(parents === undefined ? {} : { parents }) },
  );
}
