import { createWriteStream, mkdirSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { storeError, tempName } from '../content/files';
import { assembleImage, layerRecords } from '../images/store/assemble';
import type { Image } from '../images/store/image-store';
import { Lease } from '../images/store/lease';
import { recordLayer } from '../images/store/record-layer';
import { tarTree } from '../layer/diff';
import { NO_LIMITS } from '../layer/layer';
import type { layerTasks } from '../layer/tasks';
import { toRaw } from '../linux/paths';
import { bootId } from '../linux/process';
import { removeFile } from '../linux/remove-tree';
import { chainIds, type DiffID } from '../oci/digest';
import type { ImageConfig } from '../oci/image';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import { applyChanges } from './apply-changes';
import { whilePaused } from './pause';
import type { ContainerServices, OpenContainer } from './services';
import { writtenLayer } from './written-layer';

/** An image to be made of a container. */
export interface CommitRequest {
  /** Full names (`formatReference`); none for a dangling image. */
  readonly names: readonly string[];
  readonly message?: string | undefined;
  readonly author?: string | undefined;
  /** Dockerfile instructions that change the config. */
  readonly changes: readonly string[];
  /** Whether the container's processes stand still while its files are read. */
  readonly pause: boolean;
}

/**
 * Makes an image of a container: the layers of its image, and on top what it has written, if
 * anything; volumes are no part of it. The config is the image's with what the container was asked
 * for, then with `changes`.
 * @throws MbuildError for a change that is none, NO_SPACE.
 */
export async function commitContainer(open: OpenContainer, request: CommitRequest): Promise<Image> {
  const { container, services } = open;
  const { record } = container;
  const config = await applyChanges(record.config, request.changes);
  const lease = new Lease(services.root);
  try {
    lease.hold({ layers: record.image.stack });
    const layer = await commitLayer(open, request.pause, lease);
    const created = new Date().toISOString();
    const base = record.image.config;
    const image: ImageConfig = {
      ...base,
      created,
      author: request.author ?? base.author,
      config,
      rootfs: {
        type: 'layers',
        diff_ids: [...base.rootfs.diff_ids, ...(layer === undefined ? [] : [layer])],
      },
      history: [
        ...(base.history ?? []),
        {
          created,
          created_by: record.args.join(' '),
          ...(request.author === undefined ? {} : { author: request.author }),
          ...(request.message === undefined ? {} : { comment: request.message }),
          ...(layer === undefined ? { empty_layer: true } : {}),
        },
      ],
    };
    return assembleImage({ config: image, names: request.names }, services, lease);
  } finally {
    lease.release();
  }
}

/** Copies the writable layer and records it; `undefined` when nothing is in it. */
async function commitLayer(
  open: OpenContainer,
  pause: boolean,
  lease: Lease,
): Promise<DiffID | undefined> {
  const { record } = open.container;
  const { snapshots, layers, threads, xattrs } = open.services;
  const active = await copyLayer(open, pause);
  lease.hold({ layers: [active.id] });
  snapshots.commit(active);
  const { diffId, size, contentSize, entries } = await threads
    .remote<typeof layerTasks>('layer')
    .hashTree(toRaw(snapshots.layerDir(active.id)), { xattrs });
  const chainId = chainIds([...record.image.config.rootfs.diff_ids, diffId]).at(-1);
  const made = {
    parent: layerRecords(record.image.config, open.services).at(-1)?.chainId,
    id: active.id,
    diffId,
    size,
    contentSize,
    blobs: [],
    boot: bootId(),
    synced: false,
  };
  const kept =
    entries === 0 || chainId === undefined
      ? undefined
      : recordLayer({ ...made, chainId }, layers, lease);
  if (kept === undefined || kept.id !== active.id) snapshots.remove(active.id);
  return kept === undefined ? undefined : diffId;
}

/** The writable layer as a snapshot of the store, which is not committed yet. */
async function copyLayer(
  { container, store, services }: OpenContainer,
  pause: boolean,
): Promise<ActiveSnapshot> {
  const { snapshots, threads, xattrs } = services;
  const { stack } = container.record.image;
  const tar = tempName(services.root, 'commit');
  const active = snapshots.prepare(stack);
  try {
    const layer = toRaw(writtenLayer(container, store, services));
    const copy = (): Promise<void> => writeTar(layer, tar, services);
    await (pause ? whilePaused(container, copy) : copy());
    const parents = stack.map((id) => toRaw(snapshots.layerDir(id))).reverse();
    await threads
      .remote<typeof layerTasks>('layer')
      .applyLayer({ path: tar, compression: 'none' }, toRaw(active.dir), {
        xattrs,
        limits: NO_LIMITS,
        parents,
      });
    return active;
  } catch (error) {
    snapshots.discard(active);
    throw storeError(error, tar);
  } finally {
    removeFile(tar);
  }
}

async function writeTar(layer: string, file: string, { xattrs }: ContainerServices): Promise<void> {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  await pipeline(
    Readable.from(tarTree(layer, { xattrs }), { objectMode: false }),
    createWriteStream(file, { flags: 'wx', mode: 0o600 }),
  );
}
