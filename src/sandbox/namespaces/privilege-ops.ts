import { ALL_CAPABILITIES, capabilityMask } from '../capabilities';
import type { ProcessSpec } from '../sandbox';
import { SYNC_FD, type ProgramIo } from './descriptors';
import type { Arg, Op } from './init/program';
import { CAPABILITY_VERSION_3, PR, RLIMITS, SIGKILL } from './init/syscalls';
import { NULL } from './mount-ops';

/** Limits, then identity, then capabilities: each step still has the right to make the next. */
export function privilegeOps(
  spec: Pick<ProcessSpec, 'capabilities' | 'user' | 'ulimits' | 'noNewPrivileges' | 'cwd'>,
  io: Pick<ProgramIo, 'ids' | 'waits'>,
): Op[] {
  const mask = spec.user.uid === 0 ? capabilityMask(spec.capabilities) : 0n;
  return [
    ...limitOps(spec),
    ...boundingOps(spec),
    ...identityOps(spec, io),
    { what: 'set capabilities', call: 'capset', args: capabilitySets(mask) },
    ...(spec.noNewPrivileges === true ? [renounceOp()] : []),
    // A change of identity clears the parent-death signal.
    { what: 'tie the command to init', call: 'prctl', args: [PR.SET_PDEATHSIG, SIGKILL] },
    { what: 'set the umask', call: 'umask', args: [0o022] },
  ];
}

/** No program that is executed later can bring more capabilities than these. */
function boundingOps({ capabilities }: Pick<ProcessSpec, 'capabilities'>): Op[] {
  const dropped = ALL_CAPABILITIES.map((name, number) => ({ name, number })).filter(
    ({ name }) => !capabilities.includes(name),
  );
  return [
    {
      what: 'clear ambient capabilities',
      call: 'prctl',
      args: [PR.CAP_AMBIENT, PR.CAP_AMBIENT_CLEAR_ALL, 0, 0, 0],
      onError: 'next',
    },
    ...dropped.map(({ name, number }): Op => ({
      what: `drop ${name}`,
      call: 'prctl',
      args: [PR.CAPBSET_DROP, number, 0, 0, 0],
      onError: 'next',
    })),
  ];
}

function identityOps(
  spec: Pick<ProcessSpec, 'user' | 'cwd'>,
  io: Pick<ProgramIo, 'ids' | 'waits'>,
): Op[] {
  const { uid, gid, groups } = spec.user;
  const list = Buffer.alloc(Math.max(4, groups.length * 4));
  groups.forEach((group, i) => list.writeUInt32LE(group, i * 4));
  return [
    {
      what: 'set the groups',
      call: 'setgroups',
      args: [groups.length, { bytes: list }],
      onError: io.ids === 'one' ? 'next' : 'fail',
    },
    { what: `become group ${gid}`, call: 'setresgid', args: [gid, gid, gid] },
    ...(uid === 0 ? [] : enterOpsOf(spec, io)),
    {
      what: `become user ${uid}`,
      label: 'entered',
      call: 'setresuid',
      args: [uid, uid, uid],
    },
  ];
}

function renounceOp(): Op {
  return {
    what: 'renounce new privileges',
    call: 'prctl',
    args: [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0],
  };
}

/** Closes all of mbuild's files but those that init and the command talk by. */
export function closeOp(io: Pick<ProgramIo, 'waits'>): Op {
  return {
    what: 'close files',
    call: 'close_range',
    args: [io.waits ? SYNC_FD + 1 : SYNC_FD, 0xffffffff, 0],
  };
}

export function enterOp(cwd: string): Op {
  return { what: `enter the working directory ${cwd}`, call: 'chdir', args: [{ text: cwd }] };
}

/**
 * Enters the working directory for somebody who is not root: as root, for the way there may be
 * closed to him (runc does so, and programs rely on it), else as himself. Root may do nothing more
 * then than search and change its user: not follow the descriptors of processes that may do more.
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

/** Sets limits of a process, for it and what it starts. */
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
