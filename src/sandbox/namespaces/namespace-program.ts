import { readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { bundledFile } from '../../linux/bundle';
import { isInUserNamespace } from '../../linux/id-map';
import { ALL_CAPABILITIES, capabilityMask } from '../capabilities';
import type { Arg, Op } from './init/program';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CAPABILITY_VERSION_3,
  CLONE,
  FD_CLOEXEC,
  F_SETFD,
  KEYCTL_JOIN_SESSION_KEYRING,
  MNT_DETACH,
  MS,
  MSG_NOSIGNAL,
  O,
  PR,
  RLIMITS,
  SECCOMP,
  SIGCHLD,
  SIGKILL,
  TIO,
} from './init/syscalls';
import { NULL, mountOp, rootOps, sourceOps, targetOps, type SandboxPlaces } from './mount-ops';
import type { EnterSpec, ProcessSpec, TerminalSize } from '../sandbox';
import { surroundingOps, systemMountOps } from './system-mounts';
import { mapIdsOps } from './user-map';
import {
  SERVER_STATUS,
  checkServerOps,
  endServerOps,
  leaveConnectionOps,
  serverOps,
  startServerOps,
  treeServers,
  watchServerOps,
  type TreeServer,
} from './tree-server';

/** How the process is connected to mbuild. */
export interface ProgramIo extends Pick<SandboxPlaces, 'ids'> {
  /** A filter for system calls, as seccomp(2) takes it. */
  readonly filter?: Uint8Array | undefined;
  /** One that a supervisor answers for, who takes the listener from {@link LISTENER_FD} while the command waits; where there can be none, `filter` is taken. */
  readonly supervised?: Uint8Array | undefined;
  /** A terminal instead of three streams. */
  readonly terminal?: TerminalSize | undefined;
  /** Whether the command waits for a byte on {@link SYNC_FD}. */
  readonly waits: boolean;
}

/**
 * File descriptor for reports: the pid, {@link READY} if the command waits, a failure if there is one, {@link LOST} if there is cause, then the wait
 * status and a struct rusage.
 */
export const REPORT_FD = 4;

/** File descriptor on which the command waits for a byte, if it is to wait. */
export const SYNC_FD = 5;

/** File descriptor at which the waiting process has the terminal's other end. */
export const TERMINAL_FD = 90;

/** File descriptor at which the waiting process has its filter's listener, if it could have one. */
export const LISTENER_FD = 92;

/** Bytes of a struct rusage: getrusage(2). */
export const RUSAGE = 144;

/** Report of a process that waits; neither a pid nor a wait status nor an address. */
export const READY = 0x8000000;

/** Report that a server ended before the command, with its wait status as far as it is known; no other word either. */
export const LOST = 0x9000000;

