import { visible } from '../diagnostics/visible';
import type { Whereabouts } from './as-root';
import type { EventSink } from '../progress/events';
import type { RegistryOptions } from '../registry/client';
import type { Output } from './output';

/** What a command sees of the process that it runs in. */
export interface Host {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Results: what scripts read. */
  readonly out: Output;
  /** Progress, notes and errors: what people read. */
  readonly err: Output;
  /** Opened by the first call. */
  readonly stdin: () => NodeJS.ReadStream;
  /** Results that are bytes: archives. */
  readonly stdout: () => NodeJS.WritableStream;
  /** Aborted by a signal, and when the reader of `out` is gone. */
  readonly signal: AbortSignal;
  /**
   * Until the returned function is called, signals go to `taker` and abort nothing. Absent where
   * nobody sends signals.
   */
  readonly takeSignals?: ((taker: (signal: NodeJS.Signals) => void) => () => void) | undefined;
  /**
   * Takes progress instead of a screen: an embedding program. This and the three below are absent
   * on a command line.
   */
  readonly events?: EventSink | undefined;
  /** Takes what a container writes, instead of this process's own streams. */
  readonly output?: ((stream: 'stdout' | 'stderr', data: Uint8Array) => void) | undefined;
  /** Takes what came of a command, as a value; what is printed is for people. */
  readonly result?: ((value: unknown) => void) | undefined;
  /** Takes an error that would be shown. */
  readonly failed?: ((error: unknown) => void) | undefined;
  /** How registries are spoken to besides what flags say: of a command that stands for another program's. */
  readonly registry?: Pick<RegistryOptions, 'rules' | 'moreCertFolders'> | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly uid: number;
  /**
   * Where this process's user has not the rights to keep layers, but may have them in a user
   * namespace: does the whole command there and returns its exit code. `undefined`: there is no
   * such namespace to be had, and the command is to be done here.
   */
  readonly elsewhere?:
    ((argv: readonly string[], where: Whereabouts) => Promise<number | undefined>) | undefined;
}

/** One line for people, beside the results. */
export function note(host: Host, text: string): void {
  host.err.write(`note: ${visible(text)}\n`);
}
