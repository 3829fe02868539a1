import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { namesIn } from '../content/files';
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
  /** A path of the host that is not there is an error: `--mount type=bind`. */
  readonly mustExist?: boolean | undefined;
}

/** Docker's rule for names, without its least length of two; what has a slash is a path. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

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
  if (source?.includes('/'))
    return { source: hostPath(source, request.mustExist === true), target, readonly };
  if (source !== undefined && !VOLUME_NAME.test(source)) {
    throw new MbuildError(
      'USAGE',
      `${JSON.stringify(source)} is neither an absolute path nor a valid volume name`,
      { hint: 'begin a path of the host with / or ./' },
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

function hostPath(source: string, mustExist: boolean): string {
  const absolute = path.resolve(source);
  if (mustExist && !existsSync(absolute))
    throw new MbuildError(
      'HOST_PATH_NOT_FOUND',
      `${source}, which is to be mounted, does not exist`,
      {
        hint: 'make it first; -v makes a missing directory',
      },
    );
  try {
    if (!existsSync(absolute)) makeDirectories(absolute);
    return realpathSync(absolute);
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw new MbuildError('USAGE', `cannot mount ${source}: ${(cause as Error).message}`, {
      cause,
      hint: 'give a path that exists or can be created',
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

/** A volume of the store. */
export interface Volume {
  readonly name: string;
  /** Where its files are. */
  readonly mountpoint: string;
  /** When it was made. */
  readonly created: Date;
}

/** Docker's names for volumes that nobody named. */
const ANONYMOUS = /^[0-9a-f]{64}$/;

/** All volumes, by name. */
export function listVolumes(root: string): Volume[] {
  return namesIn(volumesFolder(root))
    .sort()
    .flatMap((name) => volumeNamed(root, name) ?? []);
}

/** True for a volume that was made without a name. */
export function isAnonymous({ name }: Volume): boolean {
  return ANONYMOUS.test(name);
}

/** The volume of that name; `undefined` when there is none. */
export function volumeNamed(root: string, name: string): Volume | undefined {
  const mountpoint = path.join(volumesFolder(root), name, '_data');
  if (!VOLUME_NAME.test(name) || !existsSync(mountpoint)) return undefined;
  return { name, mountpoint, created: statSync(path.dirname(mountpoint)).mtime };
}

/**
 * Makes a volume, with a name of its own when none is given; one that is there stays as it is.
 * @throws MbuildError USAGE for a text that is not a name.
 */
export function createVolume(root: string, name = randomBytes(32).toString('hex')): Volume {
  if (!VOLUME_NAME.test(name))
    throw new MbuildError('USAGE', `${JSON.stringify(name)} is not a valid name for a volume`, {
      hint: 'letters, digits, "_", "." and "-" are allowed; the first is a letter or a digit',
    });
  mkdirSync(path.join(volumesFolder(root), name, '_data'), { recursive: true, mode: 0o755 });
  const made = volumeNamed(root, name);
  if (made === undefined)
    throw new MbuildError('IO_FAILED', `volume ${name} went while it was made`);
  return made;
}

/** Deletes a volume and its files. A second call does nothing. */
export function removeVolume(root: string, { name }: Volume): void {
  removeTree(path.join(volumesFolder(root), name));
}

function volumesFolder(root: string): string {
  return path.join(root, 'volumes');
}
