import { closeSync, fstatSync, openSync } from 'node:fs';
import { storing } from '../../content/files';
import { MbuildError, isMbuildError } from '../../diagnostics/error';
import { completeApplied } from '../../layer/apply';
import { Growth, LAYER_LIMITS, type Applied, type ApplySource } from '../../layer/layer';
import type { layerTasks } from '../../layer/tasks';
import { bootId } from '../../linux/process';
import { withStopFlag, type StopFlag } from '../../linux/stop-flag';
import { chainIds, type ChainID, type DiffID } from '../../oci/digest';
import type { Descriptor } from '../../oci/image';
import { MediaType, layerCompression } from '../../oci/media-types';
import type { BuildScope, VertexId } from '../../progress/events';
import type { ActiveSnapshot, LayerId, Stack } from '../../snapshot/snapshotter';
import type { Lease } from '../store/lease';
import { recordLayer } from '../store/record-layer';
import type { ImageServices } from '../store/services';
import { isBlobIntact, restoreLayer } from '../store/trust';
import { PARALLEL_TRANSFERS, checkCanceled, limiter, together, transferReporter } from './transfer';

/** A layer of an image: what it unpacks to, and where its bytes are. */
export interface Layer {
  readonly diffId: DiffID;
  readonly blob: Descriptor;
}

