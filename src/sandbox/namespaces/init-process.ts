import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { ownName } from '../../content/files';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { sealedFile } from '../../linux/sealed-file';
import { takeDescriptor } from '../../linux/terminal';
import type { BuildScope } from '../../progress/events';
import { makeCgroup, stepGroupName } from '../cgroups/cgroup';
import type { ExitStatus, ProcessIo, ProcessSpec } from '../sandbox';
import { Terminal, openStreams, type ProcessStreams } from '../streams';
import { TERMINAL_FD, type ProgramIo } from './descriptors';
import type { FailedSpec } from './failure';
import { InitWatch } from './init-watch';
import { interpreterFile, type Arch } from './init/interpreter';
import { assemble, type Op, type Program } from './init/program';
import { joinOps } from './parent-ops';
import { exitStatus, type Report } from './report';

/** What is known of a command before it runs, and of how long it may. */
type ExecuteSpec = FailedSpec & Pick<ProcessSpec, 'limits' | 'group' | 'timeout'>;

/** A program that ends in a command, and what is connected to it. */
export interface Execution {
  readonly ops: readonly Op[];
  readonly spec: ExecuteSpec;
  readonly io: ProcessIo;
  readonly scope: BuildScope;
  /** Told init's pid when the command has ended; what it left behind may still run. */
  readonly ended?: ((init: number) => void) | undefined;
}

/** Starts init with programs, connects the command's streams, and waits for its end. */
export class InitProcess {
  readonly arch: Arch;
  /**
   * The init program. In memory and sealed, for what runs in a container could get hold of it by
   * way of /proc/PID/exe, and write to a file of the host (CVE-2019-5736).
   */
  readonly #init: number;

  /** @param state a directory of the store for programs. */
  constructor(private readonly state: string) {
    if (process.arch !== 'x64' && process.arch !== 'arm64') {
      throw new MbuildError('SANDBOX_UNAVAILABLE', `mbuild has no sandbox for ${process.arch}`, {
        hint: 'mbuild supports x64 and arm64',
      });
    }
    this.arch = process.arch;
    this.#init = sealedFile('mbuild-init', interpreterFile(process.arch));
  }

  /**
   * Runs a program that ends in the command.
   * @throws MbuildError EXEC_NOT_FOUND, EXEC_FAILED, STEP_TIMEOUT, SANDBOX_FAILED,
   * SANDBOX_UNAVAILABLE, CANCELED.
   */
  async execute(execution: Execution): Promise<ExitStatus> {
    const { spec, io, ops } = execution;
    if (spec.limits === undefined) return this.#execute(execution);
    const group = makeCgroup(spec.group ?? stepGroupName(), spec.limits);
    try {
      if (group.refused.length > 0) io.refused?.(group.refused);
      const status = await this.#execute({
        ...execution,
        ops: [...joinOps(group.doors), ...ops],
      });
      return group.outOfMemory() > 0 ? { ...status, outOfMemory: true } : status;
    } finally {
      group.remove();
    }
  }

  async #execute(execution: Execution): Promise<ExitStatus> {
    const { ops, spec, scope } = execution;
    const program = programOf(ops, this.arch);
    const deadline = spec.timeout === undefined ? undefined : AbortSignal.timeout(spec.timeout);
    const signals = deadline === undefined ? [scope.signal] : [scope.signal, deadline];
    const report = await this.#run(program, execution, AbortSignal.any(signals));
    if (scope.signal.aborted)
      throw new MbuildError('CANCELED', 'the build was canceled', { cause: scope.signal.reason });
    if (deadline?.aborted === true && spec.timeout !== undefined)
      throw new MbuildError(
        'STEP_TIMEOUT',
        `the command did not end within ${spec.timeout / 1000} seconds and was killed`,
      );
    return exitStatus(report, spec);
  }

  /** Runs init to its end, with streams or a terminal for the command. */
  async #run(program: Program, { io, ended }: Execution, signal: AbortSignal): Promise<Report> {
    const streams = io.terminal === undefined ? openStreams(io) : undefined;
    const child = this.#start(program, io, streams);
    const outputs = streams?.connect(io) ?? [];
    const terminals: Terminal[] = [];
    const prepare = async (pid: number): Promise<void> => {
      const terminal =
        io.terminal === undefined ? undefined : new Terminal(takeDescriptor(pid, TERMINAL_FD), io);
      if (terminal !== undefined) terminals.push(terminal);
      await io.prepare?.({ pid, resize: (size) => terminal?.resize(size) });
    };
    try {
      return await new InitWatch(child, program, signal, {
        prepare,
        executed: () => io.executed?.(),
        ended,
      }).end();
    } finally {
      // Without init nobody ends what the command left, which may hold its streams for ever.
      if (child.signalCode !== null) streams?.abandon();
      await Promise.all([...outputs, ...terminals.map((terminal) => terminal.ended)]);
      streams?.disconnect(io);
    }
  }

  #start(program: Program, io: ProcessIo, streams: ProcessStreams | undefined): ChildProcess {
    const programFd = this.#programFile(program);
    const [stdin = 'ignore', stdout = 'ignore', stderr = 'ignore'] = streams?.childEnds ?? [];
    const turn = programIo(io).waits ? ['pipe' as const] : [];
    try {
      return spawn(`/proc/self/fd/${this.#init}`, [], {
        stdio: [stdin, stdout, stderr, programFd, 'pipe', ...turn],
        detached: true,
        env: {},
        cwd: '/',
      });
    } finally {
      closeSync(programFd);
      streams?.closeChildEnds();
    }
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
