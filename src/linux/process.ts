import { readFileSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { once } from './libc';

/** Names a process beyond its life: a pid alone comes back for another process later. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since the boot at which it started; field 22 of /proc/PID/stat. */
  readonly startTime: number;
  /** The boot in which it runs. */
  readonly boot: string;
}

/** Names the running boot of this machine: a UUID of the kernel's. */
export const bootId: () => string = once(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());

/** This process. */
export const ownIdentity: () => ProcessIdentity = once(() => {
  const startTime = startTimeOf(process.pid);
  if (startTime === undefined) throw new Error('/proc shows no entry for this process');
  return { pid: process.pid, startTime, boot: bootId() };
});

/** When a process started (clock ticks since the boot), or `undefined` when there is none of that pid, or only its zombie. */
export function startTimeOf(pid: number): number | undefined {
  const stat = readStat(pid);
  if (stat === undefined) return undefined;
  // proc_pid_stat(5): the second field is the program's name in parentheses, which may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTime] = [fields[0], Number(fields[19])];
  return state === 'Z' || state === 'X' || !Number.isSafeInteger(startTime) ? undefined : startTime;
}

/** True while that very process runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identity.boot === bootId() && startTimeOf(identity.pid) === identity.startTime;
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
