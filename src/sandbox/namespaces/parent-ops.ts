import { readFileSync } from 'node:fs';
import path from 'node:path';
import { bundledFile } from '../../linux/bundle';
import { isInUserNamespace } from '../../linux/id-map';
import { LOST, REPORT_FD, RUSAGE, SYNC_FD } from './descriptors';
import type { Arg, Op } from './init/program';
import {
  AT_FDCWD,
  KEYCTL_JOIN_SESSION_KEYRING,
  MSG_NOSIGNAL,
  O,
  PR,
  SIGCHLD,
  SIGKILL,
} from './init/syscalls';
import { NULL } from './mount-ops';
import {
  SERVER_STATUS,
  checkServerOps,
  endServerOps,
  leaveConnectionOps,
  serverOps,
  startServerOps,
  watchServerOps,
  type TreeServer,
} from './tree-server';

/**
 * Makes the child, whose ops follow; the parent waits for it and reports. When mbuild ends before
 * it, all of it ends.
 * @param servers processes that serve the command's trees, and end with it; `waits` says whether
 * {@link SYNC_FD} is open.
 * @param reaps true where no PID namespace ends what the child leaves behind: that becomes the
 * parent's, who stays until it is gone.
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
    // Without it, who is in the container already could open the program that runs here by way of
    // /proc.
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
    ...(reaps ? [MAKE_GUARD] : []),
    ...watchOps(servers),
    ...(reaps ? [REAP] : []),
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
    ...childOps(leave),
  ];
}

const MAKE_GUARD: Op = {
  what: 'make the guard',
  call: 'clone',
  args: [SIGCHLD, 0, 0, 0, 0],
  onZero: { to: 'guard' },
};

const REAP: Op = {
  what: 'wait for what the command left',
  label: 'reap',
  call: 'wait4',
  args: [-1, NULL, 0, NULL],
  onPositive: { to: 'reap' },
  onError: 'next',
};

/** In init: waits for the command and reports how it ended. */
function watchOps(servers: readonly TreeServer[]): Op[] {
  return [
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
  ];
}

/** In the child, before anything else. */
function childOps(leave: readonly Op[]): Op[] {
  return [
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

/**
 * Puts init, and all that it will start, into control groups; whether that is allowed was found out
 * before.
 */
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
 * Without a PID namespace, what the command started would go on when mbuild is killed with SIGKILL.
 * The guard, a sibling of the command, waits for that and becomes a Node.js that kills all of
 * init's children; init itself ends when it has no more.
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
