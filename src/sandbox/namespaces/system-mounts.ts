import { existsSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { mountPoints } from '../../linux/mount-points';
import type { Op } from './init/program';
import { AT_FDCWD, MS, O, S } from './init/syscalls';
import { NULL, mountOp, type SandboxPlaces } from './mount-ops';
import type { ProcessSpec } from '../sandbox';

/**
 * In a user namespace, the surroundings' /sys and then its devices are kept from this file
 * descriptor on.
 */
const SYS_FD = 80;

/** moby, oci/defaults.go. What is missing on this kernel is left out. */
export const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];

export const READONLY_PATHS = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

const DEVICES: readonly (readonly [name: string, major: number, minor: number])[] = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
];

/** /proc, /sys and /dev as moby's default specification has them. */
export function systemMountOps(spec: ProcessSpec, ids: SandboxPlaces['ids']): Op[] {
  return [
    ...['/proc', '/sys', '/dev'].map((dir): Op => ({ ...makeOp(dir), onError: 'next' })),
    mountOp('mount /proc', 'proc', '/proc', {
      type: 'proc',
      flags: MS.NOSUID | MS.NOEXEC | MS.NODEV,
    }),
    ...processOps(spec),
    ...sysOps(spec, ids),
    ...devOps(spec, ids),
    ...(spec.confined ? maskOps() : []),
  ];
}

/** A read-only /sys, with the step's control groups. */
function sysOps(spec: ProcessSpec, ids: SandboxPlaces['ids']): Op[] {
  const flags = MS.NOSUID | MS.NOEXEC | MS.NODEV | (spec.confined ? MS.RDONLY : 0);
  const own =
    ids === undefined || spec.network !== 'host'
      ? [mountOp('mount /sys', 'sysfs', '/sys', { type: 'sysfs', flags })]
      : bindSysOps(flags, spec.confined);
  if (!existsSync('/sys/fs/cgroup/cgroup.controllers')) return own;
  const groups = mountOp('mount /sys/fs/cgroup', 'cgroup2', '/sys/fs/cgroup', {
    type: 'cgroup2',
    flags,
  });
  return [...own, { ...groups, onError: 'next' }];
}

/** Names in /dev that lead to what is mounted. */
const LINKS = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['pts/ptmx', 'ptmx'],
  ['/proc/kcore', 'core'],
] as const;

function devOps(spec: ProcessSpec, ids: SandboxPlaces['ids']): Op[] {
  return [
    mountOp('mount /dev', 'tmpfs', '/dev', {
      type: 'tmpfs',
      flags: MS.NOSUID | MS.STRICTATIME,
      data: 'mode=755,size=65536k',
    }),
    ...DEVICES.flatMap(([name, major, minor]) => deviceOps(name, major, minor, ids)),
    ...['pts', 'shm', 'mqueue'].map((name) => makeOp(`/dev/${name}`)),
    mountOp('mount /dev/pts', 'devpts', '/dev/pts', {
      type: 'devpts',
      flags: MS.NOSUID | MS.NOEXEC,
      data: `newinstance,ptmxmode=0666,mode=0620${ids === 'one' ? '' : ',gid=5'}`,
    }),
    mountOp('mount /dev/shm', 'shm', '/dev/shm', {
      type: 'tmpfs',
      flags: MS.NOSUID | MS.NOEXEC | MS.NODEV,
      data: `mode=1777,size=${spec.shmSize ?? 64 << 20}`,
    }),
    mountOp('mount /dev/mqueue', 'mqueue', '/dev/mqueue', {
      type: 'mqueue',
      flags: MS.NOSUID | MS.NOEXEC | MS.NODEV,
    }),
    ...LINKS.map(([to, name]): Op => ({
      what: `link /dev/${name}`,
      call: 'symlinkat',
      args: [{ text: to }, AT_FDCWD, { text: `/dev/${name}` }],
    })),
  ];
}

function makeOp(directory: string): Op {
  return {
    what: `make ${directory}`,
    call: 'mkdirat',
    args: [AT_FDCWD, { text: directory }, 0o755],
  };
}

