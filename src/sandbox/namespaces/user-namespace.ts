import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, readFileSync, writeFileSync } from 'node:fs';
import { constants as os, userInfo } from 'node:os';
import type { Duplex, Readable } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { memoryFile, sealedFile } from '../../linux/sealed-file';
import { BASE, interpreterFile, type Arch } from './init/interpreter';
import { assemble, type Op, type Program } from './init/program';
import { AT_FDCWD, CLONE, FD_CLOEXEC, F_SETFD, O, PR } from './init/syscalls';
import { findInPath } from '../find-program';
import { OUTER_UID } from './outer-user';
import { probeUserNamespace } from '../isolations/probe';

/** Ids of the machine that stand for ids inside. */
export interface IdRange {
  readonly first: number;
  readonly count: number;
}

/** What an ordinary user's namespace can be made of. */
export interface UserMaps {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

const REPORT_FD = 4;
const SYNC_FD = 5;
const SIGTERM = 15;

/**
 * False where one can be made, but nothing be done in it: AppArmor's limit for programs that it
 * does not know.
 */
export function mayUseUserNamespaces(): boolean {
  return !isRestricted() || probeUserNamespace() === undefined;
}

function isRestricted(): boolean {
  return readLines('/proc/sys/kernel/apparmor_restrict_unprivileged_userns')[0] === '1';
}

/**
 * The ranges that /etc/subuid and /etc/subgid give to a user (subuid(5)), and why there are none of
 * use otherwise.
 */
export function findMaps(uid: number): UserMaps | { readonly missing: string } {
  for (const program of ['newuidmap', 'newgidmap'])
    if (findInPath(program) === undefined) return { missing: `the program ${program}` };
  const name = userName(uid);
  const uids = rangesOf('/etc/subuid', uid, name);
  const gids = rangesOf('/etc/subgid', uid, name);
  if (uids.length === 0) return { missing: `a range for ${name ?? uid} in /etc/subuid` };
  if (gids.length === 0) return { missing: `a range for ${name ?? uid} in /etc/subgid` };
  return { uids, gids };
}

/** The user namespace that a process of the user's own is in. */
export interface JoinedNamespace {
  readonly pid: number;
}

/** A program to run, with its arguments and variables. */
export interface UserCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Runs a program as root of a new user namespace, in which the user's own id and those of `maps`
 * exist, or of one that is there; standard streams are this process's. Resolves with its exit code
 * (128 + signal).
 * @param onStart given a function that hands a signal on.
 * @throws MbuildError SANDBOX_UNAVAILABLE when the namespace cannot be made.
 */
export async function runInUserNamespace(
  command: UserCommand,
  maps: UserMaps | JoinedNamespace,
  onStart: (signal: (name: NodeJS.Signals) => void) => void,
): Promise<number> {
  if (process.arch !== 'x64' && process.arch !== 'arm64')
    throw new MbuildError('SANDBOX_UNAVAILABLE', `mbuild has no sandbox for ${process.arch}`);
  const ops = 'pid' in maps ? joinOps(maps.pid) : makeOps();
  const program = assemble(userNamespaceProgram(ops, command), process.arch);
  const child = start(program, process.arch);
  const ended = endOf(child);
  onStart((name) => void child.kill(name));
  const { mapped, reported } = mapWhenReady(child, program, 'pid' in maps ? undefined : maps);
  const code = await ended;
  mapped();
  const failure = failureIn(reported(), program);
  if (failure !== undefined)
    throw new MbuildError('SANDBOX_UNAVAILABLE', `cannot ${failure.what} (${failure.errno})`, {
      hint: 'to learn why, and what helps, run `mbuild doctor`',
    });
  return code;
}

/** The exit code. */
function endOf(child: ChildProcess): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    child.on('error', (cause) =>
      reject(
        new MbuildError(
          'SANDBOX_UNAVAILABLE',
          `the user namespace's init could not be started: ${cause.message}`,
          { cause },
        ),
      ),
    );
    child.on('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : os.signals[signal])),
    );
  });
}

/** Gives a namespace its ids as soon as it says that it is there. */
function mapWhenReady(
  child: ChildProcess,
  program: Program,
  maps: UserMaps | undefined,
): {
  /** @throws what {@link writeMap} threw. */
  readonly mapped: () => void;
  /** All that was reported until now. */
  readonly reported: () => Buffer;
} {
  const ends: readonly unknown[] = child.stdio;
  const turn = ends[SYNC_FD] as Duplex;
  turn.on('error', () => undefined);
  let reported = Buffer.alloc(0);
  let problem: unknown;
  (ends[REPORT_FD] as Readable).on('data', (chunk: Buffer) => {
    const isFirst = reported.length === 0;
    reported = Buffer.concat([reported, chunk]);
    if (maps === undefined || !isFirst || child.pid === undefined) return;
    if (failureIn(reported, program) !== undefined) return;
    try {
      writeMap('uid', child.pid, process.getuid?.() ?? -1, maps.uids);
      writeMap('gid', child.pid, process.getgid?.() ?? -1, maps.gids);
      turn.end('\n');
    } catch (error) {
      problem = error;
      turn.destroy();
    }
  });
  return {
    mapped: () => {
      if (problem !== undefined) throw problem;
    },
    reported: () => reported,
  };
}

