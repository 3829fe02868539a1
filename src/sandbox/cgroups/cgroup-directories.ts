import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { CONTROLLERS, type Controller } from './cgroup-limits';
import { outerUid } from '../namespaces/outer-user';

/** Where control groups are found. */
export interface CgroupPlace {
  readonly root: string;
  /** Says which groups this process is in: cgroups(7). */
  readonly own: string;
  /**
   * Of an ordinary user: where the service manager is reached, who may give out groups of
   * version 2. systemd-run(1).
   */
  readonly manager?: string | undefined;
}

/** Those of the machine. */
export function machineGroups(): CgroupPlace {
  const uid = outerUid(process.env) ?? process.geteuid?.();
  return {
    root: '/sys/fs/cgroup',
    own: '/proc/self/cgroup',
    manager: uid === 0 ? undefined : `/run/user/${uid}/systemd/private`,
  };
}

/** Why something of a group cannot be had. */
export interface CgroupObstacle {
  readonly reason: string;
  /** What would help, where that is known. */
  readonly fix?: string | undefined;
}

/** The directory of a group for a controller. */
export interface CgroupFolder {
  readonly path: string;
  /** Why it could not be made. */
  readonly obstacle?: CgroupObstacle | undefined;
}

/** Whether they are of version 2. */
export function isUnified({ root }: CgroupPlace): boolean {
  return existsSync(path.join(root, 'cgroup.controllers'));
}

/**
 * Makes the directories of a group, or says why they cannot be had: one for all controllers in
 * version 2, one for each in version 1.
 */
export function makeGroupFolders(
  name: string,
  controllers: readonly Controller[],
  place: CgroupPlace,
): Map<Controller, CgroupFolder> {
  return isUnified(place)
    ? unifiedFolders(name, controllers, place)
    : new Map(controllers.map((controller) => [controller, legacyFolder(controller, name, place)]));
}

/** The directories of a group that was made. */
export function findGroupFolders(name: string, place: CgroupPlace): string[] {
  const bases = isUnified(place)
    ? unifiedBases(place)
    : CONTROLLERS.map((controller) => legacyBase(controller, place));
  return bases
    .map((base) => path.join(base, groupName(name)))
    .filter((folder) => existsSync(folder));
}

function groupName(name: string): string {
  return `mbuild-${name}`;
}

/** One folder for all controllers, at the first place where it can be made. */
function unifiedFolders(
  name: string,
  controllers: readonly Controller[],
  place: CgroupPlace,
): Map<Controller, CgroupFolder> {
  let folders = new Map<Controller, CgroupFolder>();
  for (const base of unifiedBases(place)) {
    folders = unifiedFoldersIn(base, name, controllers, place);
    if ([...folders.values()].some(({ obstacle }) => obstacle === undefined)) break;
  }
  return folders;
}

function unifiedFoldersIn(
  base: string,
  name: string,
  controllers: readonly Controller[],
  place: CgroupPlace,
): Map<Controller, CgroupFolder> {
  const folder = path.join(base, groupName(name));
  const all = (obstacle: CgroupFolder['obstacle']): Map<Controller, CgroupFolder> =>
    new Map(controllers.map((controller) => [controller, { path: folder, obstacle }]));
  const parents = [path.dirname(base), base];
  let occupied: string | undefined;
  try {
    occupied = parents.find((parent) => isOccupied(parent));
    if (occupied !== undefined) {
      accessSync(occupied, constants.W_OK);
      return all({
        reason: `${occupied} itself has processes, so groups in it cannot have limits`,
        fix: emptyFix(occupied),
      });
    }
    mkdirSync(base, { recursive: true });
    const withheld = new Map(
      controllers.map((controller) => [
        controller,
        parents.map((parent) => enable(controller, parent)).find((reason) => reason !== undefined),
      ]),
    );
    makeReachableFolder(folder, place);
    const folders = controllers.map((controller): [Controller, CgroupFolder] => {
      const reason = isEnabled(controller, folder) ? undefined : withheld.get(controller);
      return [
        controller,
        {
          path: folder,
          obstacle:
            reason === undefined
              ? undefined
              : { reason: `${base} has no ${controller} controller: ${reason}` },
        },
      ];
    });
    if (folders.every(([, { obstacle }]) => obstacle !== undefined)) removeGroupFolder(folder);
    return new Map(folders);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return all({ reason: reasonOf(error, occupied ?? base), fix: deniedFix(error, place) });
  }
}

/**
 * Whether processes are in a group that is not the machine's first: those below it get no limits
 * then. Kernel, cgroup-v2.rst, "No Internal Process Constraint".
 */
function isOccupied(folder: string): boolean {
  return (
    existsSync(path.join(folder, 'cgroup.type')) &&
    readFileSync(path.join(folder, 'cgroup.procs'), 'latin1') !== ''
  );
}

/** Gives the groups in a folder a controller; returns what is in the way. */
function enable(controller: Controller, folder: string): string | undefined {
  return writeGroupFile(path.join(folder, 'cgroup.subtree_control'), `+${controller}`, false);
}

