import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  findGroupFolders,
  isUnified,
  machineGroups,
  makeGroupFolders,
  removeGroupFolder,
  writeGroupFile,
  type CgroupObstacle,
  type CgroupPlace,
} from './cgroup-directories';
import { CONTROLLERS, legacySettings, unifiedSettings, type CgroupLimits } from './cgroup-limits';

/** A limit that could not be set, and what the file system said. */
export interface RefusedLimit extends CgroupObstacle {
  readonly limit: keyof CgroupLimits;
}

/**
 * A control group that was made for some processes; there may be several directories of it, one a
 * controller (version 1).
 */
export interface Cgroup {
  /** Files to which a process writes `0` to be in the group, with all that it will start. */
  readonly doors: readonly string[];
  readonly refused: readonly RefusedLimit[];
  /** Puts a process, and what it will start, into the group. */
  add(pid: number): void;
  /** How many processes were killed for want of memory. */
  outOfMemory(): number;
  /** Deletes the group; its processes must have ended. */
  remove(): void;
}

const FLAGS: Readonly<Record<keyof CgroupLimits, string>> = {
  memory: '--memory',
  memorySwap: '--memory-swap',
  cpus: '--cpus',
  cpuShares: '--cpu-shares',
  cpuQuota: '--cpu-quota',
  cpuPeriod: '--cpu-period',
  cpusetCpus: '--cpuset-cpus',
  cpusetMems: '--cpuset-mems',
  pids: '--pids-limit',
};

/**
 * Makes a group with limits; those that the machine gives no right to set, as in many containers,
 * are told of and not kept.
 * @param name unique on this machine.
 */
export function makeCgroup(
  name: string,
  limits: CgroupLimits,
  place: CgroupPlace = machineGroups(),
): Cgroup {
  const settings = isUnified(place) ? unifiedSettings(limits) : legacySettings(limits);
  const controllers = CONTROLLERS.filter((controller) =>
    settings.some((setting) => setting.controller === controller),
  );
  const folders = makeGroupFolders(name, controllers, place);
  const made = [
    ...new Set(
      [...folders.values()].flatMap((folder) =>
        folder.obstacle === undefined ? [folder.path] : [],
      ),
    ),
  ];
  const refused = settings.flatMap(
    ({ limit, controller, file, value, optional }): RefusedLimit[] => {
      const folder = folders.get(controller);
      if (folder === undefined) return [];
      if (folder.obstacle !== undefined) return [{ limit, ...folder.obstacle }];
      const reason = writeGroupFile(path.join(folder.path, file), value, optional === true);
      return reason === undefined ? [] : [{ limit, reason }];
    },
  );
  return cgroupOf(made, [...new Map(refused.map((item) => [item.limit, item])).values()]);
}

/** The group that {@link makeCgroup} made under this name, in whatever process. */
export function findCgroup(name: string, place: CgroupPlace = machineGroups()): Cgroup {
  return cgroupOf(findGroupFolders(name, place), []);
}

/**
 * What a user is told of limits that cannot be set. `mbuild doctor` tells {@link refusalFix}, too.
 */
export function refusalText(whose: string, refused: readonly RefusedLimit[]): string {
  const reasons = new Set(refused.map(({ reason }) => reason));
  const flags = refused.map(({ limit }) => FLAGS[limit]).join(', ');
  return `${flags} of ${whose} cannot be set on this machine and ${refused.length === 1 ? 'has' : 'have'} no effect: ${[...reasons].join('; ')}`;
}

/** What would let limits be set, where that is known. */
export function refusalFix(refused: readonly RefusedLimit[]): string | undefined {
  return refused.find(({ fix }) => fix !== undefined)?.fix;
}

/**
 * A name for the group of a step of this process; what a killed process leaves of it is removed by
 * the next one.
 */
export function stepGroupName(): string {
  return `step-${process.pid}-${Math.random().toString(36).slice(2)}`;
}

function cgroupOf(folders: readonly string[], refused: readonly RefusedLimit[]): Cgroup {
  const doors = folders.map((folder) => path.join(folder, 'cgroup.procs'));
  return {
    doors,
    refused,
    add: (pid) => {
      for (const door of doors) writeFileSync(door, String(pid));
    },
    outOfMemory: () =>
      folders.reduce(
        (sum, folder) =>
          sum +
          killsIn(path.join(folder, 'memory.events')) +
          killsIn(path.join(folder, 'memory.oom_control')),
        0,
      ),
    remove: () => {
      for (const folder of folders) removeGroupFolder(folder);
    },
  };
}

function killsIn(file: string): number {
  return existsSync(file)
    ? Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'latin1'))?.[1] ?? 0)
    : 0;
}
