import type { Op } from '../namespaces/init/program';
import { CLONE, FD_CLOEXEC, F_SETFD, MS } from '../namespaces/init/syscalls';
import {
  FIRST_SOURCE_FD,
  mountOp,
  rootOps,
  sourceOps,
  type SandboxPlaces,
} from '../namespaces/mount-ops';
import { REPORT_FD, SYNC_FD } from '../namespaces/descriptors';
import { parentOps } from '../namespaces/parent-ops';
import type { ProcessSpec } from '../sandbox';
import { treeServers } from '../namespaces/tree-server';
import { processOps } from '../namespaces/system-mounts';

/** A runtime of the host that is to run the command, and what has been laid out for it. */
export interface RuntimeCall {
  readonly argv: readonly string[];
  /** The bundle's folder; the source of the mount number `i` is put on `mount<i>` in it. */
  readonly bundle: string;
  /** Whether it is to see none of the machine's control groups. */
  readonly hidesGroups: boolean;
}

/**
 * The same for a command that an OCI runtime runs: in a mount and a PID namespace of its own, where
 * the runtime and all that it starts end together, the root and the sources of mounts are put where
 * the bundle's config.json names them.
 */
export function runtimeProgram(
  spec: ProcessSpec,
  places: SandboxPlaces,
  { argv, bundle, hidesGroups }: RuntimeCall,
): Op[] {
  const sources = spec.mounts.flatMap((mount, i): Op[] =>
    mount.kind === 'tmpfs'
      ? []
      : [
          mountOp(
            `lay out ${mount.target}`,
            `/proc/self/fd/${FIRST_SOURCE_FD + i}`,
            `${bundle}/mount${i}`,
            { flags: mount.kind === 'bind' || mount.kind === 'host' ? MS.BIND | MS.REC : MS.BIND },
          ),
        ],
  );
  const servers = treeServers(spec, places.stubs);
  return [
    ...parentOps(CLONE.NEWNS | CLONE.NEWPID, false, { servers, waits: false }),
    { what: 'set the umask', call: 'umask', args: [0] },
    mountOp('make mounts private', 'none', '/', { flags: MS.REC | MS.PRIVATE }),
    mountOp('mount /proc', 'proc', '/proc', {
      type: 'proc',
      flags: MS.NOSUID | MS.NOEXEC | MS.NODEV,
    }),
    ...processOps(spec),
    ...rootOps(spec.rootfs, places, servers),
    ...sourceOps(spec.mounts, places, servers),
    ...sources,
    ...(hidesGroups
      ? [
          mountOp('hide the control groups', 'tmpfs', '/sys/fs/cgroup', {
            type: 'tmpfs',
            flags: MS.NOSUID | MS.NODEV | MS.NOEXEC,
            data: 'mode=755',
          }),
        ]
      : []),
    { what: 'set the umask', call: 'umask', args: [0o022] },
    { what: 'close files', call: 'close_range', args: [SYNC_FD, 0xffffffff, 0] },
    {
      what: `close ${REPORT_FD} on execution`,
      call: 'fcntl',
      args: [REPORT_FD, F_SETFD, FD_CLOEXEC],
    },
    { what: 'close the program', call: 'close', args: [3], onError: 'next' },
    { what: 'enter the bundle', call: 'chdir', args: [{ path: bundle }] },
    {
      what: `execute ${argv[0]}`,
      call: 'execve',
      args: [{ text: argv[0] ?? '' }, { strings: argv }, { strings: [RUNTIME_PATH] }],
    },
  ];
}

const RUNTIME_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
