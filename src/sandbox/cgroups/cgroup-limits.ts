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

/** What limits are in version 2: kernel, admin-guide/cgroup-v2.rst. Shares become a weight as OCI runtimes have it. */
export function unifiedSettings({
  memory,
  memorySwap,
  cpuShares,
  cpusetCpus,
  cpusetMems,
  pids,
  ...rest
}: CgroupLimits): Setting[] {
  const { limit, quota, period } = bandwidth(rest);
  const swap =
    memory === undefined
      ? undefined
      : memorySwap === -1
        ? 'max'
        : String(Math.max(0, (memorySwap ?? memory) - memory));
  const weight =
    cpuShares === undefined
      ? undefined
      : String(1 + Math.floor(((Math.min(Math.max(cpuShares, 2), 262_144) - 2) * 9999) / 262_142));
  return [
    ...setting('memory', 'memory', 'memory.max', memory),
    ...setting(
      memorySwap === undefined ? 'memory' : 'memorySwap',
      'memory',
      'memory.swap.max',
      swap,
      true,
    ),
    ...setting(
      limit,
      'cpu',
      'cpu.max',
      quota === undefined ? undefined : `${quota < 0 ? 'max' : quota} ${period ?? PERIOD}`,
    ),
    ...setting('cpuShares', 'cpu', 'cpu.weight', weight),
    ...setting('cpusetCpus', 'cpuset', 'cpuset.cpus', cpusetCpus),
    ...setting('cpusetMems', 'cpuset', 'cpuset.mems', cpusetMems),
    ...setting('pids', 'pids', 'pids.max', pids === -1 ? undefined : pids),
  ];
}

/** What they are in version 1: kernel, admin-guide/cgroup-v1 and scheduler/sched-bwc.rst. */
export function legacySettings({
  memory,
  memorySwap,
  cpuShares,
  cpusetCpus,
  cpusetMems,
  pids,
  ...rest
}: CgroupLimits): Setting[] {
  const { limit, quota, period } = bandwidth(rest);
  return [
    ...setting('memory', 'memory', 'memory.limit_in_bytes', memory),
    ...setting(
      memorySwap === undefined ? 'memory' : 'memorySwap',
      'memory',
      'memory.memsw.limit_in_bytes',
      memory === undefined ? undefined : (memorySwap ?? memory),
      true,
    ),
    ...setting(
      limit,
      'cpu',
      'cpu.cfs_period_us',
      quota === undefined ? undefined : (period ?? PERIOD),
    ),
    ...setting(limit, 'cpu', 'cpu.cfs_quota_us', quota),
    ...setting('cpuShares', 'cpu', 'cpu.shares', cpuShares),
    ...setting('cpusetCpus', 'cpuset', 'cpuset.cpus', cpusetCpus),
    ...setting('cpusetMems', 'cpuset', 'cpuset.mems', cpusetMems),
    ...setting('pids', 'pids', 'pids.max', pids === -1 ? undefined : pids),
  ];
}

function setting(
  limit: keyof CgroupLimits,
  controller: Controller,
  file: string,
  value: string | number | undefined,
  optional = false,
): Setting[] {
  return value === undefined ? [] : [{ limit, controller, file, value: String(value), optional }];
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
