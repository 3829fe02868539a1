import { accessSync, constants } from 'node:fs';
import { errnoOf } from '../../diagnostics/error';
import type { CgroupLimits } from '../cgroups/cgroup-limits';
import type { Arch } from '../namespaces/init/interpreter';
import type { Mount, ProcessSpec } from '../sandbox';
import { hasSeccomp } from '../seccomp/profile';
import { runtimeSeccomp } from '../seccomp/runtime-profile';
import { MASKED_PATHS, READONLY_PATHS, mountsInSys } from '../namespaces/system-mounts';

/**
 * What a runtime's config.json says besides what the process is: config.md of the OCI runtime
 * specification.
 */
export interface BundlePlaces {
  /** Where the root is mounted. */
  readonly root: string;
  /** The folder in which the sources of mounts are, as `mount<i>`. */
  readonly bundle: string;
  /**
   * The program mount, for a runtime that opens devices which layers hold: it forgets that nobody
   * is to.
   */
  readonly mount?: string | undefined;
  /** In a user namespace the surroundings' /sys is taken. */
  readonly ownSys: boolean;
  /** For a runtime that insists on control groups of its own: their path. */
  readonly cgroupsPath?: string | undefined;
}

const NO_LIMIT = 'NO_LIMIT';

/**
 * config.json for a command, with the same mounts, rights and limits that mbuild's own init gives.
 */
export function runtimeConfig(spec: ProcessSpec, arch: Arch, places: BundlePlaces): string {
  const capabilities = spec.capabilities.map((name) => `CAP_${name}`);
  const held = spec.user.uid === 0 ? capabilities : [];
  const config = {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      args: spec.args,
      env: spec.env,
      cwd: spec.cwd,
      noNewPrivileges: spec.noNewPrivileges === true,
      user: { uid: spec.user.uid, gid: spec.user.gid, additionalGids: spec.user.groups },
      capabilities: {
        bounding: capabilities,
        effective: held,
        permitted: held,
        inheritable: [],
        ambient: [],
      },
      rlimits: (spec.ulimits ?? []).map(({ name, soft, hard }) => ({
        type: `RLIMIT_${name.toUpperCase()}`,
        soft: soft < 0 ? NO_LIMIT : soft,
        hard: hard < 0 ? NO_LIMIT : hard,
      })),
    },
    root: { path: places.root, readonly: spec.readonlyRoot === true },
    hostname: spec.hostname,
    mounts: [
      ...systemMounts(spec, places.ownSys),
      ...spec.mounts.map((mount, i) => ownMount(mount, `${places.bundle}/mount${i}`)),
    ],
    ...(places.mount === undefined
      ? {}
      : {
          hooks: {
            createContainer: [rootHook(places.mount, places.root, spec.readonlyRoot === true)],
          },
        }),
    linux: {
      namespaces: [
        'mount',
        'pid',
        'ipc',
        'uts',
        'cgroup',
        ...(spec.network === 'host' ? [] : ['network']),
      ].map((type) => ({ type })),
      ...(spec.confined ? { maskedPaths: MASKED_PATHS, readonlyPaths: READONLY_PATHS } : {}),
      ...(spec.confined && hasSeccomp()
        ? { seccomp: runtimeSeccomp(arch, spec.capabilities) }
        : {}),
      ...(places.cgroupsPath === undefined
        ? {}
        : { cgroupsPath: places.cgroupsPath, resources: resources(spec.limits ?? {}) }),
    },
  };
  // 2^64 - 1, which is no number of JavaScript.
  return JSON.stringify(config).replaceAll(`"${NO_LIMIT}"`, '18446744073709551615');
}

/**
 * Done in the runtime's mount namespace, before the root is switched. A hook is told the
 * container's state on its standard input; a runtime whose hook is gone before it has written that
 * (`mount` reads nothing) fails with a broken pipe.
 */
function rootHook(
  program: string,
  root: string,
  readonly: boolean,
): { readonly path: string; readonly args: readonly string[] } {
  const readState = 'while read -r line; do :; done';
  return {
    path: '/bin/sh',
    args: [
      'sh',
      '-c',
      `${readState}; exec "$0" "$@"`,
      program,
      '-o',
      `remount,bind,nodev${readonly ? ',ro' : ''}`,
      root,
    ],
  };
}

interface RuntimeMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/**
 * /proc, /sys and /dev as moby's default specification has them; the usual devices a runtime makes
 * by itself.
 */
function systemMounts(spec: ProcessSpec, ownSys: boolean): RuntimeMount[] {
  const mount = (
    destination: string,
    type: string,
    options: readonly string[],
    source = type,
  ): RuntimeMount => ({ destination, type, source, options });
  const sys = ['nosuid', 'noexec', 'nodev', ...(spec.confined ? ['ro'] : [])];
  return [
    mount('/proc', 'proc', ['nosuid', 'noexec', 'nodev']),
    ownSys ? mount('/sys', 'sysfs', sys) : mount('/sys', 'bind', ['rbind', ...sys], '/sys'),
    ...(!ownSys && spec.confined
      ? mountsInSys()
          .filter((target) => isWithinReach(target))
          .map((target) => mount(target, 'tmpfs', ['nosuid', 'noexec', 'nodev', 'ro', 'size=0']))
      : []),
    mount('/dev', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', [
      'nosuid',
      'noexec',
      'newinstance',
      'ptmxmode=0666',
      'mode=0620',
      'gid=5',
    ]),
    mount(
      '/dev/shm',
      'tmpfs',
      ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${spec.shmSize ?? 64 << 20}`],
      'shm',
    ),
    mount('/dev/mqueue', 'mqueue', ['nosuid', 'noexec', 'nodev']),
  ];
}

/** What a user cannot enter, a runtime cannot mount on, nor the step look into. */
function isWithinReach(directory: string): boolean {
  try {
    accessSync(directory, constants.X_OK);
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

function ownMount(mount: Mount, source: string): RuntimeMount {
  const destination = Buffer.from(mount.target, 'latin1').toString('utf8');
  if (mount.kind === 'tmpfs') {
    const size = mount.size === undefined ? [] : [`size=${mount.size}`];
    return {
      destination,
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', `mode=${(mount.mode ?? 0o1777).toString(8)}`, ...size],
    };
  }
  if (mount.kind === 'host' && mount.device === true)
    return { destination, type: 'bind', source, options: ['bind', 'rprivate'] };
  const file =
    mount.kind === 'file' ? ['nosuid', ...(mount.executable === true ? [] : ['noexec'])] : [];
  return {
    destination,
    type: 'bind',
    source,
    options: [
      mount.kind === 'bind' || mount.kind === 'host' ? 'rbind' : 'bind',
      'nodev',
      'rprivate',
      ...file,
      ...(mount.readonly ? ['ro'] : []),
    ],
  };
}

/** config-linux.md, "Control groups". */
function resources({
  memory,
  memorySwap,
  cpus,
  cpuShares,
  cpuQuota,
  cpuPeriod,
  cpusetCpus,
  cpusetMems,
  pids,
}: CgroupLimits): unknown {
  const quota =
    cpus === undefined
      ? { quota: cpuQuota, period: cpuPeriod }
      : { quota: Math.round(cpus * 100_000), period: 100_000 };
  return {
    memory: { limit: memory, swap: memorySwap ?? memory },
    cpu: { shares: cpuShares, ...quota, cpus: cpusetCpus, mems: cpusetMems },
    ...(pids === undefined || pids < 0 ? {} : { pids: { limit: pids } }),
  };
}