function makeOps(): Op[] {
  return [
    { what: 'make a user namespace', call: 'unshare', args: [CLONE.NEWUSER] },
    { what: 'say so', call: 'write', args: [REPORT_FD, { bytes: Buffer.alloc(8) }, 8] },
    {
      what: 'wait for the ids',
      call: 'read',
      args: [SYNC_FD, { buffer: 'turn', size: 8 }, 1],
      onZero: { to: 'fail' },
    },
  ];
}

function joinOps(pid: number): Op[] {
  return [
    {
      what: 'open the user namespace',
      call: 'openat',
      args: [AT_FDCWD, { text: `/proc/${pid}/ns/user` }, O.RDONLY | O.CLOEXEC],
      save: 'namespace',
    },
    {
      what: 'enter the user namespace',
      call: 'setns',
      args: [{ saved: 'namespace' }, CLONE.NEWUSER],
    },
  ];
}

function userNamespaceProgram(ops: readonly Op[], { file, args, env }: UserCommand): Op[] {
  const own = { ...env, [OUTER_UID]: String(process.getuid?.() ?? -1) };
  const variables = Object.entries(own).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}=${value}`],
  );
  return [
    ...ops,
    { what: 'become group 0', call: 'setresgid', args: [0, 0, 0] },
    { what: 'become user 0', call: 'setresuid', args: [0, 0, 0] },
    { what: 'leave other groups', call: 'setgroups', args: [0, 0], onError: 'next' },
    { what: 'tie mbuild to its parent', call: 'prctl', args: [PR.SET_PDEATHSIG, SIGTERM] },
    ...[REPORT_FD, SYNC_FD].map((fd): Op => ({
      what: `close ${fd} on execution`,
      call: 'fcntl',
      args: [fd, F_SETFD, FD_CLOEXEC],
    })),
    { what: 'close the program', call: 'close', args: [3], onError: 'next' },
    {
      what: `execute ${file}`,
      call: 'execve',
      args: [{ text: file }, { strings: [file, ...args] }, { strings: variables }],
    },
    {
      what: 'report a failure',
      label: 'fail',
      call: 'write',
      args: [REPORT_FD, BASE, 16],
      onError: 'next',
    },
    { what: 'exit', call: 'exit_group', args: [125] },
  ];
}

function start(program: Program, arch: Arch): ChildProcess {
  const init = sealedFile('mbuild-init', interpreterFile(arch));
  const fd = memoryFile('mbuild-program', program.image);
  try {
    return spawn(`/proc/self/fd/${init}`, [], {
      stdio: ['inherit', 'inherit', 'inherit', fd, 'pipe', 'pipe'],
      env: {},
    });
  } finally {
    closeSync(fd);
    closeSync(init);
  }
}

/** The first eight bytes say that it waits; sixteen more are a failed call. */
function failureIn(
  bytes: Buffer,
  program: Program,
): { readonly what: string; readonly errno: string } | undefined {
  for (let at = 0; at + 16 <= bytes.length; at += 8) {
    const op =
      bytes.readBigUInt64LE(at) >= BigInt(BASE)
        ? program.opAt(bytes.readBigUInt64LE(at))
        : undefined;
    if (op !== undefined)
      return { what: op.what, errno: getSystemErrorName(Number(bytes.readBigInt64LE(at + 8))) };
  }
  return undefined;
}

/**
 * Maps 0 to the user and the ranges to what follows; without ranges the user alone, which needs no
 * helper. user_namespaces(7).
 */
function writeMap(kind: 'uid' | 'gid', pid: number, own: number, ranges: readonly IdRange[]): void {
  if (ranges.length === 0) {
    if (kind === 'gid') writeFileSync(`/proc/${pid}/setgroups`, 'deny');
    writeFileSync(`/proc/${pid}/${kind}_map`, `0 ${own} 1\n`);
    return;
  }
  let inside = 1;
  const args = [String(pid), '0', String(own), '1'];
  for (const { first, count } of ranges) {
    args.push(String(inside), String(first), String(count));
    inside += count;
  }
  const { status, stderr, error } = spawnSync(`new${kind}map`, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new MbuildError(
    'SANDBOX_UNAVAILABLE',
    `new${kind}map failed: ${(error?.message ?? stderr).trim()}`,
    {
      hint: `check /etc/sub${kind}, and that new${kind}map is setuid root (package uidmap)`,
    },
  );
}

function rangesOf(file: string, id: number, name: string | undefined): IdRange[] {
  return readLines(file).flatMap((line) => {
    const [owner = '', first, count] = line.split(':');
    const range = { first: Number(first), count: Number(count) };
    return (owner === name || owner === String(id)) &&
      Number.isSafeInteger(range.first) &&
      range.count > 0
      ? [range]
      : [];
  });
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '' && !line.startsWith('#'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'EACCES') return [];
    throw error;
  }
}

/** A user in a pod may have a number and no name. */
function userName(uid: number): string | undefined {
  if (uid !== process.getuid?.()) return undefined;
  try {
    return userInfo().username;
  } catch {
    return undefined;
  }
}
