import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { completeApplied } from '../../layer/apply';
import { Growth, type Applied } from '../../layer/layer';
import { bootId } from '../../linux/process';
import { withStopFlag } from '../../linux/stop-flag';
import { chainIds, type ChainID, type DiffID } from '../../oci/digest';
import type { Layer } from '../../oci/image';
import { MediaType } from '../../oci/media-types';
import type { BuildScope } from '../../progress/events';
import type { ActiveSnapshot, LayerId, Stack } from '../../snapshot/snapshotter';
import { recordLayer } from '../store/record-layer';
import { restoreLayer } from '../store/trust';
import {
  PARALLEL_TRANSFERS,
  checkCanceled,
  limiter,
  together,
  transferReporter,
  type Transfer,
} from './transfer';
import { applyLayer, storedLayer, unpackComing, type Coming } from './unpack-coming';

/** A layer to be unpacked, and how its blob comes into the content store if it has to. */
export interface LayerToUnpack extends Layer {
  /**
   * A file that the blob is written to while it is fetched, from its beginning: it is then unpacked
   * as it comes.
   */
  readonly coming?: (() => string | undefined) | undefined;
  /**
   * Not called for a layer that is unpacked already; again when the blob turns out to be damaged.
   */
  fetch(
    scope: BuildScope,
    progress: (state: 'downloading' | 'retrying', bytes: number) => void,
  ): Promise<void>;
}

/** A layer in its own directory, not yet on top of the others. */
interface Unpacked {
  readonly active: ActiveSnapshot;
  /** Absent when it can only be unpacked with those below it known. */
  readonly applied?: Applied | undefined;
}

/** The layers of one image while they are unpacked. */
interface Unpacking {
  readonly transfer: Pick<Transfer, 'services' | 'lease'>;
  /** Of all layers, bottom first. */
  readonly chains: readonly ChainID[];
  /** Directories that are neither committed nor discarded. */
  readonly open: Set<ActiveSnapshot>;
}

/**
 * Makes the layers of an image, bottom first, a stack in the store. Blobs are fetched and unpacked
 * side by side, each in a directory of its own; then every layer is completed against those below
 * it, committed and recorded, in order. What is unpacked already is neither fetched nor unpacked
 * again. What failed leaves nothing but blobs. The lease keeps the result until the caller has
 * named it.
 * @throws MbuildError as fetching and unpacking do, STORE_CORRUPT when a layer is not what the
 * config says.
 */
export async function unpackLayers(
  layers: readonly LayerToUnpack[],
  transfer: Transfer,
): Promise<Stack> {
  const chains = chainIds(layers.map((layer) => layer.diffId));
  const present = await holdPresent(chains, transfer);
  const missing = layers.slice(present.length);
  for (const { blob } of layers.slice(0, present.length))
    transferReporter(transfer, blob.digest, blob.size)('exists', blob.size);
  for (const { blob } of missing) transferReporter(transfer, blob.digest, blob.size)('waiting');

  const inTurn = limiter(PARALLEL_TRANSFERS);
  const unpacking: Unpacking = { transfer, chains, open: new Set() };
  let below: Promise<Stack> = Promise.resolve(present);
  const calls = missing.map((layer, i) => {
    const at = present.length + i;
    // Each layer waits for the one below it only when it is unpacked itself.
    let settle: { resolve: (stack: Stack) => void; reject: (error: unknown) => void } | undefined;
    const parents = below;
    const done = new Promise<Stack>((resolve, reject) => (settle = { resolve, reject }));
    done.catch(() => undefined);
    below = done;
    return async (scope: BuildScope): Promise<void> => {
      try {
        const unpacked = await inTurn(() =>
          unpackAlone(layer, at === 0, { ...transfer, scope }, unpacking),
        );
        settle?.resolve(await commitOn(await parents, unpacked, { layer, at }, unpacking));
      } catch (error) {
        settle?.reject(error);
        throw error;
      }
    };
  });
  try {
    await together(transfer.scope, calls);
    return await below;
  } finally {
    for (const active of unpacking.open) transfer.services.snapshots.discard(active);
  }
}

/**
 * Makes an uncompressed tar, stored as it is, the first layer of a stack, unpacking it while it
 * comes: for one whose digest shows only then. The lease keeps the result.
 * @throws MbuildError as {@link unpackLayers} and storing blobs do.
 */
export async function unpackTar(
  tar: AsyncIterable<Uint8Array>,
  transfer: Pick<Transfer, 'services' | 'lease'>,
): Promise<Layer> {
  const { services, lease } = transfer;
  const active = services.snapshots.prepare([]);
  const open = new Set([active]);
  const arriving: { coming?: Coming } = {};
  const begun = (file: string): void => {
    arriving.coming = unpackComing(file, undefined, (source) =>
      applyLayer(
        { ...source, mediaType: MediaType.ociLayerTar, isHashedElsewhere: true, parents: [] },
        active,
        services,
      ),
    );
  };
  try {
    const { digest, size } = await services.content.ingest(
      tar,
      undefined,
      (blob) => lease.hold({ blobs: [blob] }),
      begun,
    );
    await arriving.coming?.end(Growth.whole);
    const layer: Layer = {
      diffId: digest as string as DiffID,
      blob: { mediaType: MediaType.ociLayerTar, digest, size },
    };
    const applied = await arriving.coming?.applied;
    const unpacking = { transfer, chains: chainIds([layer.diffId]), open };
    await commitOn([], { active, applied }, { layer, at: 0 }, unpacking);
    return layer;
  } catch (error) {
    await arriving.coming?.end(Growth.stopped);
    throw error;
  } finally {
    arriving.coming?.close();
    for (const left of open) services.snapshots.discard(left);
  }
}

