import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import type { Duplex, Readable } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { ownName } from '../../content/files';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { sealedFile } from '../../linux/sealed-file';
import { takeDescriptor } from '../../linux/terminal';
import type { BuildScope, ResourceUsage } from '../../progress/events';
import { makeCgroup, stepGroupName } from '../cgroups/cgroup';
import { BASE, interpreterFile, type Arch } from './init/interpreter';
import { assemble, type Op, type Program } from './init/program';
import {
  LOST,
  READY,
  REPORT_FD,
  RUSAGE,
  SYNC_FD,
  TERMINAL_FD,
  joinOps,
  type ProgramIo,
} from './namespace-program';
import type { ExitStatus, ProcessIo, ProcessSpec } from '../sandbox';
import { Terminal, openStreams } from '../streams';

/** What init reported: see REPORT_FD in namespace-program.ts. */
interface Report {
  readonly pid?: number | undefined;
  /** True when the command waits for its turn. */
  readonly isReady: boolean;
  readonly failure?: { readonly op: Op; readonly errno: string } | undefined;
  /** As wait(2) gives it. */
  readonly status?: number | undefined;
  readonly usage?: ResourceUsage | undefined;
  /** How a server of the command's trees ended that ended before it, as wait(2) gives it; zero where that is not known. */
  readonly lost?: number | undefined;
}

/** What is known of a command before it runs, and of how long it may. */
type ExecuteSpec = Pick<ProcessSpec, 'args' | 'cwd' | 'limits' | 'group' | 'timeout'>;

/** Starts init with programs, connects the command's streams, and waits for its end. */
export class InitProcess {
  readonly arch: Arch;
  /**
   * The init program. In memory and sealed, for what runs in a container could get hold of it by way of /proc/PID/exe, and
   * write to a file of the host (CVE-2019-5736).
   */
  readonly #init: number;

  /** @param state a directory of the store for programs. */
  constructor(private readonly state: string) {
    if (process.arch !== 'x64' && process.arch !== 'arm64') {
      throw new MbuildError('SANDBOX_UNAVAILABLE', `mbuild has no sandbox for ${process.arch}`, {
        hint: 'it runs on x64 and arm64',
      });
    }
    this.arch = process.arch;
    this.#init = sealedFile('mbuild-init', interpreterFile(process.arch));
  }

