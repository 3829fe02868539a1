import { MbuildError } from '../diagnostics/error';

/** Exit codes of what a signal ended: 128 and the signal's number. */
const CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
type Signal = keyof typeof CODES;

/** What a program that stands for another one also hands on. */
const HANDED_ON = ['SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT', 'SIGALRM'] as const;

/** The process as far as signals go. */
export interface SignalSource {
  on(signal: Signal | (typeof HANDED_ON)[number], listener: () => void): unknown;
  off(signal: Signal | (typeof HANDED_ON)[number], listener: () => void): unknown;
  exit(code: number): void;
}

/** Watches for the signals that end a program. */
export interface SignalWatch {
  /** Aborted by the first signal, with an MbuildError CANCELED as the reason. */
  readonly signal: AbortSignal;
  /** The exit code that the signal asks for, once there was one. */
  exitCode(): number | undefined;
  /** Aborts for another reason than a signal: the reader of the results is gone. */
  abort(message: string, exitCode: number): void;
  /**
   * Until the returned function is called, every signal goes to `taker` alone, and does nothing
   * else.
   */
  take(taker: (signal: NodeJS.Signals) => void): () => void;
  dispose(): void;
}

/**
 * The first SIGINT, SIGTERM or SIGHUP aborts, so that everything stops and cleans up; a second
 * SIGINT or SIGTERM ends the process at once. (Sandboxes die with it: their init is told of the
 * death of its parent.)
 */
export function watchSignals(source: SignalSource): SignalWatch {
  const controller = new AbortController();
  let code: number | undefined;
  let taker: ((signal: NodeJS.Signals) => void) | undefined;
  const listeners = (Object.keys(CODES) as Signal[]).map((signal) => {
    const listener = (): void => {
      if (taker !== undefined) return taker(signal);
      if (code !== undefined && signal !== 'SIGHUP') source.exit(CODES[signal]);
      code ??= CODES[signal];
      controller.abort(new MbuildError('CANCELED', `canceled by ${signal}`));
    };
    source.on(signal, listener);
    return [signal, listener] as const;
  });
  return {
    signal: controller.signal,
    exitCode: () => code,
    abort: (message, exitCode) => {
      code ??= exitCode;
      controller.abort(new MbuildError('CANCELED', message));
    },
    take: (given) => {
      taker = given;
      const more = HANDED_ON.map((signal) => [signal, () => given(signal)] as const);
      for (const [signal, listener] of more) source.on(signal, listener);
      return () => {
        taker = undefined;
        for (const [signal, listener] of more) source.off(signal, listener);
      };
    },
    dispose: () => {
      for (const [signal, listener] of listeners) source.off(signal, listener);
    },
  };
}