/** The layers at the bottom that are unpacked already, held. */
async function holdPresent(
  chains: readonly ChainID[],
  { services, lease }: Transfer,
): Promise<Stack> {
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

async function unpackAlone(
  layer: LayerToUnpack,
  isFirst: boolean,
  transfer: Transfer,
  unpacking: Unpacking,
): Promise<Unpacked> {
  const { services, scope } = transfer;
  const { blob } = layer;
  const report = transferReporter(transfer, blob.digest, blob.size);
  checkCanceled(scope.signal);
  const wasThere = services.content.size(blob.digest) !== undefined;
  const active = services.snapshots.prepare([]);
  unpacking.open.add(active);
  const again = (): Promise<Unpacked> => {
    services.snapshots.discard(active);
    unpacking.open.delete(active);
    return unpackAlone(layer, isFirst, transfer, unpacking);
  };
  const parents = isFirst ? [] : undefined;
  const coming = wasThere ? undefined : startComing(active, layer, { services, parents });
  if (!(await isFetched(layer, coming, transfer, report))) return again();
  try {
    report('extracting', blob.size);
    const applied = await (coming?.applied ??
      withStopFlag(scope.signal, (stop) =>
        applyLayer({ ...storedLayer(layer, services), parents, stop }, active, services),
      ));
    report('done', blob.size);
    return { active, applied };
  } catch (error) {
    checkCanceled(scope.signal);
    if (wasThere && !(await services.content.isIntact(blob.digest))) {
      // Left by an earlier process, and damaged since: it is fetched once more.
      services.content.setAside(blob.digest);
      return await again();
    }
    // A name that leads through a symlink may be a sound one in the merged tree.
    if (isFirst || !isMbuildError(error, 'ARCHIVE_UNSAFE')) throw error;
    return { active };
  }
}

/**
 * Fetches the blob of a layer; false when it did not come through the file that is being unpacked.
 */
async function isFetched(
  layer: LayerToUnpack,
  coming: Coming | undefined,
  { services, scope }: Transfer,
  report: ReturnType<typeof transferReporter>,
): Promise<boolean> {
  try {
    await layer.fetch(scope, report);
    checkCanceled(scope.signal);
    // Another process may have brought the blob meanwhile, or a damaged beginning was fetched anew.
    if (coming?.isWhole(services.content.path(layer.blob.digest)) !== false) return true;
    await coming.end(Growth.stopped);
    return false;
  } catch (error) {
    await coming?.end(Growth.stopped);
    throw error;
  } finally {
    coming?.close();
  }
}

/** Commits a layer on those below it, completed against them. */
async function commitOn(
  below: Stack,
  unpacked: Unpacked,
  { layer, at }: { readonly layer: Layer; readonly at: number },
  { transfer: { services, lease }, chains, open }: Unpacking,
): Promise<Stack> {
  let { active, applied } = unpacked;
  const { snapshots, layers } = services;
  const parents = below.map((id) => snapshots.layerDir(id)).reverse();
  if (
    applied === undefined ||
    (parents.length > 0 && !completeApplied(applied, active.dir, parents, services))
  ) {
    snapshots.discard(active);
    open.delete(active);
    active = snapshots.prepare(below);
    open.add(active);
    applied = await applyLayer({ ...storedLayer(layer, services), parents }, active, services);
  }
  const chainId = chains[at];
  const parent = chains[at - 1];
  if (chainId === undefined) throw new MbuildError('INTERNAL', `the image has no layer ${at}`);
  lease.hold({ layers: [active.id] });
  const id = snapshots.commit(active).at(-1) ?? active.id;
  open.delete(active);
  const record = recordLayer(
    {
      chainId,
      id,
      diffId: layer.diffId,
      size: applied.size,
      contentSize: applied.contentSize,
      blobs: [layer.blob],
      boot: bootId(),
      synced: false,
      ...(parent === undefined ? {} : { parent }),
    },
    layers,
    lease,
  );
  if (record.id !== id) {
    snapshots.remove(id);
    layers.addBlob(chainId, layer.blob);
  }
  return [...below, record.id];
}

/**
 * Begins to unpack a layer whose blob is only about to come; `undefined` for one that comes as a
 * whole.
 */
function startComing(
  active: ActiveSnapshot,
  layer: LayerToUnpack,
  {
    services,
    parents,
  }: Pick<Transfer, 'services'> & { readonly parents: readonly string[] | undefined },
): Coming | undefined {
  const path = layer.coming?.();
  if (path === undefined) return undefined;
  const { diffId, blob } = layer;
  return unpackComing(path, blob.size, (source) =>
    applyLayer({ ...source, mediaType: blob.mediaType, diffId, parents }, active, services),
  );
}