  /**
   * Runs a program that ends in the command.
   * @param ended told init's pid when the command has ended; what it left behind may still run.
   * @throws MbuildError EXEC_NOT_FOUND, EXEC_FAILED, STEP_TIMEOUT, SANDBOX_FAILED, SANDBOX_UNAVAILABLE, CANCELED.
   */
  async execute(
    ops: readonly Op[],
    spec: ExecuteSpec,
    io: ProcessIo,
    scope: BuildScope,
    ended?: (init: number) => void,
  ): Promise<ExitStatus> {
    const group =
      spec.limits === undefined
        ? undefined
        : makeCgroup(spec.group ?? stepGroupName(), spec.limits);
    try {
      if (group !== undefined && group.refused.length > 0) io.refused?.(group.refused);
      const status = await this.#execute(
        [...joinOps(group?.doors ?? []), ...ops],
        spec,
        io,
        scope,
        ended,
      );
      return group !== undefined && group.outOfMemory() > 0
        ? { ...status, outOfMemory: true }
        : status;
    } finally {
      group?.remove();
    }
  }

  async #execute(
    ops: readonly Op[],
    spec: ExecuteSpec,
    io: ProcessIo,
    scope: BuildScope,
    ended?: (init: number) => void,
  ): Promise<ExitStatus> {
    const program = programOf(ops, this.arch);
    const deadline = spec.timeout === undefined ? undefined : AbortSignal.timeout(spec.timeout);
    const limited =
      deadline === undefined
        ? scope
        : { ...scope, signal: AbortSignal.any([scope.signal, deadline]) };
    const programFd = this.#programFile(program);
    const streams = io.terminal === undefined ? openStreams(io) : undefined;
    let child: ChildProcess;
    try {
      const [stdin = 'ignore', stdout = 'ignore', stderr = 'ignore'] = streams?.childEnds ?? [];
      const turn = programIo(io).waits ? ['pipe' as const] : [];
      child = spawn(`/proc/self/fd/${this.#init}`, [], {
        stdio: [stdin, stdout, stderr, programFd, 'pipe', ...turn],
        detached: true,
        env: {},
        cwd: '/',
      });
    } finally {
      closeSync(programFd);
      streams?.closeChildEnds();
    }
    const terminals: Terminal[] = [];
    const outputs = streams?.connect(io) ?? [];
    let report: Report;
    try {
      report = await this.#supervise(
        child,
        program,
        limited,
        async (pid) => {
          const terminal =
            io.terminal === undefined
              ? undefined
              : new Terminal(takeDescriptor(pid, TERMINAL_FD), io);
          if (terminal !== undefined) terminals.push(terminal);
          await io.prepare?.({ pid, resize: (size) => terminal?.resize(size) });
        },
        () => io.executed?.(),
        ended,
      );
    } finally {
      // Without init nobody ends what the command left, which may hold its streams for ever.
      if (child.signalCode !== null) streams?.abandon();
      await Promise.all([...outputs, ...terminals.map((terminal) => terminal.ended)]);
      streams?.disconnect(io);
    }
    if (scope.signal.aborted)
      throw new MbuildError('CANCELED', 'the build was canceled', { cause: scope.signal.reason });
    if (deadline?.aborted === true && spec.timeout !== undefined)
      throw new MbuildError(
        'STEP_TIMEOUT',
        `the command did not end within ${spec.timeout / 1000} seconds and was killed`,
      );
    return exitStatus(report, spec);
  }

  /**
   * Waits until the command and all its descendants are gone; on abort kills the PID namespace's init, and so all.
   * A command that waits goes on when `prepare` has resolved; when that rejects, nothing is executed.
   */
  async #supervise(
    child: ChildProcess,
    program: Program,
    scope: BuildScope,
    prepare: (pid: number) => Promise<void>,
    executed: () => void,
    ended?: (init: number) => void,
  ): Promise<Report> {
    const chunks: Buffer[] = [];
    const read = (): Report => readReport(Buffer.concat(chunks), program);
    const kill = (): void => {
      const { pid, status } = read();
      try {
        if (pid !== undefined && status === undefined) process.kill(pid, 'SIGKILL');
        else if (pid === undefined) child.kill('SIGKILL');
      } catch (error) {
        if (errnoOf(error) !== 'ESRCH') throw error;
      }
    };
    const ends: readonly unknown[] = child.stdio;
    const turn = ends[SYNC_FD] as Duplex | undefined;
    turn?.on('error', () => undefined); // the command may be gone already
    turn?.resume().on('end', () =>
      setImmediate(() => {
        // A failure is reported before the descriptor is closed.
        const { failure, pid } = read();
        if (failure === undefined && pid !== undefined && !scope.signal.aborted) executed();
      }),
    );
    let preparing: Promise<void> | undefined;
    (ends[REPORT_FD] as Readable).on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (scope.signal.aborted) kill();
      const { pid, isReady, lost, status } = read();
      if (lost !== undefined) kill();
      if (status !== undefined && child.pid !== undefined) ended?.(child.pid);
      if (pid === undefined || !isReady || preparing !== undefined) return;
      preparing = prepare(pid).then(
        () => void turn?.end('\n'),
        (error: unknown) => {
          kill();
          throw error;
        },
      );
      preparing.catch(() => undefined); // awaited below
    });
    scope.signal.addEventListener('abort', kill);
    try {
      await new Promise<void>((resolve, reject) => {
        child.on('error', (error) =>
          reject(
            new MbuildError(
              'SANDBOX_FAILED',
              `the sandbox's init could not be started: ${error.message}`,
              { cause: error },
            ),
          ),
        );
        child.on('exit', () => turn?.destroy());
        child.on('close', () => resolve());
      });
      await preparing;
    } finally {
      scope.signal.removeEventListener('abort', kill);
    }
    return read();
  }

  /** The program as an open file without a name. */
  #programFile(program: Program): number {
    const file = ownName(this.state, 'program');
    const fd = openSync(file, 'wx+', 0o600);
    try {
      unlinkSync(file);
      writeSync(fd, program.image);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return fd;
  }
}

function programOf(ops: readonly Op[], arch: Arch): Program {
  try {
    return assemble(ops, arch);
  } catch (error) {
    if (errnoOf(error) === 'E2BIG')
      throw new MbuildError('EXEC_FAILED', 'the command and its environment are too long', {
        cause: error,
      });
    throw error;
  }
}

/** How a program has to treat its descriptors for this. */
export function programIo(io: ProcessIo): ProgramIo {
  return { terminal: io.terminal, waits: io.terminal !== undefined || io.prepare !== undefined };
}

function readReport(bytes: Buffer, program: Program): Report {
  let pid: number | undefined;
  let status: number | undefined;
  let failure: Report['failure'];
  let usage: ResourceUsage | undefined;
  let isReady = false;
  let lost: number | undefined;
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const word = bytes.readBigUInt64LE(at);
    if (status !== undefined) {
      if (at + RUSAGE <= bytes.length) usage = readUsage(bytes.subarray(at, at + RUSAGE));
      break;
    } else if (word >= BigInt(BASE)) {
      if (at + 16 > bytes.length) break;
      const op = program.opAt(word);
      at += 8;
      if (op !== undefined)
        failure = { op, errno: getSystemErrorName(Number(bytes.readBigInt64LE(at))) };
    } else if (word === BigInt(READY)) {
      isReady = true;
    } else if (word === BigInt(LOST)) {
      if (at + 16 > bytes.length) break;
      at += 8;
      lost = Number(bytes.readBigUInt64LE(at));
    } else if (pid === undefined) {
      pid = Number(word);
    } else {
      status = Number(word);
    }
  }
  return { pid, isReady, failure, status, usage, lost };
}

