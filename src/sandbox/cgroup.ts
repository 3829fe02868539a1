import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';

/** How much of the machine a group of processes may use. */
export interface CgroupLimits {
  /** Bytes, swap included. */
  readonly memory?: number | undefined;
  /** CPUs, also parts of one. */
  readonly cpus?: number | undefined;
  readonly pids?: number | undefined;
}

/** A control group that was made for some processes; there may be several directories of it, one a controller (version 1). */
export interface Cgroup {
  /** Puts a process, and what it will start, into the group. */
  add(pid: number): void;
  /** Deletes the group; its processes must have ended. */
  remove(): void;
}

const ROOT = '/sys/fs/cgroup';
const PERIOD = 100_000; // microseconds, the kernel's default

/** Files of a controller with what is written to them, first those that must be there. */
interface Setting {
  readonly controller: 'memory' | 'cpu' | 'pids';
  readonly file: string;
  readonly value: string;
  readonly optional?: boolean | undefined;
}

/**
 * Makes a group with limits. @throws what the file system says where the machine gives no right to that, as in many containers.
 * @param name unique on this machine.
 */
export function makeCgroup(name: string, limits: CgroupLimits): Cgroup {
  const unified = existsSync(path.join(ROOT, 'cgroup.controllers'));
  const settings = unified ? unifiedSettings(limits) : legacySettings(limits);
  const folders = unified ? [path.join(ROOT, 'mbuild', name)] : legacyFolders(name, settings);
  const cgroup = cgroupOf(folders);
  try {
    if (unified) enableControllers(settings);
    for (const folder of folders) mkdirSync(folder, { recursive: true });
    for (const { controller, file, value, optional } of settings) {
      const folder = unified ? folders[0] : folders.find((candidate) => candidate.startsWith(path.join(ROOT, controller)));
      write(path.join(folder ?? '', file), value, optional === true);
    }
    return cgroup;
  } catch (error) {
    cgroup.remove();
    throw error;
  }
}

/** The group that {@link makeCgroup} made under this name, in whatever process. */
export function findCgroup(name: string): Cgroup {
  const all: readonly Setting['controller'][] = ['memory', 'cpu', 'pids'];
  const candidates = existsSync(path.join(ROOT, 'cgroup.controllers')) ? [path.join(ROOT, 'mbuild', name)] : all.map((controller) => legacyFolder(controller, name));
  return cgroupOf(candidates.filter((folder) => existsSync(folder)));
}

function cgroupOf(folders: readonly string[]): Cgroup {
  return {
    add: (pid) => {
      for (const folder of folders) writeFileSync(path.join(folder, 'cgroup.procs'), String(pid));
    },
    remove: () => {
      for (const folder of folders) removeFolder(folder);
    },
  };
}

/** Kernel, admin-guide/cgroup-v2.rst. */
function unifiedSettings({ memory, cpus, pids }: CgroupLimits): Setting[] {
  return [
    ...(memory === undefined ? [] : [
      { controller: 'memory' as const, file: 'memory.max', value: String(memory) }, { controller: 'memory' as const, file: 'memory.swap.max', value: '0', optional: true },
    ]),
    ...(cpus === undefined ? [] : [{ controller: 'cpu' as const, file: 'cpu.max', value: `${Math.round(cpus * PERIOD)} ${PERIOD}` }]),
    ...(pids === undefined ? [] : [{ controller: 'pids' as const, file: 'pids.max', value: String(pids) }]),
  ];
}

/** Kernel, admin-guide/cgroup-v1 and scheduler/sched-bwc.rst. */
function legacySettings({ memory, cpus, pids }: CgroupLimits): Setting[] {
  return [
    ...(memory === undefined ? [] : [
      { controller: 'memory' as const, file: 'memory.limit_in_bytes', value: String(memory) },
      { controller: 'memory' as const, file: 'memory.memsw.limit_in_bytes', value: String(memory), optional: true },
    ]),
    ...(cpus === undefined ? [] : [
      { controller: 'cpu' as const, file: 'cpu.cfs_period_us', value: String(PERIOD) }, { controller: 'cpu' as const, file: 'cpu.cfs_quota_us', value: String(Math.round(cpus * PERIOD)) },
    ]),
    ...(pids === undefined ? [] : [{ controller: 'pids' as const, file: 'pids.max', value: String(pids) }]),
  ];
}

function legacyFolders(name: string, settings: readonly Setting[]): string[] {
  return [...new Set(settings.map(({ controller }) => controller))].map((controller) => legacyFolder(controller, name));
}

/** Below the group that this process is in, so that its own limits go on to count. */
function legacyFolder(controller: string, name: string): string {
  const lines = readFileSync('/proc/self/cgroup', 'latin1').split('\n').map((line) => line.split(':'));
  const own = lines.find(([, names = '']) => names.split(',').includes(controller))?.[2] ?? '/';
  const base = path.join(ROOT, controller, own);
  return path.join(existsSync(base) ? base : path.join(ROOT, controller), `mbuild-${name}`);
}

/** A controller must be passed on at each level above the group. */
function enableControllers(settings: readonly Setting[]): void {
  const wanted = [...new Set(settings.map(({ controller }) => `+${controller}`))].join(' ');
  mkdirSync(path.join(ROOT, 'mbuild'), { recursive: true });
  for (const folder of [ROOT, path.join(ROOT, 'mbuild')]) writeFileSync(path.join(folder, 'cgroup.subtree_control'), wanted);
}

function write(file: string, value: string, optional: boolean): void {
  try {
    writeFileSync(file, value, { flag: 'r+' });
  } catch (error) {
    if (!optional || errnoOf(error) === undefined) throw error;
  }
}

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    // What still ends in it leaves the folder to the next attempt; it holds nothing.
    if (!['ENOENT', 'EBUSY'].includes(errnoOf(error) ?? '')) throw error;
  }
}
