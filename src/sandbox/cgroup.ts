import { accessSync, constants, existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';

/** How much of the machine a group of processes may use. */
export interface CgroupLimits {
  /** Bytes; swap included unless `memorySwap` says more. */
  readonly memory?: number | undefined;
  /** Bytes of memory and swap together; -1 is no limit for swap. */
  readonly memorySwap?: number | undefined;
  /** CPUs, also parts of one. */
  readonly cpus?: number | undefined;
  /** Weight against other groups when CPUs are scarce; 1024 is the usual one. */
  readonly cpuShares?: number | undefined;
  /** Microseconds of CPU in each period. */
  readonly cpuQuota?: number | undefined;
  /** Microseconds. */
  readonly cpuPeriod?: number | undefined;
  /** CPUs by number: `0-3,8`. */
  readonly cpusetCpus?: string | undefined;
  /** Memory nodes by number. */
  readonly cpusetMems?: string | undefined;
  /** Processes and threads; -1 is no limit. */
  readonly pids?: number | undefined;
}

/** A limit that could not be set, and what the file system said. */
export interface RefusedLimit {
  readonly limit: keyof CgroupLimits;
  readonly reason: string;
}

/** A control group that was made for some processes; there may be several directories of it, one a controller (version 1). */
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

/** Where control groups are found. */
export interface CgroupPlace {
  readonly root: string;
  /** Says which groups this process is in: cgroups(7). */
  readonly own: string;
}

const MACHINE: CgroupPlace = { root: '/sys/fs/cgroup', own: '/proc/self/cgroup' };
const CONTROLLERS = ['memory', 'cpu', 'cpuset', 'pids'] as const;
type Controller = (typeof CONTROLLERS)[number];
const PERIOD = 100_000; // microseconds, the kernel's default

const FLAGS: Readonly<Record<keyof CgroupLimits, string>> = {
  memory: '--memory', memorySwap: '--memory-swap', cpus: '--cpus', cpuShares: '--cpu-shares', cpuQuota: '--cpu-quota', cpuPeriod: '--cpu-period',
  cpusetCpus: '--cpuset-cpus', cpusetMems: '--cpuset-mems', pids: '--pids-limit',
};

/** A file of a controller with what is written to it. */
interface Setting {
  readonly limit: keyof CgroupLimits;
  readonly controller: Controller;
  readonly file: string;
  readonly value: string;
  /** Where the file is missing, nothing is. */
  readonly optional?: boolean | undefined;
}

/** Where groups of a controller are made. */
interface Folder {
  readonly path: string;
  /** Why it could not be made. */
  readonly obstacle?: string | undefined;
}

/**
 * Makes a group with limits; those that the machine gives no right to set, as in many containers, are told of and not kept.
 * @param name unique on this machine.
 */
export function makeCgroup(name: string, limits: CgroupLimits, place: CgroupPlace = MACHINE): Cgroup {
  const settings = isUnified(place) ? unifiedSettings(limits) : legacySettings(limits);
  const controllers = CONTROLLERS.filter((controller) => settings.some((setting) => setting.controller === controller));
  const folders = isUnified(place) ? unifiedFolders(name, controllers, place) : new Map(controllers.map((controller) => [controller, legacyFolder(controller, name, place)]));
  const made = [...new Set([...folders.values()].flatMap((folder) => (folder.obstacle === undefined ? [folder.path] : [])))];
  const refused = settings.flatMap(({ limit, controller, file, value, optional }): RefusedLimit[] => {
    const folder = folders.get(controller);
    const reason = folder === undefined ? 'there are no control groups' : folder.obstacle ?? write(path.join(folder.path, file), value, optional === true);
    return reason === undefined ? [] : [{ limit, reason }];
  });
  return cgroupOf(made, [...new Map(refused.map((item) => [item.limit, item])).values()]);
}

/** The group that {@link makeCgroup} made under this name, in whatever process. */
export function findCgroup(name: string, place: CgroupPlace = MACHINE): Cgroup {
  const candidates = isUnified(place) ? unifiedBases(place).map((base) => path.join(base, groupName(name))) : CONTROLLERS.map((controller) => path.join(legacyBase(controller, place), groupName(name)));
  return cgroupOf(candidates.filter((folder) => existsSync(folder)), []);
}

/** Whether something is limited at all. */
export function hasLimits(limits: CgroupLimits): boolean {
  return Object.values(limits).some((value) => value !== undefined);
}

/** What a user is told of limits that cannot be set. */
export function refusalText(whose: string, refused: readonly RefusedLimit[]): string {
  const reasons = new Set(refused.map(({ reason }) => reason));
  const flags = refused.map(({ limit }) => FLAGS[limit]).join(', ');
  return `${flags} of ${whose} cannot be set on this machine and ${refused.length === 1 ? 'is' : 'are'} not kept: ${[...reasons].join('; ')}`;
}

/** A name for the group of a step of this process; what a killed process leaves of it is removed by the next one. */
export function stepGroupName(): string {
  return `step-${process.pid}-${Math.random().toString(36).slice(2)}`;
}

function cgroupOf(folders: readonly string[], refused: readonly RefusedLimit[]): Cgroup {
  const doors = folders.map((folder) => path.join(folder, 'cgroup.procs'));
  return {
    doors, refused,
    add: (pid) => {
      for (const door of doors) writeFileSync(door, String(pid));
    },
    outOfMemory: () => folders.reduce((sum, folder) => sum + killsIn(path.join(folder, 'memory.events')) + killsIn(path.join(folder, 'memory.oom_control')), 0),
    remove: () => {
      for (const folder of folders) removeFolder(folder);
    },
  };
}

function isUnified({ root }: CgroupPlace): boolean {
  return existsSync(path.join(root, 'cgroup.controllers'));
}

function groupName(name: string): string {
  return `mbuild-${name}`;
}

/** Kernel, admin-guide/cgroup-v2.rst. Shares become a weight as OCI runtimes have it. */
function unifiedSettings({ memory, memorySwap, cpuShares, cpusetCpus, cpusetMems, pids, ...rest }: CgroupLimits): Setting[] {
  const { limit, quota, period } = bandwidth(rest);
  const swap = memory === undefined ? undefined : memorySwap === -1 ? 'max' : String(Math.max(0, (memorySwap ?? memory) - memory));
  const weight = cpuShares === undefined ? undefined : String(1 + Math.floor(((Math.min(Math.max(cpuShares, 2), 262_144) - 2) * 9999) / 262_142));
  return [
    ...setting('memory', 'memory', 'memory.max', memory),
    ...setting(memorySwap === undefined ? 'memory' : 'memorySwap', 'memory', 'memory.swap.max', swap, true),
    ...setting(limit, 'cpu', 'cpu.max', quota === undefined ? undefined : `${quota < 0 ? 'max' : quota} ${period ?? PERIOD}`),
    ...setting('cpuShares', 'cpu', 'cpu.weight', weight),
    ...setting('cpusetCpus', 'cpuset', 'cpuset.cpus', cpusetCpus),
    ...setting('cpusetMems', 'cpuset', 'cpuset.mems', cpusetMems),
    ...setting('pids', 'pids', 'pids.max', pids === -1 ? undefined : pids),
  ];
}

/** Kernel, admin-guide/cgroup-v1 and scheduler/sched-bwc.rst. */
function legacySettings({ memory, memorySwap, cpuShares, cpusetCpus, cpusetMems, pids, ...rest }: CgroupLimits): Setting[] {
  const { limit, quota, period } = bandwidth(rest);
  return [
    ...setting('memory', 'memory', 'memory.limit_in_bytes', memory),
    ...setting(memorySwap === undefined ? 'memory' : 'memorySwap', 'memory', 'memory.memsw.limit_in_bytes', memory === undefined ? undefined : memorySwap ?? memory, true),
    ...setting(limit, 'cpu', 'cpu.cfs_period_us', quota === undefined ? undefined : period ?? PERIOD),
    ...setting(limit, 'cpu', 'cpu.cfs_quota_us', quota),
    ...setting('cpuShares', 'cpu', 'cpu.shares', cpuShares),
    ...setting('cpusetCpus', 'cpuset', 'cpuset.cpus', cpusetCpus),
    ...setting('cpusetMems', 'cpuset', 'cpuset.mems', cpusetMems),
    ...setting('pids', 'pids', 'pids.max', pids === -1 ? undefined : pids),
  ];
}

function setting(limit: keyof CgroupLimits, controller: Controller, file: string, value: string | number | undefined, optional = false): Setting[] {
  return value === undefined ? [] : [{ limit, controller, file, value: String(value), optional }];
}

/** The quota in microseconds, however it was given; -1 is no limit. */
function bandwidth({ cpus, cpuQuota, cpuPeriod }: Pick<CgroupLimits, 'cpus' | 'cpuQuota' | 'cpuPeriod'>): { readonly limit: keyof CgroupLimits; readonly quota?: number | undefined; readonly period?: number | undefined } {
  if (cpus !== undefined) return { limit: 'cpus', quota: Math.round(cpus * PERIOD), period: PERIOD };
  if (cpuQuota !== undefined) return { limit: 'cpuQuota', quota: cpuQuota, period: cpuPeriod };
  return { limit: 'cpuPeriod', quota: cpuPeriod === undefined ? undefined : -1, period: cpuPeriod };
}

/** One folder for all controllers, at the first place where it can be made. */
function unifiedFolders(name: string, controllers: readonly Controller[], place: CgroupPlace): Map<Controller, Folder> {
  let folder: Folder = { path: '', obstacle: 'there are no control groups' };
  for (const base of unifiedBases(place)) {
    try {
      mkdirSync(base, { recursive: true });
      for (const parent of [path.dirname(base), base]) for (const controller of controllers) write(path.join(parent, 'cgroup.subtree_control'), `+${controller}`, true);
      folder = { path: path.join(base, groupName(name)) };
      makeFolder(folder.path);
      // A process moves only where it may write to the group above both its places as well.
      accessSync(path.join(commonFolder(folder.path, ownGroup('', place)), 'cgroup.procs'), constants.W_OK);
      break;
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      if (folder.obstacle === undefined) removeFolder(folder.path);
      folder = { path: folder.path, obstacle: reasonOf(error, base) };
    }
  }
  return new Map(controllers.map((controller) => [controller, folder]));
}

/** Root has a group at the top for mbuild; others, next to their own group, what the system's manager gave them. */
function unifiedBases(place: CgroupPlace): string[] {
  const beside = path.dirname(ownGroup('', place));
  return [path.join(place.root, 'mbuild'), ...(beside.startsWith(place.root) ? [beside] : [])];
}

function legacyFolder(controller: Controller, name: string, place: CgroupPlace): Folder {
  const base = legacyBase(controller, place);
  const folder = path.join(base, groupName(name));
  try {
    if (!existsSync(base)) return { path: folder, obstacle: `there is no ${controller} controller` };
    makeFolder(folder);
    // A new group has none of either, and takes no process then. cpuset(7).
    if (controller === 'cpuset') for (const file of ['cpuset.cpus', 'cpuset.mems']) writeFileSync(path.join(folder, file), readFileSync(path.join(base, file)), { flag: 'r+' });
    return { path: folder };
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    if (errnoOf(error) !== 'EEXIST') removeFolder(folder);
    return { path: folder, obstacle: reasonOf(error, base) };
  }
}

/** Below the group that this process is in, so that its own limits go on to count. */
function legacyBase(controller: Controller, place: CgroupPlace): string {
  const own = ownGroup(controller, place);
  return existsSync(own) ? own : path.join(place.root, controller);
}

/** This process's group of a controller; the one that all share has none in its name. */
function ownGroup(controller: Controller | '', { root, own }: CgroupPlace): string {
  const lines = existsSync(own) ? readFileSync(own, 'latin1').split('\n').map((line) => line.split(':')) : [];
  return path.join(root, controller, lines.find(([, names = '']) => names.split(',').includes(controller))?.[2] ?? '/');
}

function commonFolder(a: string, b: string): string {
  let folder = path.dirname(a);
  while (folder !== '/' && b !== folder && !b.startsWith(`${folder}/`)) folder = path.dirname(folder);
  return folder;
}

/** Makes the folder of a group, and removes those of processes that were killed. */
function makeFolder(folder: string): void {
  const base = path.dirname(folder);
  for (const name of readdirSync(base)) {
    const owner = /^mbuild-step-(\d+)-/.exec(name)?.[1];
    if (owner !== undefined && !existsSync(`/proc/${owner}`)) removeFolder(path.join(base, name));
  }
  mkdirSync(folder);
}

/** Returns what is in the way. */
function write(file: string, value: string, optional: boolean): string | undefined {
  try {
    writeFileSync(file, value, { flag: 'r+' });
    return undefined;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return optional && errnoOf(error) === 'ENOENT' ? undefined : `${path.basename(file)}: ${reasonOf(error)}`;
  }
}

/** Without the name of the group, which is another one each time. */
function reasonOf(error: unknown, place?: string): string {
  const [what = ''] = (error as Error).message.split(',');
  return place === undefined ? what : `${what} in ${place}`;
}

function killsIn(file: string): number {
  return existsSync(file) ? Number(/^oom_kill (\d+)$/m.exec(readFileSync(file, 'latin1'))?.[1] ?? 0) : 0;
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    // What still ends in it leaves the folder to the next attempt; it holds nothing.
    if (!['ENOENT', 'EBUSY', 'EROFS', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
  }
}
