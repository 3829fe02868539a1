import { readFileSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { once } from './libc';

/** Names a process beyond its life: a pid alone comes back for another process later. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since the boot at which it started; field 22 of /proc/PID/stat. */
  readonly startTime: number;
  /** The boot in which it runs. */
  readonly boot: string;
  /** The inode of the PID namespace in which that is its pid. */
  readonly pidNamespace: number;
}

/** Names the running boot of this machine: a UUID of the kernel's. */
export const bootId: () => string = once(() =>
  readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
);

/** The PID namespace of this process. pid_namespaces(7). */
export const ownPidNamespace: () => number = once(() =>
  Number(/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0]),
);

/** This process. */
export const ownIdentity: () => ProcessIdentity = once(() => {
  // Its pid as /proc has it, which may be that of an outer namespace.
  const own = identityOf(Number(readlinkSync('/proc/self')));
  if (own === undefined) throw new Error('/proc shows no entry for this process');
  return own;
});

/** The process that has a pid here; `undefined` as for {@link startTimeOf}. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const startTime = startTimeOf(pid);
  return startTime === undefined
    ? undefined
    : { pid, startTime, boot: bootId(), pidNamespace: ownPidNamespace() };
}

/**
 * When a process started (clock ticks since the boot), or `undefined` when there is none of that
 * pid, or only its zombie.
 */
export function startTimeOf(pid: number): number | undefined {
  const stat = readStat(pid);
  if (stat === undefined) return undefined;
  // proc_pid_stat(5): the second field is the program's name in parentheses, which may hold spaces
  // and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields[0], Number(fields[19])];
  return state === 'Z' || state === 'X' || !Number.isSafeInteger(startTime) ? undefined : startTime;
}

/** Whether a process would be seen here: one of another boot or another PID namespace never is. */
export function isOfHere({ boot, pidNamespace }: ProcessIdentity): boolean {
  return boot === bootId() && pidNamespace === ownPidNamespace();
}

/**
 * True while that very process runs here. For those of other PID namespaces see
 * content/presence.ts.
 */
export function runsHere(identity: ProcessIdentity): boolean {
  return isOfHere(identity) && startTimeOf(identity.pid) === identity.startTime;
}

function readStat(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}
