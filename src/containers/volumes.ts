import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { makeDirectories } from '../linux/make-directories';
import { own } from '../linux/owners';
import { toRaw } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { EMPTY_VIEW } from '../snapshot/merged-view';
import { TreeWriter } from '../snapshot/tree-writer';
import type { MergedView } from '../snapshot/view';
import type { ContainerRecord, VolumeMount } from './container';
import { TreeCopier } from './copy-tree';
import type { ContainerServices } from './services';

/**
 * `-v`: a path of the host or a volume's name, at a path in the container. Without a source a new
 * volume is made.
 */
export interface VolumeRequest {
  readonly source?: string | undefined;
  readonly target: string;
  readonly readonly: boolean;
}

/** Docker's rule for names; what has a slash is a path. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/**
 * Finds or makes what is mounted: paths of the host (a missing one becomes a directory, as with
 * docker), volumes by name, and a new volume for each VOLUME of the image that nothing else is
 * mounted on. A volume that is empty begins with what the image has in its place.
 * @throws MbuildError USAGE for what is neither a path nor a name.
 */
export function prepareVolumes(
  requests: readonly VolumeRequest[],
  record: ContainerRecord,
  services: ContainerServices,
): VolumeMount[] {
  const view = services.snapshots.view(record.image.stack);
  const targets = new Set([
    ...requests.map(({ target }) => path.posix.resolve('/', target)),
    ...record.tmpfs.map(({ target }) => path.posix.resolve('/', target)),
  ]);
  const ofImage = Object.keys(record.image.config.config?.Volumes ?? {}).filter(
    (target) => !targets.has(path.posix.resolve('/', target)),
  );
  return [...requests, ...ofImage.map((target) => ({ target, readonly: false }))].map((request) =>
    prepareVolume(request, view, services),
  );
}

function prepareVolume(
  request: VolumeRequest,
  view: MergedView,
  services: ContainerServices,
): VolumeMount {
  const target = path.posix.resolve('/', request.target);
  const { source, readonly } = request;
  if (source?.includes('/')) return { source: hostPath(source), target, readonly };
  if (source !== undefined && !VOLUME_NAME.test(source)) {
    throw new MbuildError(
      'USAGE',
      `${JSON.stringify(source)} is neither an absolute path nor a name for a volume`,
      { hint: 'a path of the host begins with / or ./' },
    );
  }
  const volume = source ?? randomBytes(32).toString('hex');
  const folder = path.join(volumesFolder(services.root), volume, '_data');
  if (!existsSync(folder)) mkdirSync(folder, { recursive: true, mode: 0o755 });
  if (readdirSync(folder).length === 0) fillVolume(folder, target, view);
  return {
    source: folder,
    target,
    readonly,
    volume,
    ...(source === undefined ? { anonymous: true } : {}),
  };
}

function hostPath(source: string): string {
  const absolute = path.resolve(source);
  try {
    if (!existsSync(absolute)) makeDirectories(absolute);
    return realpathSync(absolute);
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw new MbuildError('USAGE', `cannot mount ${source}: ${(cause as Error).message}`, {
      cause,
      hint: 'name a path that is there, or one that can be made',
    });
  }
}

function fillVolume(folder: string, target: string, view: MergedView): void {
  const model = view.stat(toRaw(target));
  if (model?.stats.isDirectory() !== true) return;
  const writer = new TreeWriter(EMPTY_VIEW, toRaw(folder));
  new TreeCopier(view, writer).contents(model.path, writer.root);
  writer.finish();
  own(toRaw(folder), model.stats.uid, model.stats.gid);
  chmodSync(folder, model.stats.mode & 0o7777);
}

/** Deletes the volumes that were made for a container alone. */
export function removeAnonymousVolumes(record: ContainerRecord, root: string): void {
  for (const { volume, anonymous } of record.volumes) {
    if (anonymous === true && volume !== undefined)
      removeTree(path.join(volumesFolder(root), volume));
  }
}

function volumesFolder(root: string): string {
  return path.join(root, 'volumes');
}
