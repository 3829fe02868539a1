import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { errnoOf } from '../diagnostics/error';
import { isAlive, type ProcessIdentity } from '../linux/process';

// glibc's SIGRTMIN; the kernel's first two are the C library's own.
const SIGRTMIN = 34;
const SIGRTMAX = 64;
const SIGKILL = constants.signals.SIGKILL;

/** What these do without a handler does not end a process. signal(7). */
const HARMLESS: readonly string[] = ['SIGCHLD', 'SIGURG', 'SIGWINCH', 'SIGCONT', 'SIGSTOP', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU'];

/** A signal's number: `9`, `KILL`, `SIGKILL`, `RTMIN+3`; `undefined` for what is none. */
export function parseSignal(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) >= 1 && Number(text) <= SIGRTMAX ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime !== null) {
    const number = (realTime[1] === 'MIN' ? SIGRTMIN : SIGRTMAX) + Number(`${realTime[2] ?? '+'}${realTime[3] ?? 0}`);
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
  }
  return (constants.signals as Readonly<Record<string, number>>)[`SIG${name}`];
}

/** The name of a signal, or its number as text. */
export function signalName(signal: number): string {
  return Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? String(signal);
}

/**
 * Sends a signal to a container's first process. The kernel drops signals for which the first process of a PID namespace has
 * no handler, so that `sleep` could not be stopped: what the signal would have done is done by SIGKILL then.
 * @returns the signal in whose place SIGKILL was sent; `undefined` when the signal itself was, or the process is gone.
 */
export function deliver(target: ProcessIdentity, signal: number, onSubstitute: (signal: number) => void = () => undefined): number | undefined {
  if (!isAlive(target)) return undefined;
  const substitute = signal !== SIGKILL && !HARMLESS.includes(signalName(signal)) && isUnhandled(target.pid, signal);
  if (substitute) onSubstitute(signal);
  try {
    process.kill(target.pid, substitute ? SIGKILL : signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
  return substitute ? signal : undefined;
}

/** True when a process neither catches nor ignores nor blocks a signal. proc_pid_status(5): masks in hexadecimal, signal 1 the lowest bit. */
function isUnhandled(pid: number, signal: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
  return ['SigCgt', 'SigIgn', 'SigBlk'].every((field) => {
    const mask = BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
    return ((mask >> BigInt(signal - 1)) & 1n) === 0n;
  });
}
