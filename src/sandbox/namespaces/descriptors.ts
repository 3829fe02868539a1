import type { TerminalSize } from '../sandbox';
import type { SandboxPlaces } from './mount-ops';

/** How the process is connected to mbuild. */
export interface ProgramIo extends Pick<SandboxPlaces, 'ids'> {
  /** A filter for system calls, as seccomp(2) takes it. */
  readonly filter?: Uint8Array | undefined;
  /**
   * One that a supervisor answers for, who takes the listener from {@link LISTENER_FD} while the
   * command waits; where there can be none, `filter` is taken.
   */
  readonly supervised?: Uint8Array | undefined;
  /** A terminal instead of three streams. */
  readonly terminal?: TerminalSize | undefined;
  /** Whether the command waits for a byte on {@link SYNC_FD}. */
  readonly waits: boolean;
}

/**
 * File descriptor for reports: the pid, {@link READY} if the command waits, a failure if there is
 * one, {@link LOST} if there is cause, then the wait status and a struct rusage.
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

/**
 * Report that a server ended before the command, with its wait status as far as it is known; no
 * other word either.
 */
export const LOST = 0x9000000;
