import type { Readable } from 'node:stream';
import { MbuildError } from '../diagnostics/error';

/** How a helper program is run. */
export interface CommandOptions {
  /** Bytes for its standard input; none when absent. */
  readonly input?: string | Uint8Array | Readable | undefined;
  /**
   * Variables besides those that mbuild itself was given; those that are `undefined` are taken
   * away.
   */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  readonly cwd?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a helper program came to. */
export interface CommandResult {
  /** 128 + signal when one ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longest output that is kept of each stream, in characters. */
const MAX_OUTPUT = 64 << 20;

/**
 * Runs a program of the host (git, a credential helper) to its end; a non-zero exit is not an
 * error.
 * @throws MbuildError EXEC_NOT_FOUND when there is no such program, CANCELED when `signal` was
 * aborted.
 */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { execa } = await import('execa');
  const result = await execa(file, args, {
    reject: false,
    stripFinalNewline: false,
    maxBuffer: MAX_OUTPUT,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  if (result.isCanceled) throw new MbuildError('CANCELED', `${file} was stopped`);
  if (result.exitCode === undefined && result.signal === undefined) {
    throw new MbuildError(
      'EXEC_NOT_FOUND',
      `cannot run ${file}: ${result.originalMessage ?? 'not found'}`,
      { cause: result.cause },
    );
  }
  return { exitCode: result.exitCode ?? 128, stdout: result.stdout, stderr: result.stderr };
}
