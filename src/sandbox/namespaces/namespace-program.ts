import { readlinkSync } from 'node:fs';
import { errnoOf } from '../../diagnostics/error';
import type { EnterSpec, ProcessSpec } from '../sandbox';
import { commandOps, onlyIdOps } from './command-ops';
import type { ProgramIo } from './descriptors';
import type { Op } from './init/program';
import { AT_FDCWD, CLONE, MNT_DETACH, MS, O } from './init/syscalls';
import { NULL, mountOp, rootOps, sourceOps, targetOps, type SandboxPlaces } from './mount-ops';
import { parentOps } from './parent-ops';
import { surroundingOps, systemMountOps } from './system-mounts';
import { treeServers } from './tree-server';

/**
 * The system calls that turn a process into the sandboxed command: a parent that waits and reports,
 * and a child in namespaces of its own that mounts, gives up what it may not keep, and executes.
 */
export function namespaceProgram(
  spec: ProcessSpec,
  places: SandboxPlaces,
  io: ProgramIo = { waits: false },
): Op[] {
  const servers = treeServers(spec, places.stubs);
  return [
    ...parentOps(namespaceFlags(spec), false, { servers, waits: io.waits }),
    { what: 'set the umask', call: 'umask', args: [0] },
    mountOp('make mounts private', 'none', '/', { flags: MS.REC | MS.PRIVATE }),
    ...rootOps(spec.rootfs, places, servers),
    ...(places.ids === undefined ? [] : surroundingOps()),
    ...sourceOps(spec.mounts, places, servers),
    { what: 'enter the root', call: 'chdir', args: [{ path: places.root }] },
    { what: 'switch the root', call: 'pivot_root', args: [{ text: '.' }, { text: '.' }] },
    ...systemMountOps(spec, places.ids),
    ...targetOps(spec),
    { what: 'leave the old root', call: 'umount2', args: [{ text: '.' }, MNT_DETACH] },
    { what: 'enter the new root', call: 'chdir', args: [{ text: '/' }] },
    ...(spec.readonlyRoot === true
      ? [
          mountOp('make the root read-only', NULL, '/', {
            flags: MS.REMOUNT | MS.BIND | MS.RDONLY | MS.NODEV,
          }),
        ]
      : []),
    {
      what: 'set the host name',
      call: 'sethostname',
      args: [{ text: spec.hostname }, Buffer.byteLength(spec.hostname)],
    },
    ...(spec.network === 'host' ? [] : loopbackOps()),
    ...onlyIdOps(spec, io.ids),
    ...commandOps(spec, io),
  ];
}

/** The same for a command that enters the namespaces of a process that runs already. */
export function enterProgram(spec: EnterSpec, io: ProgramIo): Op[] {
  const namespaces = ['ipc', 'uts', 'net', 'pid', 'cgroup', 'mnt'].filter(
    (name) => !isOwnNamespace(spec.pid, name),
  );
  return [
    {
      what: 'open the root of the container',
      call: 'openat',
      args: [AT_FDCWD, { text: `/proc/${spec.pid}/root` }, O.PATH | O.DIRECTORY | O.CLOEXEC],
      save: 'root',
    },
    ...namespaces.flatMap((name): Op[] => [
      {
        what: `open the ${name} namespace`,
        call: 'openat',
        args: [AT_FDCWD, { text: `/proc/${spec.pid}/ns/${name}` }, O.RDONLY | O.CLOEXEC],
        save: name,
      },
    ]),
    ...namespaces.map((name): Op => ({
      what: `enter the ${name} namespace`,
      call: 'setns',
      args: [{ saved: name }, 0],
    })),
    { what: 'enter the root of the container', call: 'fchdir', args: [{ saved: 'root' }] },
    { what: 'switch the root', call: 'chroot', args: [{ text: '.' }] },
    ...parentOps(0),
    ...onlyIdOps(spec, io.ids),
    ...commandOps(spec, io),
  ];
}

/**
 * True where a process is in a namespace that this one is in, too: the machine's network. Only root
 * of the machine could enter that.
 */
function isOwnNamespace(pid: number, name: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`);
  } catch (error) {
    // The program will say what is wrong.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

function namespaceFlags(spec: ProcessSpec): number {
  const network = spec.network === 'host' ? 0 : CLONE.NEWNET;
  return CLONE.NEWNS | CLONE.NEWPID | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP | network;
}

/** Brings up `lo`. linux/if.h, struct ifreq: a name of 16 bytes, then the flags. */
function loopbackOps(): Op[] {
  const AF_INET = 2;
  const SOCK_DGRAM = 2;
  const SIOCSIFFLAGS = 0x8914;
  const IFF_UP = 1;
  const request = Buffer.alloc(40);
  request.write('lo', 'latin1');
  request.writeUInt16LE(IFF_UP, 16);
  return [
    { what: 'open a socket', call: 'socket', args: [AF_INET, SOCK_DGRAM, 0], save: 'socket' },
    {
      what: 'bring up the loopback device',
      call: 'ioctl',
      args: [{ saved: 'socket' }, SIOCSIFFLAGS, { bytes: request }],
    },
  ];
}
