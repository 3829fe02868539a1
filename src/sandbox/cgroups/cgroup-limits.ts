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

/** The controllers that have these limits. cgroups(7). */
export const CONTROLLERS = ['memory', 'cpu', 'cpuset', 'pids'] as const;
/** One of {@link CONTROLLERS}. */
export type Controller = (typeof CONTROLLERS)[number];

const PERIOD = 100_000; // microseconds, the kernel's default

/** A file of a controller with what is written to it. */
export interface Setting {
  readonly limit: keyof CgroupLimits;
  readonly controller: Controller;
  readonly file: string;
  readonly value: string;
  /** Where the file is missing, nothing is. */
  readonly optional?: boolean | undefined;
}

/** Whether something is limited at all. */
export function hasLimits(limits: CgroupLimits): boolean {
  return Object.values(limits).some((value) => value !== undefined);
}

/**
 * What limits are in version 2: kernel, admin-guide/cgroup-v2.rst. Shares become a weight as OCI
 * runtimes have it.
 */
export function unifiedSettings(limits: CgroupLimits): Setting[] {
  const { limit, quota, period } = bandwidth(limits);
  const { memory, memorySwap, cpuShares, pids } = limits;
  const wishes: Wish[] = [
    { limit: 'memory', controller: 'memory', file: 'memory.max', value: memory },
    {
      limit: memorySwap === undefined ? 'memory' : 'memorySwap',
      controller: 'memory',
      file: 'memory.swap.max',
      value: swapOf(limits),
      optional: true,
    },
    {
      limit,
      controller: 'cpu',
      file: 'cpu.max',
      value: quota === undefined ? undefined : `${quota < 0 ? 'max' : quota} ${period ?? PERIOD}`,
    },
    {
      limit: 'cpuShares',
      controller: 'cpu',
      file: 'cpu.weight',
      value: cpuShares === undefined ? undefined : weightOf(cpuShares),
    },
    ...placeWishes(limits),
    { limit: 'pids', controller: 'pids', file: 'pids.max', value: pids === -1 ? undefined : pids },
  ];
  return wishes.flatMap(settingOf);
}

/** What they are in version 1: kernel, admin-guide/cgroup-v1 and scheduler/sched-bwc.rst. */
export function legacySettings(limits: CgroupLimits): Setting[] {
  const { limit, quota, period } = bandwidth(limits);
  const { memory, memorySwap, cpuShares, pids } = limits;
  const wishes: Wish[] = [
    { limit: 'memory', controller: 'memory', file: 'memory.limit_in_bytes', value: memory },
    {
      limit: memorySwap === undefined ? 'memory' : 'memorySwap',
      controller: 'memory',
      file: 'memory.memsw.limit_in_bytes',
      value: memory === undefined ? undefined : (memorySwap ?? memory),
      optional: true,
    },
    {
      limit,
      controller: 'cpu',
      file: 'cpu.cfs_period_us',
      value: quota === undefined ? undefined : (period ?? PERIOD),
    },
    { limit, controller: 'cpu', file: 'cpu.cfs_quota_us', value: quota },
    { limit: 'cpuShares', controller: 'cpu', file: 'cpu.shares', value: cpuShares },
    ...placeWishes(limits),
    { limit: 'pids', controller: 'pids', file: 'pids.max', value: pids === -1 ? undefined : pids },
  ];
  return wishes.flatMap(settingOf);
}

/** Which processors and memory may be used: the same in both versions. */
function placeWishes({ cpusetCpus, cpusetMems }: CgroupLimits): Wish[] {
  return [
    { limit: 'cpusetCpus', controller: 'cpuset', file: 'cpuset.cpus', value: cpusetCpus },
    { limit: 'cpusetMems', controller: 'cpuset', file: 'cpuset.mems', value: cpusetMems },
  ];
}

/** A setting whose limit may not be asked for. */
interface Wish extends Omit<Setting, 'value' | 'optional'> {
  readonly value: string | number | undefined;
  readonly optional?: boolean;
}

function settingOf({ value, optional = false, ...rest }: Wish): Setting[] {
  return value === undefined ? [] : [{ ...rest, value: String(value), optional }];
}

/** Version 2 limits swap apart from memory. */
function swapOf({ memory, memorySwap }: CgroupLimits): string | undefined {
  if (memory === undefined) return undefined;
  if (memorySwap === -1) return 'max';
  return String(Math.max(0, (memorySwap ?? memory) - memory));
}

function weightOf(cpuShares: number): string {
  const shares = Math.min(Math.max(cpuShares, 2), 262_144);
  return String(1 + Math.floor(((shares - 2) * 9999) / 262_142));
}

/** The quota in microseconds, however it was given; -1 is no limit. */
function bandwidth({
  cpus,
  cpuQuota,
  cpuPeriod,
}: Pick<CgroupLimits, 'cpus' | 'cpuQuota' | 'cpuPeriod'>): {
  readonly limit: keyof CgroupLimits;
  readonly quota?: number | undefined;
  readonly period?: number | undefined;
} {
  if (cpus !== undefined)
    return { limit: 'cpus', quota: Math.round(cpus * PERIOD), period: PERIOD };
  if (cpuQuota !== undefined) return { limit: 'cpuQuota', quota: cpuQuota, period: cpuPeriod };
  return { limit: 'cpuPeriod', quota: cpuPeriod === undefined ? undefined : -1, period: cpuPeriod };
}
