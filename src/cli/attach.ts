import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import type { ContainerRecord } from '../containers/container';
import { deliver } from '../containers/signals';
import { ContainerStore } from '../containers/store';
import { noteSubstitute, superviseContainer } from '../containers/supervise';
import { MbuildError, isMbuildError, type ErrorCode } from '../diagnostics/error';
import type { Engine } from '../engine';
import type { PreparedProcess, ProcessIo } from '../sandbox/sandbox';
import { note, type Host } from './host';
import { writeBytes } from './streams';

/**
 * What the process that watches over a detached container tells who started it, as JSON; nothing
 * when it died.
 */
interface SupervisorReport {
  readonly error?:
    | {
        readonly code: ErrorCode;
        readonly message: string;
        readonly hint?: string | undefined;
        readonly exitCode?: number | undefined;
      }
    | undefined;
}

/** File descriptor of the report in that process. */
const REPORT_FD = 3;

/** Runs a container with this process's streams; returns its exit code. */
export async function runAttached(
  record: ContainerRecord,
  services: Engine,
  options: { readonly stdin: boolean },
  host: Host,
): Promise<number> {
  const store = new ContainerStore(services.root);
  return withTerminal(record.terminal, options.stdin, host, async (io, resizeWith) => {
    const release = host.takeSignals?.((signal) => {
      if (signal === 'SIGWINCH') return;
      const target = store.state(record.id)?.process;
      if (target !== undefined)
        void deliver(target, constants.signals[signal], (number) =>
          noteSubstitute(record.id, store, number),
        );
    });
    try {
      const { code } = await superviseContainer(record, store, services, {
        ...io,
        started: resizeWith,
        note: (text) => note(host, text),
      });
      return code;
    } finally {
      release?.();
    }
  });
}

/** This process's streams for another one: raw while that has a terminal. */
export async function withTerminal<T>(
  terminal: boolean,
  stdin: boolean,
  host: Host,
  use: (
    io: Pick<ProcessIo, 'stdin' | 'output' | 'terminal'>,
    resizeWith: (process: PreparedProcess) => void,
  ) => Promise<T>,
): Promise<T> {
  const input = stdin ? host.stdin() : undefined;
  if (terminal && input !== undefined && !input.isTTY) {
    throw new MbuildError('USAGE', 'the input device is not a TTY', {
      hint: 'leave out --tty when standard input is not a terminal',
    });
  }
  const isRaw = terminal && input?.isTTY === true;
  const size = (): { readonly columns: number; readonly rows: number } =>
    (host.out.isTTY ? host.out : host.err).size();
  let running: PreparedProcess | undefined;
  const onResize = (): void => running?.resize(size());
  const screen = host.out.isTTY ? host.stdout() : undefined;
  try {
    if (isRaw) input.setRawMode(true);
    screen?.on('resize', onResize);
    return await use(
      {
        stdin: input,
        output: host.output ?? writeBytes,
        ...(terminal ? { terminal: size() } : {}),
      },
      (prepared) => {
        running = prepared;
        onResize();
      },
    );
  } finally {
    screen?.off('resize', onResize);
    if (isRaw) input.setRawMode(false);
    input?.pause();
  }
}

/**
 * Starts a process of its own that watches over the container, and returns when that runs.
 * @throws MbuildError as the supervisor had it when the command could not be executed.
 */
export async function startDetached(record: ContainerRecord, root: string): Promise<void> {
  const [program, script] = [process.execPath, process.argv[1] ?? ''];
  const supervisor = spawn(
    program,
    [...process.execArgv, script, '--root', root, 'container', 'supervise', record.id],
    {
      detached: true,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    },
  );
  let text = '';
  const pipe = supervisor.stdio[REPORT_FD] as Readable;
  pipe.on('data', (data: Buffer) => {
    text += data.toString('utf8');
  });
  await new Promise<void>((resolve, reject) => {
    supervisor.on('error', reject);
    pipe.on('close', () => resolve());
  });
  supervisor.unref();
  const report = text === '' ? undefined : (JSON.parse(text) as SupervisorReport);
  if (report?.error !== undefined)
    throw new MbuildError(report.error.code, report.error.message, {
      hint: report.error.hint,
      exitCode: report.error.exitCode,
    });
  if (report === undefined)
    throw new MbuildError(
      'SANDBOX_FAILED',
      'the process that watches over the container ended without a report',
    );
}

/** The other side of {@link startDetached}: runs the container to its end, without streams. */
export async function superviseDetached(
  record: ContainerRecord,
  store: ContainerStore,
  services: Engine,
  host: Host,
): Promise<void> {
  const report = (result: SupervisorReport): void => {
    writeSync(REPORT_FD, JSON.stringify(result));
    closeSync(REPORT_FD);
  };
  // It ends with its container, and only so.
  const release = host.takeSignals?.(() => undefined);
  let executed = false;
  try {
    await superviseContainer(record, store, services, {
      executed: () => {
        executed = true;
        report({});
      },
    });
  } catch (error) {
    const { code, message, hint, exitCode } = isMbuildError(error)
      ? error
      : new MbuildError('INTERNAL', String(error));
    if (!executed) report({ error: { code, message, hint, exitCode } });
  } finally {
    release?.();
  }
}