/** getrusage(2): two times of seconds and microseconds, kilobytes, and blocks of 512 bytes. */
function readUsage(bytes: Buffer): ResourceUsage {
  const word = (index: number): number => Number(bytes.readBigInt64LE(index * 8));
  const time = (index: number): number => word(index) * 1000 + Math.round(word(index + 1) / 1000);
  return {
    userMs: time(0),
    systemMs: time(2),
    peakMemory: word(4) * 1024,
    readBytes: word(11) * 512,
    writtenBytes: word(12) * 512,
  };
}

/** @throws MbuildError when the command was never executed. */
function exitStatus(report: Report, spec: Pick<ProcessSpec, 'args' | 'cwd'>): ExitStatus {
  if (report.failure !== undefined)
    throw failureError(report.failure.op, report.failure.errno, spec);
  if (report.lost !== undefined) throw lostServer(endOf(report.lost));
  if (report.status === undefined)
    throw new MbuildError('SANDBOX_FAILED', 'the sandbox ended without a report', {
      hint: 'something outside of mbuild killed it, perhaps for want of memory',
    });
  return { ...endOf(report.status), usage: report.usage };
}

/** A wait status. */
function endOf(status: number): ExitStatus {
  const signal = status & 0x7f;
  if (signal === 0) return { code: (status >> 8) & 0xff };
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  return { code: 128 + signal, signal: name ?? `signal ${signal}` };
}

function lostServer({ code, signal }: ExitStatus): MbuildError {
  const how =
    signal !== undefined
      ? `was killed by ${signal}`
      : code !== 0
        ? `exited with code ${code}`
        : 'ended';
  const memory = signal === 'SIGKILL' ? 'SIGKILL often means that memory ran out; ' : '';
  return new MbuildError(
    'SANDBOX_FAILED',
    `fuse-overlayfs, by which the command had its files, ${how}`,
    {
      hint: `${memory}nothing of the command is kept; --snapshotter=copy does without fuse-overlayfs`,
    },
  );
}

/** Why a command was not executed, in words. */
export function failureError(
  op: Pick<Op, 'what' | 'call'>,
  errno: string,
  spec: Pick<ProcessSpec, 'args' | 'cwd'>,
): MbuildError {
  const command = spec.args[0] ?? '';
  if (op.call === 'execve') {
    if (errno === 'ENOENT') {
      const isPath = command.includes('/');
      return new MbuildError(
        'EXEC_NOT_FOUND',
        isPath
          ? `${command}: no such file, or the interpreter or loader that it needs is missing`
          : `${command}: executable file not found in $PATH`,
        {
          hint:
            command === '/bin/sh'
              ? 'the image has no shell: use the exec form, RUN ["program", "argument"]'
              : 'install it in an earlier RUN, or correct the name',
          exitCode: 127,
        },
      );
    }
    if (errno === 'ENOEXEC')
      return new MbuildError('EXEC_FAILED', `${command}: exec format error`, {
        hint: 'it is built for another architecture, or is a script without a #! line',
        exitCode: 126,
      });
    return new MbuildError('EXEC_FAILED', `${command}: ${reason(errno)}`, {
      hint: EXECUTE_HINTS[errno],
      exitCode: 126,
    });
  }
  if (op.call === 'chdir' && op.what.startsWith('enter the working'))
    return new MbuildError(
      'EXEC_FAILED',
      `cannot enter the working directory ${spec.cwd}: ${reason(errno)}`,
      { exitCode: 126 },
    );
  if (op.call === 'clone' || errno === 'EPERM') {
    return new MbuildError(
      'SANDBOX_UNAVAILABLE',
      `the sandbox could not ${op.what}: ${reason(errno)}`,
      {
        hint: 'RUN needs CAP_SYS_ADMIN for namespaces and mounts: run as root outside of a restricted container (docker run --privileged)',
      },
    );
  }
  const isTarget = op.call === 'mount' && ['ENOENT', 'ENOTDIR'].includes(errno);
  return new MbuildError('SANDBOX_FAILED', `the sandbox could not ${op.what}: ${reason(errno)}`, {
    hint: isTarget
      ? 'the sandbox fills /dev, /proc, /sys, /etc/hosts and /etc/resolv.conf itself: mount on another path'
      : undefined,
  });
}

const EXECUTE_HINTS: Readonly<Record<string, string>> = {
  EACCES: 'is it executable, and may its user reach it?',
  E2BIG:
    'one argument or variable has at most 128 KiB, all together a fourth of the stack (2 MiB): put it in a file',
};

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOTDIR: 'not a directory',
  EISDIR: 'is a directory',
  ELOOP: 'too many symbolic links',
  ENOMEM: 'out of memory',
  EAGAIN: 'too many processes',
  ENOSPC: 'no space left, or a limit on namespaces is reached',
  EINVAL: 'invalid argument',
  ETXTBSY: 'the file is being written',
  E2BIG: 'argument list too long',
  EROFS: 'read-only file system',
};

function reason(errno: string): string {
  return REASONS[errno] === undefined ? errno : `${REASONS[errno]} (${errno})`;
}