/** Before Linux 6.14 the number is the machine's, and is left alone. */
export function processOps({ maxProcesses }: ProcessSpec): Op[] {
  if (maxProcesses === undefined || !hasOwnPidMax(release())) return [];
  const value = Buffer.from(String(maxProcesses));
  return [
    {
      what: 'open the limit of processes',
      call: 'openat',
      args: [AT_FDCWD, { text: '/proc/sys/kernel/pid_max' }, O.WRONLY | O.CLOEXEC],
      save: 'pidmax',
      onError: { to: 'without a limit of processes' },
    },
    {
      what: 'limit the processes',
      call: 'write',
      args: [{ saved: 'pidmax' }, { bytes: value }, value.length],
      onError: 'next',
    },
    { what: 'go on', label: 'without a limit of processes', call: 'umask', args: [0] },
  ];
}

/** Whether the highest process id is a PID namespace's own: Linux 6.14, kernel/pid.c. */
export function hasOwnPidMax(kernel: string): boolean {
  const [major = 0, minor = 0] = kernel.split(/[.-]/).map(Number);
  return major > 6 || (major === 6 && minor >= 14);
}

/**
 * What is needed of the surroundings in a user namespace: opened while it is in sight, for
 * {@link bindSysOps} and {@link deviceOps}.
 */
export function surroundingOps(): Op[] {
  return ['/sys', ...DEVICES.map(([name]) => `/dev/${name}`)].flatMap((file, i): Op[] => [
    {
      what: `open ${file}`,
      call: 'openat',
      args: [AT_FDCWD, { text: file }, O.PATH | O.CLOEXEC],
      save: `surrounding${i}`,
    },
    {
      what: `keep ${file}`,
      call: 'dup3',
      args: [{ saved: `surrounding${i}` }, SYS_FD + i, O.CLOEXEC],
    },
  ]);
}

/** The network's owner alone may mount its sysfs, so the surroundings' is taken. */
function bindSysOps(flags: number, confined: boolean): Op[] {
  return [
    mountOp('take over /sys', `/proc/self/fd/${SYS_FD}`, '/sys', { flags: MS.BIND | MS.REC }),
    {
      ...mountOp('restrict /sys', NULL, '/sys', { flags: MS.REMOUNT | MS.BIND | flags }),
      onError: 'next',
    },
    ...(confined
      ? mountsInSys().map((target) =>
          mountOp(`hide ${target}`, 'tmpfs', target, {
            type: 'tmpfs',
            flags: MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC,
            data: 'size=0',
          }),
        )
      : []),
  ];
}

/**
 * What is mounted in the surroundings' /sys and comes with it, the outermost ones. A user may own
 * some of it, and could write there: to the control groups that systemd gave out, by which all of
 * his processes can be ended, or to the connections of FUSE. A sysfs of one's own has none of that.
 */
export function mountsInSys(): string[] {
  const points = [...new Set(mountPoints().filter((point) => point.startsWith('/sys/')))];
  return points.filter((point) => !points.some((other) => point.startsWith(`${other}/`)));
}

/** A device; in a user namespace none can be made, and the surroundings' is mounted. */
function deviceOps(name: string, major: number, minor: number, ids: SandboxPlaces['ids']): Op[] {
  const what = `make /dev/${name}`;
  const mode = ids === undefined ? S.IFCHR | 0o666 : S.IFREG | 0o666;
  const make: Op = {
    what,
    call: 'mknodat',
    args: [AT_FDCWD, { text: `/dev/${name}` }, mode, ids === undefined ? (major << 8) | minor : 0],
  };
  return ids === undefined
    ? [make]
    : [
        make,
        mountOp(
          what,
          `/proc/self/fd/${SYS_FD + 1 + DEVICES.findIndex(([device]) => device === name)}`,
          `/dev/${name}`,
          { flags: MS.BIND },
        ),
      ];
}

/**
 * Hides what tells or changes the host. The paths lie on file systems that were mounted just now,
 * so no link is in them.
 */
function maskOps(): Op[] {
  const masks = MASKED_PATHS.filter((target) => existsSync(target)).map((target) =>
    statSync(target).isDirectory()
      ? mountOp(`mask ${target}`, 'tmpfs', target, {
          type: 'tmpfs',
          flags: MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC,
          data: 'size=0',
        })
      : mountOp(`mask ${target}`, '/dev/null', target, { flags: MS.BIND }),
  );
  const readonly = READONLY_PATHS.filter((target) => existsSync(target)).flatMap((target) => [
    mountOp(`hold ${target}`, target, target, { flags: MS.BIND | MS.REC }),
    mountOp(`make ${target} read-only`, NULL, target, {
      flags: MS.REMOUNT | MS.BIND | MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC,
    }),
  ]);
  return [...masks, ...readonly];
}