/** A layer to be unpacked, and how its blob comes into the content store if it has to. */
export interface LayerToUnpack extends Layer {
  /** A file that the blob is written to while it is fetched, from its beginning: it is then unpacked as it comes. */
  readonly coming?: (() => string | undefined) | undefined;
  /** Not called for a layer that is unpacked already; again when the blob turns out to be damaged. */
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

/**
 * Makes the layers of an image, bottom first, a stack in the store. Blobs are fetched and unpacked side by side, each in a
 * directory of its own; then every layer is completed against those below it, committed and recorded, in order.
 * What is unpacked already is neither fetched nor unpacked again. What failed leaves nothing but blobs.
 * `lease` keeps the result until the caller has named it.
 * @throws MbuildError as fetching and unpacking do, STORE_CORRUPT when a layer is not what the config says.
 */
export async function unpackLayers(
  layers: readonly LayerToUnpack[],
  services: ImageServices,
  lease: Lease,
  vertex: VertexId,
  scope: BuildScope,
): Promise<Stack> {
  const chains = chainIds(layers.map((layer) => layer.diffId));
  const present = await holdPresent(chains, services, lease);
  const missing = layers.slice(present.length);
  for (const layer of layers.slice(0, present.length))
    transferReporter(scope, vertex, layer.blob.digest, layer.blob.size)('exists', layer.blob.size);

  const inTurn = limiter(PARALLEL_TRANSFERS);
  const open = new Set<ActiveSnapshot>();
  let below: Promise<Stack> = Promise.resolve(present);
  for (const { blob } of missing)
    transferReporter(scope, vertex, blob.digest, blob.size)('waiting');
  const calls = missing.map((layer, i) => {
    // Each layer waits for the one below it only when it is unpacked itself.
    let settle: { resolve: (stack: Stack) => void; reject: (error: unknown) => void } | undefined;
    const parents = below;
    const done = new Promise<Stack>((resolve, reject) => (settle = { resolve, reject }));
    done.catch(() => undefined);
    below = done;
    return async (inner: BuildScope): Promise<void> => {
      try {
        const unpacked = await inTurn(() =>
          unpackAlone(layer, present.length + i === 0, services, vertex, inner, open),
        );
        settle?.resolve(
          await commitOn(
            await parents,
            unpacked,
            layer,
            chains,
            present.length + i,
            services,
            lease,
            open,
          ),
        );
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

/**
 * Makes an uncompressed tar, stored as it is, the first layer of a stack, unpacking it while it comes: for one whose digest
 * shows only then. `lease` keeps the result. @throws MbuildError as {@link unpackLayers} and storing blobs do.
 */
export async function unpackTar(
  tar: AsyncIterable<Uint8Array>,
  services: ImageServices,
  lease: Lease,
): Promise<Layer> {
  const active = services.snapshots.prepare([]);
  const open = new Set([active]);
  const arriving: { coming?: Coming } = {};
  const begun = (file: string): void => {
    arriving.coming = unpackComing(file, undefined, (source) =>
      applyTo(active, MediaType.ociLayerTar, { ...source, isHashedElsewhere: true }, services, []),
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
    await commitOn(
      [],
      { active, applied: await arriving.coming?.applied },
      layer,
      chainIds([layer.diffId]),
      0,
      services,
      lease,
      open,
    );
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
  services: ImageServices,
  lease: Lease,
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
  services: ImageServices,
  vertex: VertexId,
  scope: BuildScope,
  open: Set<ActiveSnapshot>,
): Promise<Unpacked> {
  const { blob } = layer;
  const report = transferReporter(scope, vertex, blob.digest, blob.size);
  checkCanceled(scope.signal);
  const wasThere = services.content.size(blob.digest) !== undefined;
  const active = services.snapshots.prepare([]);
  open.add(active);
  const again = (): Promise<Unpacked> => {
    services.snapshots.discard(active);
    open.delete(active);
    return unpackAlone(layer, isFirst, services, vertex, scope, open);
  };
  const coming = wasThere
    ? undefined
    : startComing(active, layer, services, isFirst ? [] : undefined);
  try {
    await layer.fetch(scope, report);
    checkCanceled(scope.signal);
    // Another process may have brought the blob meanwhile.
    if (coming?.isWhole() === false) {
      await coming.end(Growth.stopped);
      return await again();
    }
  } catch (error) {
    await coming?.end(Growth.stopped);
    throw error;
  } finally {
    coming?.close();
  }
  try {
    report('extracting', blob.size);
    const applied = await (coming?.applied ??
      withStopFlag(scope.signal, (stop) =>
        applyTo(
          active,
          blob.mediaType,
          stored(layer, services),
          services,
          isFirst ? [] : undefined,
          stop,
        ),
      ));
    report('done', blob.size);
    return { active, applied };
  } catch (error) {
    checkCanceled(scope.signal);
    if (wasThere && !(await isBlobIntact(blob.digest, services))) {
      // Left by an earlier process, and damaged since: it is fetched once more.
      services.content.delete(blob.digest);
      return await again();
    }
    // A name that leads through a symlink may be a sound one in the merged tree.
    if (isFirst || !isMbuildError(error, 'ARCHIVE_UNSAFE')) throw error;
    return { active };
  }
}

async function commitOn(
  below: Stack,
  unpacked: Unpacked,
  layer: Layer,
  chains: readonly ChainID[],
  at: number,
  services: ImageServices,
  lease: Lease,
  open: Set<ActiveSnapshot>,
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
    applied = await applyTo(
      active,
      layer.blob.mediaType,
      stored(layer, services),
      services,
      parents,
    );
  }
  const chainId = chains[at];
  const parent = chains[at - 1];
  if (chainId === undefined) throw new MbuildError('INTERNAL', `there is no layer ${at}`);
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

/** A layer that is unpacked while its blob comes. */
interface Coming {
  readonly applied: Promise<Applied>;
  /** Whether all of a blob of known size went through the file. */
  isWhole(): boolean;
  /** Says that all is there, or that no more comes; then it resolves when nothing is written any more. */
  end(state: typeof Growth.whole | typeof Growth.stopped): Promise<void>;
  /** Lets go of the file once the unpacking has ended. */
  close(): void;
}

/** Begins to unpack a layer whose blob is only about to come; `undefined` for one that comes as a whole. */
function startComing(
  active: ActiveSnapshot,
  layer: LayerToUnpack,
  services: ImageServices,
  parents?: readonly string[],
): Coming | undefined {
  const path = layer.coming?.();
  if (path === undefined) return undefined;
  const { diffId, blob } = layer;
  return unpackComing(path, blob.size, (source) =>
    applyTo(active, blob.mediaType, { ...source, diffId }, services, parents),
  );
}

function unpackComing(
  path: string,
  length: number | undefined,
  apply: (source: Pick<ApplySource, 'path' | 'growing' | 'length'>) => Promise<Applied>,
): Coming {
  const growing = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const fd = storing(path, () => openSync(path, 'a', 0o600));
  // By its descriptor, for it may have come, and have been renamed, before a worker opens it.
  const applied = apply({ path: `/proc/self/fd/${fd}`, growing, length });
  // The fetch is awaited first, for its error says more about a blob that is not what it should be.
  applied.catch(() => undefined);
  return {
    applied,
    isWhole: () => length !== undefined && fstatSync(fd).size >= length,
    end: async (state) => {
      Atomics.store(growing, 0, state);
      if (state === Growth.stopped) await applied.catch(() => undefined);
    },
    close: () => void applied.catch(() => undefined).finally(() => closeSync(fd)),
  };
}

/** @param parents directories of the layers below, the top first. */
async function applyTo(
  active: ActiveSnapshot,
  mediaType: string,
  source: Omit<ApplySource, 'compression'>,
  services: ImageServices,
  parents?: readonly string[],
  stop?: StopFlag,
): Promise<Applied> {
  const compression = layerCompression(mediaType);
  if (compression === undefined)
    throw new MbuildError('IMAGE_INVALID', `${mediaType} is no layer of a file system`);
  return services.threads
    .remote<typeof layerTasks>('layer')
    .applyLayer({ ...source, compression }, active.dir, {
      xattrs: services.xattrs,
      limits: LAYER_LIMITS,
      stop,
      ...(parents === undefined ? {} : { parents }),
    });
}

function stored(
  { blob, diffId }: Layer,
  services: ImageServices,
): Omit<ApplySource, 'compression'> {
  return { path: services.content.path(blob.digest), digest: blob.digest, diffId };
}
