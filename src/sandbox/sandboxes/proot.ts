import { existsSync, readFileSync } from 'node:fs';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import type { RawPath } from '../../linux/paths';
import { ChrootSandbox } from './chroot';
import { findInPath } from '../find-program';
import type { Arch } from '../namespaces/init/interpreter';
import type { Op } from '../namespaces/init/program';
import { PR, SIGKILL } from '../namespaces/init/syscalls';
import { executeOps, filterOp, waitOps } from '../namespaces/command-ops';
import type { ProgramIo } from '../namespaces/descriptors';
import { parentOps } from '../namespaces/parent-ops';
import { limitOps } from '../namespaces/privilege-ops';
import { killProcess } from '../orphans';
import { removeProotFiles } from './proot-files';
import type { ContainerSandbox, ProcessSpec } from '../sandbox';
import { UNKNOWN, defaultFilter, hasSeccomp, type Answers } from '../seccomp/profile';

/** Milliseconds. */
const LOOK_EVERY = 20;

/** Of the surroundings, because none can be made. */
const BORROWED = [
  '/proc',
  '/dev/null',
  '/dev/zero',
  '/dev/full',
  '/dev/random',
  '/dev/urandom',
  '/dev/tty',
];

/**
 * Calls that take paths and are younger than proot, which would let them through to the
 * surroundings' files. Answered as by an old kernel, C libraries and runtimes make the older ones.
 */
const UNKNOWN_TO_PROOT: Answers = Object.fromEntries(
  [
    'statx',
    'openat2',
    'faccessat2',
    'fchmodat2',
    'execveat',
    'name_to_handle_at',
    'setxattrat',
    'getxattrat',
    'listxattrat',
    'removexattrat',
    'statmount',
    'listmount',
  ].map((name) => [name, UNKNOWN]),
);

/**
 * The sandbox for an ordinary user who may neither make namespaces nor change the root, as in a
 * restricted pod: proot traces the command and redirects the paths of its calls to a plain copy of
 * the tree; it also pretends that the command is its user. That keeps steps working, and apart from
 * one another, but is no wall: the step has the rights of mbuild's own user.
 */
export function prootSandbox(state: string): ContainerSandbox {
  const sandbox = new ChrootSandbox(state, prootProgram);
  return {
    enter: () => sandbox.enter(),
    run: async (spec, io, scope) => {
      let proot: number | undefined;
      try {
        return await sandbox.run(
          spec,
          {
            ...io,
            prepare: async (prepared) => {
              proot = prepared.pid;
              await io.prepare?.(prepared);
              endLeftovers(prepared.pid);
            },
          },
          scope,
        );
      } finally {
        if (proot !== undefined) removeProotFiles(proot);
      }
    },
  };
}

/**
 * proot waits for all that the command left behind. That is killed when the command, proot's only
 * child, has ended: what has lost its parent is init's.
 */
function endLeftovers(proot: number, init = parentOf(proot), own = childrenOf(init) ?? []): void {
  const command = childrenOf(proot);
  if (command === undefined) return;
  if (command.length === 0)
    for (const pid of childrenOf(init) ?? []) if (!own.includes(pid)) killProcess(pid);
  setTimeout(() => endLeftovers(proot, init, own), LOOK_EVERY).unref();
}

function parentOf(pid: number): number {
  const [, parent] = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return Number(parent);
}

/** `undefined` when the process is gone. proc_pid_task_children(5). */
function childrenOf(pid: number): number[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
}

function prootProgram(spec: ProcessSpec, root: RawPath, io: ProgramIo, arch: Arch): Op[] {
  const proot = findInPath('proot');
  if (proot === undefined)
    throw new MbuildError('SANDBOX_UNAVAILABLE', 'the program proot is missing', {
      hint: 'as root: apt-get install proot',
    });
  const args = [
    proot,
    '-v',
    '-1',
    '-r',
    root,
    '-w',
    spec.cwd,
    '-i',
    `${spec.user.uid}:${spec.user.gid}`,
    ...BORROWED.filter((file) => existsSync(file)).flatMap((file) => ['-b', file]),
    ...spec.args,
  ];
  return [
    ...parentOps(0, true),
    ...(io.waits ? waitOps() : []),
    // Without it, no ordinary user may filter; nobody could gain a right here anyway.
    { what: 'give up gaining rights', call: 'prctl', args: [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0] },
    ...(spec.confined && hasSeccomp() ? [filterOp(defaultFilter(arch, [], UNKNOWN_TO_PROOT))] : []),
    ...limitOps(spec),
    { what: 'tie the command to init', call: 'prctl', args: [PR.SET_PDEATHSIG, SIGKILL] },
    { what: 'set the umask', call: 'umask', args: [0o022] },
    ...executeOps({ args, env: spec.env, cwd: '/' }, io),
  ];
}