function isEnabled(controller: Controller, folder: string): boolean {
  const file = path.join(folder, 'cgroup.controllers');
  return existsSync(file) && readFileSync(file, 'latin1').trim().split(' ').includes(controller);
}

/**
 * Makes the folder of a group that this process may move others into: it must be able to write to
 * the group above both places as well.
 */
function makeReachableFolder(folder: string, place: CgroupPlace): void {
  makeFolder(folder);
  try {
    accessSync(
      path.join(commonFolder(folder, ownGroup('', place)), 'cgroup.procs'),
      constants.W_OK,
    );
  } catch (error) {
    removeGroupFolder(folder);
    throw error;
  }
}

/** As docker's own start script for docker in docker has it. */
function emptyFix(folder: string): string {
  return `before that, as root: mkdir ${folder}/init; xargs -rn1 <${folder}/cgroup.procs >${folder}/init/cgroup.procs`;
}

/**
 * In a container, the group of this process is the first that is seen; an ordinary user is refused
 * there before it is said that all is read-only.
 */
function deniedFix(error: unknown, place: CgroupPlace): string | undefined {
  const { root, manager } = place;
  const unified = isUnified(place);
  const denied = errnoOf(error) === 'EACCES' || errnoOf(error) === 'EPERM';
  if (
    errnoOf(error) === 'EROFS' ||
    (denied && unified && path.resolve(ownGroup('', place)) === root)
  )
    return 'limit the container instead: docker run --memory … --cpus … --pids-limit …';
  if (!denied || manager === undefined) return undefined;
  return unified && existsSync(manager) ? 'systemd-run --user --scope mbuild …' : 'sudo mbuild …';
}

/**
 * Root has a group at the top for mbuild; others, next to their own group, what the system's
 * manager gave them.
 */
function unifiedBases(place: CgroupPlace): string[] {
  const beside = path.dirname(ownGroup('', place));
  return [path.join(place.root, 'mbuild'), ...(beside.startsWith(place.root) ? [beside] : [])];
}

function legacyFolder(controller: Controller, name: string, place: CgroupPlace): CgroupFolder {
  const base = legacyBase(controller, place);
  const folder = path.join(base, groupName(name));
  try {
    if (!existsSync(base))
      return { path: folder, obstacle: { reason: `the ${controller} controller is missing` } };
    makeFolder(folder);
    // A new group has none of either, and takes no process then. cpuset(7).
    if (controller === 'cpuset')
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        writeFileSync(path.join(folder, file), readFileSync(path.join(base, file)), { flag: 'r+' });
    return { path: folder };
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    if (errnoOf(error) !== 'EEXIST') removeGroupFolder(folder);
    return {
      path: folder,
      obstacle: { reason: reasonOf(error, base), fix: deniedFix(error, place) },
    };
  }
}

/** Below the group that this process is in, so that its own limits go on to count. */
function legacyBase(controller: Controller, place: CgroupPlace): string {
  const own = ownGroup(controller, place);
  return existsSync(own) ? own : path.join(place.root, controller);
}

/** This process's group of a controller; the one that all share has none in its name. */
function ownGroup(controller: Controller | '', { root, own }: CgroupPlace): string {
  const lines = existsSync(own)
    ? readFileSync(own, 'latin1')
        .split('\n')
        .map((line) => line.split(':'))
    : [];
  return path.join(
    root,
    controller,
    lines.find(([, names = '']) => names.split(',').includes(controller))?.[2] ?? '/',
  );
}

function commonFolder(a: string, b: string): string {
  let folder = path.dirname(a);
  while (folder !== '/' && b !== folder && !b.startsWith(`${folder}/`))
    folder = path.dirname(folder);
  return folder;
}

/** Makes the folder of a group anew, and removes those of processes that were killed. */
function makeFolder(folder: string): void {
  const base = path.dirname(folder);
  removeGroupFolder(folder);
  for (const name of readdirSync(base)) {
    const owner = /^mbuild-step-(\d+)-/.exec(name)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`))
      removeGroupFolder(path.join(base, name));
  }
  mkdirSync(folder);
}

/**
 * Writes to a file of a group.
 * @param optional a file that is missing is none to write to.
 * @returns what is in the way.
 */
export function writeGroupFile(file: string, value: string, optional: boolean): string | undefined {
  try {
    writeFileSync(file, value, { flag: 'r+' });
    return undefined;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return optional && errnoOf(error) === 'ENOENT'
      ? undefined
      : `${path.basename(file)}: ${reasonOf(error)}`;
  }
}

/** Without the name of the group, which is another one each time. */
function reasonOf(error: unknown, place?: string): string {
  const [what = ''] = (error as Error).message.split(',');
  return place === undefined ? what : `${what} in ${place}`;
}

/** Deletes a directory of a group, unless something still ends in it. */
export function removeGroupFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    // What still ends in it leaves the folder to the next attempt; it holds nothing.
    if (!['ENOENT', 'EBUSY', 'EROFS', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? ''))
      throw error;
  }
}