/**
 * The system calls that turn a process into the sandboxed command: a parent that waits and reports, and a child
 * in namespaces of its own that mounts, gives up what it may not keep, and executes.
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
    mountOp('make mounts private', 'none', '/', NULL, MS.REC | MS.PRIVATE, NULL),
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
          mountOp(
            'make the root read-only',
            NULL,
            '/',
            NULL,
            MS.REMOUNT | MS.BIND | MS.RDONLY | MS.NODEV,
            NULL,
          ),
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

/** True where a process is in a namespace that this one is in, too: the machine's network. Only root of the machine could enter that. */
function isOwnNamespace(pid: number, name: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`);
  } catch (error) {
    // The program will say what is wrong.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/**
 * Makes the child, whose ops follow; the parent waits for it and reports. When mbuild ends before it, all of it ends.
 * @param servers processes that serve the command's trees, and end with it; `waits` says whether {@link SYNC_FD} is open.
 * @param reaps true where no PID namespace ends what the child leaves behind: that becomes the parent's, who stays until it is gone.
 */
export function parentOps(
  flags: number,
  reaps = false,
  { servers, waits }: { readonly servers: readonly TreeServer[]; readonly waits: boolean } = {
    servers: [],
    waits: true,
  },
): Op[] {
  const leave = leaveConnectionOps(servers, waits ? SYNC_FD + 1 : SYNC_FD);
  return [
    // Who takes over orphans must outlive mbuild, for the guard to find them.
    reaps
      ? { what: 'take over orphans', call: 'prctl', args: [PR.SET_CHILD_SUBREAPER, 1] }
      : { what: 'tie init to mbuild', call: 'prctl', args: [PR.SET_PDEATHSIG, SIGKILL] },
    // Without it, who is in the container already could open the program that runs here by way of /proc.
    { what: 'hide init', call: 'prctl', args: [PR.SET_DUMPABLE, 0] },
    ...startServerOps(servers, isInUserNamespace()),
    {
      what: 'make namespaces',
      call: 'clone',
      args: [flags | SIGCHLD, 0, 0, 0, 0],
      save: 'child',
      onZero: { to: 'child' },
    },
    ...leave,
    ...(reaps
      ? [
          {
            what: 'make the guard',
            call: 'clone',
            args: [SIGCHLD, 0, 0, 0, 0],
            onZero: { to: 'guard' },
          } as const,
        ]
      : []),
    // When the command is executed no one has the descriptor any more, which mbuild sees.
    { what: 'leave the turn to the command', call: 'close', args: [SYNC_FD], onError: 'next' },
    reportOp('report the pid', { addressOf: 'child' }, 8),
    ...watchServerOps(servers, 'lost'),
    {
      what: 'wait for the command',
      label: 'command',
      call: 'wait4',
      args: [
        { saved: 'child' },
        { buffer: 'status', size: 8 },
        0,
        { buffer: 'usage', size: RUSAGE },
      ],
    },
    ...checkServerOps(servers, 'lost at the end'),
    { ...reportOp('report the status', { buffer: 'status', size: 8 }, 8), label: 'ended' },
    reportOp('report the usage', { buffer: 'usage', size: RUSAGE }, RUSAGE),
    ...endServerOps(servers),
    ...(reaps
      ? [
          {
            what: 'wait for what the command left',
            label: 'reap',
            call: 'wait4',
            args: [-1, NULL, 0, NULL],
            onPositive: { to: 'reap' },
            onError: 'next',
          } as const,
        ]
      : []),
    { what: 'exit', call: 'exit_group', args: [0] },
    {
      what: 'report a failure',
      label: 'fail',
      call: 'write',
      args: [REPORT_FD, 0x10000000, 16],
      onError: 'next',
    },
    { what: 'exit', call: 'exit_group', args: [125] },
    ...(reaps ? guardOps() : []),
    ...(servers.length === 0 ? [] : lostOps()),
    ...serverOps(servers, REPORT_FD),
    {
      what: 'tie the command to init',
      label: 'child',
      call: 'prctl',
      args: [PR.SET_PDEATHSIG, SIGKILL],
    },
    ...leave,
    { what: 'make a session', call: 'setsid', args: [] },
    {
      what: 'make a session keyring',
      call: 'keyctl',
      args: [KEYCTL_JOIN_SESSION_KEYRING, NULL],
      onError: 'next',
    },
  ];
}

/** In init, when a server has ended: mbuild ends the command, if it has not ended too. */
function lostOps(): Op[] {
  const word = Buffer.alloc(8);
  word.writeUInt32LE(LOST);
  return [
    ['lost', 'command'],
    ['lost at the end', 'ended'],
  ].flatMap(([label, next = '']): Op[] => [
    { ...reportOp('report the loss', { bytes: word }, 8), label },
    {
      ...reportOp('report the server', SERVER_STATUS, 8),
      onPositive: { to: next },
      onError: { to: next },
    },
  ]);
}

/** Where mbuild is gone, nobody is told, and init goes on to take over orphans. */
function reportOp(what: string, bytes: Arg, size: number): Op {
  return {
    what,
    call: 'sendto',
    args: [REPORT_FD, bytes, size, MSG_NOSIGNAL, NULL, 0],
    onError: 'next',
  };
}

/** Puts init, and all that it will start, into control groups; whether that is allowed was found out before. */
export function joinOps(doors: readonly string[]): Op[] {
  return doors.flatMap((door, i): Op[] => [
    {
      what: `open ${door}`,
      call: 'openat',
      args: [AT_FDCWD, { text: door }, O.WRONLY | O.CLOEXEC],
      save: `door${i}`,
      onError: { to: `behind door ${i}` },
    },
    {
      what: `enter ${path.dirname(door)}`,
      call: 'write',
      args: [{ saved: `door${i}` }, { bytes: Buffer.from('0') }, 1],
      onError: 'next',
    },
    { what: 'go on', label: `behind door ${i}`, call: 'umask', args: [0o22] },
  ]);
}

/**
 * Without a PID namespace, what the command started would go on when mbuild is killed with SIGKILL. The guard, a sibling of the command, waits
 * for that and becomes a Node.js that kills all of init's children; init itself ends when it has no more.
 */
function guardOps(): Op[] {
  const sweeper = [...nodeCommand(), bundledFile('sweeper.cjs')];
  return [
    {
      what: 'tie the guard to init',
      label: 'guard',
      call: 'prctl',
      args: [PR.SET_PDEATHSIG, SIGKILL],
    },
    ...[0, 1, 2, SYNC_FD].map((fd): Op => ({
      what: `close ${fd} in the guard`,
      call: 'close',
      args: [fd],
      onError: 'next',
    })),
    {
      what: 'wait for the end of mbuild',
      call: 'read',
      args: [REPORT_FD, { buffer: 'end', size: 8 }, 8],
      onError: 'next',
    },
    {
      what: 'sweep',
      call: 'execve',
      args: [{ text: sweeper[0] ?? '' }, { strings: sweeper }, { strings: [] }],
      onError: 'next',
    },
    // Without Node.js it is the command alone that can be ended, which is tied to init.
    { what: 'find init', call: 'getppid', args: [], save: 'init' },
    { what: 'end init', call: 'kill', args: [{ saved: 'init' }, SIGKILL], onError: 'next' },
    { what: 'end the guard', call: 'exit_group', args: [0] },
  ];
}

/** How this Node.js was started, up to its script: more than one word where a loader was named. */
function nodeCommand(): string[] {
  const words = readFileSync('/proc/self/cmdline', 'utf8').split('\0').slice(0, -1);
  const command = words.slice(0, Math.max(0, words.length - process.argv.length + 1));
  return command[0]?.startsWith('/') === true ? command : [process.execPath];
}

/** From a root that is set up to the command: its streams, the wait, its rights, its working directory. */
export function commandOps(spec: EnterSpec | ProcessSpec, io: ProgramIo): Op[] {
  return [
    ...(io.terminal === undefined ? ownStreamOps(spec) : terminalOps(spec, io.terminal, io.ids)),
    ...(io.filter === undefined
      ? []
      : io.supervised === undefined
        ? [filterOp(io.filter)]
        : supervisedFilterOps(io.supervised, io.filter)),
    // Nothing that a supervisor is asked may come before it has the listener.
    ...(io.waits ? waitOps() : []),
    ...privilegeOps(spec, io),
    ...executeOps({ ...spec, cwd: spec.user.uid === 0 ? spec.cwd : undefined }, io),
  ];
}

/** The end of a program: nothing of mbuild's stays open, and the command takes over, in a working directory that is entered unless that was done. */
export function executeOps(
  spec: Pick<ProcessSpec, 'args' | 'env'> & { readonly cwd: string | undefined },
  io: Pick<ProgramIo, 'waits'>,
): Op[] {
  return [
    closeOp(io),
    ...[REPORT_FD, ...(io.waits ? [SYNC_FD] : [])].map((fd): Op => ({
      what: `close ${fd} on execution`,
      call: 'fcntl',
      args: [fd, F_SETFD, FD_CLOEXEC],
    })),
    { what: 'close the program', call: 'close', args: [3], onError: 'next' },
    ...(spec.cwd === undefined ? [] : [enterOp(spec.cwd)]),
    ...execOps(spec),
  ];
}

function closeOp(io: Pick<ProgramIo, 'waits'>): Op {
  return {
    what: 'close files',
    call: 'close_range',
    args: [io.waits ? SYNC_FD + 1 : SYNC_FD, 0xffffffff, 0],
  };
}

function enterOp(cwd: string): Op {
  return { what: `enter the working directory ${cwd}`, call: 'chdir', args: [{ text: cwd }] };
}

/**
 * Enters the working directory for somebody who is not root: as root, for the way there may be closed to him (runc does so,
 * and programs rely on it), else as himself. Root may do nothing more then than search and change its user: not follow the
 * descriptors of processes that may do more.
 */
function enterOpsOf(
  { cwd, user }: Pick<ProcessSpec, 'cwd' | 'user'>,
  io: Pick<ProgramIo, 'waits'>,
): Op[] {
  return [
    closeOp(io),
    {
      what: 'give up what entering does not take',
      call: 'capset',
      args: capabilitySets(capabilityMask(['DAC_OVERRIDE', 'SETUID'])),
      onError: 'next',
    },
    { ...enterOp(cwd), onError: 'next', onZero: { to: 'entered' } },
    { what: `try as user ${user.uid}`, call: 'setresuid', args: [-1, user.uid, -1] },
    enterOp(cwd),
    { what: 'be root again', call: 'setresuid', args: [-1, 0, -1], onError: 'next' },
  ];
}

/** Gives the streams to the command's user, who could not open /dev/stdout otherwise. */
function ownStreamOps({ user }: Pick<ProcessSpec, 'user'>): Op[] {
  if (user.uid === 0) return [];
  return [1, 2].map((fd) => ({
    what: `give stream ${fd} to user ${user.uid}`,
    call: 'fchownat',
    args: [fd, { text: '' }, user.uid, user.gid, AT_EMPTY_PATH],
    onError: 'next',
  }));
}

/**
 * Makes a terminal of the sandbox's own devpts the streams and the controlling terminal. Its user's end is taken from the
 * other one, not by a name that somebody in the sandbox could have changed.
 */
function terminalOps(
  { user }: Pick<ProcessSpec, 'user'>,
  size: TerminalSize,
  ids: SandboxPlaces['ids'],
): Op[] {
  const slave = TERMINAL_FD + 1;
  const window = Buffer.alloc(8); // struct winsize: rows, columns, two unused
  window.writeUInt16LE(size.rows, 0);
  window.writeUInt16LE(size.columns, 2);
  const ioctl = (what: string, fd: number, request: number, argument: Arg): Op => ({
    what,
    call: 'ioctl',
    args: [fd, request, argument],
  });
  return [
    {
      what: 'make a terminal',
      call: 'openat',
      args: [AT_FDCWD, { text: '/dev/pts/ptmx' }, O.RDWR | O.NOCTTY | O.NONBLOCK | O.CLOEXEC],
      save: 'terminal',
    },
    {
      what: 'keep the terminal',
      call: 'dup3',
      args: [{ saved: 'terminal' }, TERMINAL_FD, O.CLOEXEC],
    },
    ioctl('unlock the terminal', TERMINAL_FD, TIO.CSPTLCK, { bytes: Buffer.alloc(4) }),
    ioctl('set the size of the terminal', TERMINAL_FD, TIO.CSWINSZ, { bytes: window }),
    { ...ioctl('open the terminal', TERMINAL_FD, TIO.CGPTPEER, O.RDWR | O.NOCTTY), save: 'slave' },
    { what: 'keep the terminal', call: 'dup3', args: [{ saved: 'slave' }, slave, O.CLOEXEC] },
    {
      what: `give the terminal to user ${user.uid}`,
      call: 'fchownat',
      args: [slave, { text: '' }, user.uid, -1, AT_EMPTY_PATH],
      onError: ids === 'one' ? 'next' : 'fail',
    },
    ...[0, 1, 2].map((fd): Op => ({
      what: 'connect the terminal',
      call: 'dup3',
      args: [slave, fd, 0],
    })),
    ioctl('make the terminal the controlling one', 0, TIO.CSCTTY, 0),
  ];
}

/** Reports, and waits for a byte; when mbuild closes the descriptor instead, nothing is executed. */
export function waitOps(): Op[] {
  const ready = Buffer.alloc(8);
  ready.writeUInt32LE(READY);
  return [
    { what: 'report that it waits', call: 'write', args: [REPORT_FD, { bytes: ready }, 8] },
    {
      what: 'wait for its turn',
      call: 'read',
      args: [SYNC_FD, { buffer: 'turn', size: 8 }, 1],
      onZero: { to: 'fail' },
    },
  ];
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

/** While there still is the right to filter: to load one without it, a process must give up sudo and su for good. */
export function filterOp(filter: Uint8Array, flags = 0): Op {
  const program: Arg = { words: [filter.length / 8, { bytes: filter }] }; // struct sock_fprog: number of instructions, their address
  return {
    what: 'filter system calls',
    call: 'seccomp',
    args: [SECCOMP.SET_MODE_FILTER, SECCOMP.FLAG_SPEC_ALLOW | flags, program],
  };
}

/** Loads the first filter and keeps its listener, or the other one where the kernel gives no listener: one is all that a process may have. */
function supervisedFilterOps(supervised: Uint8Array, alone: Uint8Array): Op[] {
  return [
    {
      ...filterOp(supervised, SECCOMP.FLAG_NEW_LISTENER),
      save: 'listener',
      onError: { to: 'filter alone' },
    },
    {
      what: 'keep the listener',
      call: 'dup3',
      args: [{ saved: 'listener' }, LISTENER_FD, O.CLOEXEC],
      onPositive: { to: 'filtered' },
    },
    { ...filterOp(alone), label: 'filter alone' },
    { what: 'go on', label: 'filtered', call: 'umask', args: [0o22] },
  ];
}

/**
 * Where there is one id, a command whose user is not root gets a user namespace of its own in which that id is its user's: it sees
 * itself as who it is, and everything as its own.
 */
export function onlyIdOps({ user }: Pick<ProcessSpec, 'user'>, ids: SandboxPlaces['ids']): Op[] {
  if (ids !== 'one' || (user.uid === 0 && user.gid === 0)) return [];
  return [
    { what: 'make a user namespace', call: 'unshare', args: [CLONE.NEWUSER] },
    // Who is hidden may not open these files of its own.
    { what: 'show the command', call: 'prctl', args: [PR.SET_DUMPABLE, 1] },
    ...mapIdsOps(`${user.uid} 0 1\n`, `${user.gid} 0 1\n`),
    { what: 'hide the command', call: 'prctl', args: [PR.SET_DUMPABLE, 0] },
  ];
}

/** Limits, then identity, then capabilities: each step still has the right to make the next. */
function privilegeOps(
  spec: Pick<ProcessSpec, 'capabilities' | 'user' | 'ulimits' | 'noNewPrivileges' | 'cwd'>,
  io: Pick<ProgramIo, 'ids' | 'waits'>,
): Op[] {
  const isRoot = spec.user.uid === 0;
  const groups = Buffer.alloc(Math.max(4, spec.user.groups.length * 4));
  spec.user.groups.forEach((gid, i) => groups.writeUInt32LE(gid, i * 4));
  return [
    ...limitOps(spec),
    {
      what: 'clear ambient capabilities',
      call: 'prctl',
      args: [PR.CAP_AMBIENT, PR.CAP_AMBIENT_CLEAR_ALL, 0, 0, 0],
      onError: 'next',
    },
    ...ALL_CAPABILITIES.flatMap((name, number): Op[] =>
      spec.capabilities.includes(name)
        ? []
        : [
            {
              what: `drop ${name}`,
              call: 'prctl',
              args: [PR.CAPBSET_DROP, number, 0, 0, 0],
              onError: 'next',
            },
          ],
    ),
    {
      what: 'set the groups',
      call: 'setgroups',
      args: [spec.user.groups.length, { bytes: groups }],
      onError: io.ids === 'one' ? 'next' : 'fail',
    },
    {
      what: `become group ${spec.user.gid}`,
      call: 'setresgid',
      args: [spec.user.gid, spec.user.gid, spec.user.gid],
    },
    ...(isRoot ? [] : enterOpsOf(spec, io)),
    {
      what: `become user ${spec.user.uid}`,
      label: 'entered',
      call: 'setresuid',
      args: [spec.user.uid, spec.user.uid, spec.user.uid],
    },
    {
      what: 'set capabilities',
      call: 'capset',
      args: capabilitySets(isRoot ? capabilityMask(spec.capabilities) : 0n),
    },
    ...(spec.noNewPrivileges === true
      ? [
          {
            what: 'renounce new privileges',
            call: 'prctl',
            args: [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0],
          } as const,
        ]
      : []),
    // A change of identity clears the parent-death signal.
    { what: 'tie the command to init', call: 'prctl', args: [PR.SET_PDEATHSIG, SIGKILL] },
    { what: 'set the umask', call: 'umask', args: [0o022] },
  ];
}

/** The arguments of capset(2): what is permitted is effective, and nothing is inheritable. */
function capabilitySets(mask: bigint): Arg[] {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  const sets = Buffer.alloc(24); // two of {effective, permitted, inheritable}
  for (const half of [0, 1]) {
    const bits = Number((mask >> BigInt(32 * half)) & 0xffffffffn);
    sets.writeUInt32LE(bits, half * 12);
    sets.writeUInt32LE(bits, half * 12 + 4);
  }
  return [{ bytes: header }, { bytes: sets }];
}

export function limitOps({ ulimits = [] }: Pick<ProcessSpec, 'ulimits'>): Op[] {
  return ulimits.map(({ name, soft, hard }) => ({
    what: `set ulimit ${name}`,
    call: 'prlimit64',
    args: [0, RLIMITS[name] ?? -1, { bytes: pair(soft, hard) }, NULL],
  }));
}

function pair(soft: number, hard: number): Buffer {
  const limits = Buffer.alloc(16);
  const bits = (value: number): bigint => (value < 0 ? 0xffffffffffffffffn : BigInt(value));
  limits.writeBigUInt64LE(bits(soft), 0);
  limits.writeBigUInt64LE(bits(hard), 8);
  return limits;
}

/** Tries the command in each directory of PATH, as execvp does. */
function execOps(spec: Pick<ProcessSpec, 'args' | 'env'>): Op[] {
  const [command = ''] = spec.args;
  const argv: Arg = { strings: spec.args };
  const envp: Arg = { strings: spec.env };
  const candidates = command.includes('/')
    ? [command]
    : searchPath(spec.env).map((dir) => `${dir}/${command}`);
  return candidates.map((file, i): Op => ({
    what: `execute ${file}`,
    call: 'execve',
    args: [{ text: file }, argv, envp],
    onError: i === candidates.length - 1 ? 'fail' : 'next',
  }));
}

function searchPath(env: readonly string[]): string[] {
  const value =
    env.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ||
    '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  return value.split(':').map((dir) => dir || '.');
}
