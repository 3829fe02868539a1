import { spawn } from 'node:child_process';

/** How a program ended and what it wrote. */
export interface CommandResult {
  /** As a shell shows it: 128 + signal when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is started. */
export interface CommandOptions {
  readonly cwd?: string | undefined;
  /** The whole environment; {@link cleanEnv} when absent. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Standard input; empty when absent. */
  readonly input?: string | Uint8Array | undefined;
  /** See standard output and standard error as they come. */
  readonly onStdout?: ((text: string) => void) | undefined;
  readonly onStderr?: ((text: string) => void) | undefined;
  /** Given the process id once the program runs. */
  readonly onStart?: ((pid: number) => void) | undefined;
}

/** An environment that is the same on every machine, but for PATH and the temporary folder. */
export function cleanEnv(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`,
    HOME: '/nonexistent',
    LANG: 'C.UTF-8',
    TMPDIR: process.env.TMPDIR ?? '/tmp',
    ...extra,
  };
}

/**
 * Runs a program to its end. A failing program is not an error here; one that cannot be started is.
 */
export function command(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? cleanEnv(),
      stdio: 'pipe',
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => {
      out.push(data);
      options.onStdout?.(data.toString());
    });
    child.stderr.on('data', (data: Buffer) => {
      err.push(data);
      options.onStderr?.(data.toString());
    });
    child.on('spawn', () => options.onStart?.(child.pid ?? -1));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({
        code: code ?? 128 + (SIGNALS[signal ?? ''] ?? 0),
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      });
    });
    child.stdin.on('error', () => undefined); // a program may end without reading
    child.stdin.end(options.input);
  });
}

/**
 * The same for a program that must succeed; returns its standard output.
 * @throws Error with its standard error.
 */
export async function succeed(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await command(program, args, options);
  if (result.code !== 0)
    throw new Error(
      `${program} ${args.join(' ')} ended with ${result.code}\n${result.stderr}${result.stdout}`,
    );
  return result.stdout;
}

const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };
