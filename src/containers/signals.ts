import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../diagnostics/error';
import { runsHere, type ProcessIdentity } from '../linux/process';

// glibc's SIGRTMIN; the kernel's first two are the C library's own.
const SIGRTMIN = 34;
const SIGRTMAX = 64;
const SIGKILL = constants.signals.SIGKILL;

/** What these do without a handler does not end a process. signal(7). */
const HARMLESS: readonly string[] = [
  'SIGCHLD',
  'SIGURG',
  'SIGWINCH',
  'SIGCONT',
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
];

/** A signal's number: `9`, `KILL`, `SIGKILL`, `RTMIN+3`; `undefined` for what is none. */
export function parseSignal(text: string): number | undefined {
  if (/^\d+$/.test(text))
    return Number(text) >= 1 && Number(text) <= SIGRTMAX ? Number(text) : undefined;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime !== null) {
    const number =
      (realTime[1] === 'MIN' ? SIGRTMIN : SIGRTMAX) +
      Number(`${realTime[2] ?? '+'}${realTime[3] ?? 0}`);
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
  }
  return (constants.signals as Readonly<Record<string, number>>)[`SIG${name}`];
}

/** The name of a signal, or its number as text. */
export function signalName(signal: number): string {
  return (
    Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? String(signal)
  );
}

/** Signals by which a program is asked to end. */
const ENDING: readonly string[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'];
/**
 * Milliseconds between two looks, for how many looks a handler is waited for, and after how many it
 * has given the signal back.
 */
const POLL = 25;
const LOOKS = 40;
const GIVEN_BACK = 6;

/**
 * Sends a signal to a container's first process. The kernel drops signals for which the first
 * process of a PID namespace has no handler, so that `sleep` could not be stopped; and those that
 * it sends to itself, so that neither could be what has a handler that cleans up, takes itself away
 * and raises the signal again, as Node.js has. What the signal would have done is done by SIGKILL
 * then.
 * @param onSubstitute told of the signal in whose place SIGKILL is sent next.
 */
export async function deliver(
  target: ProcessIdentity,
  signal: number,
  onSubstitute: (signal: number) => void,
): Promise<void> {
  if (!runsHere(target)) return;
  const name = signalName(signal);
  const substitute = (): void => {
    onSubstitute(signal);
    send(target, SIGKILL);
  };
  if (signal === SIGKILL || HARMLESS.includes(name)) return send(target, signal);
  if (isUnhandled(target.pid, signal)) return substitute();
  send(target, signal);
  if (!ENDING.includes(name)) return;
  let unhandled = 0;
  for (let look = 0; look < LOOKS && runsHere(target); look++) {
    await sleep(POLL);
    unhandled = isUnhandled(target.pid, signal) ? unhandled + 1 : 0;
    if (unhandled === GIVEN_BACK && runsHere(target)) return substitute();
  }
}

function send(target: ProcessIdentity, signal: number): void {
  try {
    process.kill(target.pid, signal);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/**
 * True when a process neither catches nor ignores nor blocks a signal. proc_pid_status(5): masks in
 * hexadecimal, signal 1 the lowest bit.
 */
function isUnhandled(pid: number, signal: number): boolean {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
  return ['SigCgt', 'SigIgn', 'SigBlk'].every((field) => {
    const mask = BigInt(
      `0x${new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`,
    );
    return ((mask >> BigInt(signal - 1)) & 1n) === 0n;
  });
}
