import type { EnterSpec, ProcessSpec, TerminalSize } from '../sandbox';
import { LISTENER_FD, READY, REPORT_FD, SYNC_FD, TERMINAL_FD, type ProgramIo } from './descriptors';
import type { Arg, Op } from './init/program';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  CLONE,
  FD_CLOEXEC,
  F_SETFD,
  O,
  PR,
  SECCOMP,
  TIO,
} from './init/syscalls';
import type { SandboxPlaces } from './mount-ops';
import { closeOp, enterOp, privilegeOps } from './privilege-ops';
import { mapIdsOps } from './user-map';

/**
 * From a root that is set up to the command: its streams, the wait, its rights, its working
 * directory.
 */
export function commandOps(spec: EnterSpec | ProcessSpec, io: ProgramIo): Op[] {
  return [
    ...(io.terminal === undefined ? ownStreamOps(spec) : terminalOps(spec, io.terminal, io.ids)),
    ...filterOps(io),
    // Nothing that a supervisor is asked may come before it has the listener.
    ...(io.waits ? waitOps() : []),
    ...privilegeOps(spec, io),
    ...executeOps({ ...spec, cwd: spec.user.uid === 0 ? spec.cwd : undefined }, io),
  ];
}

/**
 * The end of a program: nothing of mbuild's stays open, and the command takes over, in a working
 * directory that is entered unless that was done.
 */
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
 * Makes a terminal of the sandbox's own devpts the streams and the controlling terminal. Its user's
 * end is taken from the other one, not by a name that somebody in the sandbox could have changed.
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

/**
 * Reports, and waits for a byte; when mbuild closes the descriptor instead, nothing is executed.
 */
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

/**
 * While there still is the right to filter: to load one without it, a process must give up sudo and
 * su for good.
 */
export function filterOp(filter: Uint8Array, flags = 0): Op {
  // struct sock_fprog: number of instructions, their address
  const program: Arg = { words: [filter.length / 8, { bytes: filter }] };
  return {
    what: 'filter system calls',
    call: 'seccomp',
    args: [SECCOMP.SET_MODE_FILTER, SECCOMP.FLAG_SPEC_ALLOW | flags, program],
  };
}

function filterOps({ filter, supervised }: ProgramIo): Op[] {
  if (filter === undefined) return [];
  return supervised === undefined ? [filterOp(filter)] : supervisedFilterOps(supervised, filter);
}

/**
 * Loads the first filter and keeps its listener, or the other one where the kernel gives no
 * listener: one is all that a process may have.
 */
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
 * Where there is one id, a command whose user is not root gets a user namespace of its own in which
 * that id is its user's: it sees itself as who it is, and everything as its own.
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
