import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, lstatSync, mkdirSync, openSync, renameSync, rmSync, rmdirSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { fsPath, toRaw, toText, type RawPath } from '../linux/paths';
import { makePipe } from '../linux/pipe';
import type { BuildScope } from '../progress/events';
import { BASE, interpreterFile, type Arch } from './init/interpreter';
import { assemble, type Op, type Program } from './init/program';
import { namespaceProgram, type SandboxPlaces } from './namespace-program';
import type { ExitStatus, MountPoint, ProcessIo, ProcessSpec, Sandbox } from './sandbox';

/** What init reported: see REPORT_FD in namespace-program.ts. */
interface Report {
  readonly pid?: number | undefined;
  readonly failure?: { readonly op: Op; readonly errno: string } | undefined;
  /** As wait(2) gives it. */
  readonly status?: number | undefined;
}

/**
 * The sandbox for root: mount, PID, IPC and UTS namespaces of its own (network too where the step has none),
 * pivot_root, and the capabilities that the process may keep. One process sets it up; see init/interpreter.ts.
 */
export class NamespaceSandbox implements Sandbox {
  readonly #places: SandboxPlaces;
  readonly #state: string;
  readonly #arch: Arch;

  /** @param state a directory of the store for mount places and the init program. */
  constructor(state: string) {
    if (process.arch !== 'x64' && process.arch !== 'arm64') {
      throw new MbuildError('SANDBOX_UNAVAILABLE', `mbuild has no sandbox for ${process.arch}`, { hint: 'it runs on x64 and arm64' });
    }
    this.#arch = process.arch;
    this.#state = state;
    this.#places = { root: path.join(state, 'root'), files: path.join(state, 'files'), aside: path.join(state, 'aside'), stubs: path.join(state, 'stubs') };
  }

  async run(spec: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    scope.signal.throwIfAborted();
    const init = this.#prepare();
    const stubs = this.#stubsFor(spec);
    try {
      return await this.#runOn(init, { ...this.#places, stubs }, spec, io, scope);
    } finally {
      removeMountPoints(spec);
      if (stubs !== this.#places.stubs) rmSync(stubs, { recursive: true, force: true });
    }
  }

  async #runOn(init: string, places: SandboxPlaces, spec: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus> {
    const program = programOf(spec, places, this.#arch);
    const programFd = this.#programFile(program);
    const stdout = makePipe();
    const stderr = makePipe();
    let child: ChildProcess;
    try {
      // Pipes of our own, for Node's are sockets, on which `> /dev/stdout` fails.
      child = spawn(init, [], { stdio: [io.stdin === undefined ? 'ignore' : 'pipe', stdout.write, stderr.write, programFd, 'pipe'], detached: true, env: {} });
    } finally {
      for (const fd of [programFd, stdout.write, stderr.write]) closeSync(fd);
    }
    if (io.stdin !== undefined && child.stdin !== null) {
      child.stdin.on('error', () => undefined); // the command may end without reading
      io.stdin.pipe(child.stdin);
    }
    const outputs = [pump(stdout.read, (data) => io.output('stdout', data)), pump(stderr.read, (data) => io.output('stderr', data))];
    const report = await this.#supervise(child, program, scope);
    await Promise.all(outputs);
    if (scope.signal.aborted) throw new MbuildError('CANCELED', 'the build was canceled', { cause: scope.signal.reason });
    return exitStatus(report, spec);
  }

  /** Waits until the command and all its descendants are gone; on abort kills the PID namespace's init, and so all. */
  async #supervise(child: ChildProcess, program: Program, scope: BuildScope): Promise<Report> {
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
    const reports = child.stdio[4] as Readable;
    reports.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (scope.signal.aborted) kill();
    });
    scope.signal.addEventListener('abort', kill);
    try {
      await new Promise<void>((resolve, reject) => {
        child.on('error', (error) => reject(new MbuildError('SANDBOX_FAILED', `the sandbox's init could not be started: ${error.message}`, {
          cause: error, hint: errnoOf(error) === 'EACCES' ? `programs must be allowed to run from ${this.#state} (is it mounted noexec?)` : undefined,
        })));
        child.on('close', () => resolve());
      });
    } finally {
      scope.signal.removeEventListener('abort', kill);
    }
    return read();
  }

  /** Makes the directories and the init file once per store; returns the init file's path. */
  #prepare(): string {
    const init = path.join(this.#state, `init-${this.#arch}-1`);
    if (existsSync(init)) return init;
    for (const dir of Object.values(this.#places)) mkdirSync(dir, { recursive: true, mode: 0o755 });
    makeStubs(this.#places.stubs, STANDARD_POINTS);
    const fresh = `${init}.${process.pid}`;
    writeFileSync(fresh, interpreterFile(this.#arch), { mode: 0o755 });
    renameSync(fresh, init);
    return init;
  }

  /**
   * The lower-most layer for a step. Where the image lacks a path that is mounted on, it is seen from there, and
   * the upper directory stays untouched.
   */
  #stubsFor(spec: ProcessSpec): string {
    const more = spec.mountPoints.filter((point) => !STANDARD_POINTS.some((standard) => standard.path === point.path));
    if (more.length === 0 || spec.rootfs.kind !== 'overlay') return this.#places.stubs;
    const dir = path.join(this.#state, `stubs-${process.pid}-${Math.random().toString(36).slice(2)}`);
    makeStubs(dir, [...STANDARD_POINTS, ...spec.mountPoints]);
    return dir;
  }

  /** The program as an open file without a name. */
  #programFile(program: Program): number {
    const file = path.join(this.#state, `program-${process.pid}-${Math.random().toString(36).slice(2)}`);
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

const SYSTEM_POINTS: readonly MountPoint[] = ['/proc', '/sys', '/dev'].map((dir) => ({ path: dir, kind: 'directory' }));

/** What every root has to mount on; the two files only so that images without them need nothing made. */
const STANDARD_POINTS: readonly MountPoint[] = [
  ...SYSTEM_POINTS,
  { path: '/etc', kind: 'directory' },
  ...['/etc/hosts', '/etc/resolv.conf'].map((file) => ({ path: file, kind: 'file' as const })),
];

function makeStubs(dir: string, points: readonly MountPoint[]): void {
  mkdirSync(dir, { recursive: true, mode: 0o755 });
  for (const point of points) {
    const host = fsPath(`${toRaw(dir)}${point.path}`);
    if (point.kind === 'directory') mkdirSync(host, { recursive: true, mode: 0o755 });
    else writeFileSync(host, '', { mode: 0o644 });
  }
}

function programOf(spec: ProcessSpec, places: SandboxPlaces, arch: Arch): Program {
  try {
    return assemble(namespaceProgram(spec, places), arch);
  } catch (error) {
    if (errnoOf(error) === 'E2BIG') throw new MbuildError('EXEC_FAILED', 'the command and its environment are too long', { cause: error });
    throw error;
  }
}

/** Hands on what arrives until every writer has closed the pipe. */
function pump(fd: number, take: (data: Uint8Array) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = new Socket({ fd, readable: true, writable: false });
    socket.on('data', take);
    socket.on('error', reject);
    socket.on('close', () => resolve());
  });
}

function readReport(bytes: Buffer, program: Program): Report {
  let at = 0;
  const next = (): bigint | undefined => {
    if (at + 8 > bytes.length) return undefined;
    at += 8;
    return bytes.readBigUInt64LE(at - 8);
  };
  const isAddress = (value: bigint | undefined): value is bigint => value !== undefined && value >= BigInt(BASE);
  const failureAt = (address: bigint): Report['failure'] => {
    const op = program.opAt(address);
    const errno = next();
    return op === undefined || errno === undefined ? undefined : { op, errno: getSystemErrorName(Number(BigInt.asIntN(64, errno))) };
  };

  const first = next();
  if (isAddress(first)) return { failure: failureAt(first) };
  const second = next();
  if (isAddress(second)) return { pid: Number(first), failure: failureAt(second), status: Number(next() ?? 0n) };
  return { pid: first === undefined ? undefined : Number(first), status: second === undefined ? undefined : Number(second) };
}

/** @throws MbuildError when the command was never executed. */
function exitStatus(report: Report, spec: ProcessSpec): ExitStatus {
  if (report.failure !== undefined) throw failureError(report.failure.op, report.failure.errno, spec);
  if (report.status === undefined) throw new MbuildError('SANDBOX_FAILED', 'the sandbox ended without a report', { hint: 'something outside of mbuild killed it, perhaps for want of memory' });
  const signal = report.status & 0x7f;
  if (signal === 0) return { code: (report.status >> 8) & 0xff };
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  return { code: 128 + signal, signal: name ?? `signal ${signal}` };
}

function failureError(op: Op, errno: string, spec: ProcessSpec): MbuildError {
  const command = spec.args[0] ?? '';
  if (op.call === 'execve') {
    if (errno === 'ENOENT') {
      const isPath = command.includes('/');
      return new MbuildError('EXEC_NOT_FOUND', isPath ? `${command}: no such file, or the interpreter or loader that it needs is missing` : `${command}: executable file not found in $PATH`, {
        hint: command === '/bin/sh' ? 'the image has no shell: use the exec form, RUN ["program", "argument"]' : 'install it in an earlier RUN, or correct the name', exitCode: 127,
      });
    }
    if (errno === 'ENOEXEC') return new MbuildError('EXEC_FAILED', `${command}: exec format error`, { hint: 'it is built for another architecture, or is a script without a #! line', exitCode: 126 });
    return new MbuildError('EXEC_FAILED', `${command}: ${reason(errno)}`, { hint: errno === 'EACCES' ? 'is it executable, and may its user reach it?' : undefined, exitCode: 126 });
  }
  if (op.call === 'chdir' && op.what.startsWith('enter the working')) return new MbuildError('EXEC_FAILED', `cannot enter the working directory ${spec.cwd}: ${reason(errno)}`, { exitCode: 126 });
  if (op.call === 'clone' || errno === 'EPERM') {
    return new MbuildError('SANDBOX_UNAVAILABLE', `the sandbox could not ${op.what}: ${reason(errno)}`, {
      hint: 'RUN needs CAP_SYS_ADMIN for namespaces and mounts: run as root outside of a restricted container (docker run --privileged)',
    });
  }
  return new MbuildError('SANDBOX_FAILED', `the sandbox could not ${op.what}: ${reason(errno)}`);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory', EACCES: 'permission denied', EPERM: 'operation not permitted', ENOTDIR: 'not a directory', EISDIR: 'is a directory',
  ELOOP: 'too many symbolic links', ENOMEM: 'out of memory', EAGAIN: 'too many processes', ENOSPC: 'no space left, or a limit on namespaces is reached', EINVAL: 'invalid argument',
  ETXTBSY: 'the file is being written', E2BIG: 'argument list too long', EROFS: 'read-only file system',
};

function reason(errno: string): string {
  return REASONS[errno] === undefined ? errno : `${REASONS[errno]} (${errno})`;
}

/**
 * Takes what was made for mounting out of the upper directory again. It is this step's alone and nothing runs in it
 * any more; each part of a path is looked at without following links.
 */
function removeMountPoints(spec: ProcessSpec): void {
  const dir = toRaw(spec.rootfs.kind === 'overlay' ? spec.rootfs.upper : spec.rootfs.path);
  const system = spec.rootfs.kind === 'overlay' ? SYSTEM_POINTS : [];
  for (const point of [...system, ...spec.mountPoints].reverse()) {
    const host = pathWithoutLinks(dir, point.path);
    if (host === undefined) continue;
    const stats = lstatSync(fsPath(host));
    if (point.kind === 'directory' && stats.isDirectory()) removeIfEmpty(host);
    if (point.kind === 'file' && stats.isFile() && stats.size === 0) rmSync(fsPath(host));
  }
}

/** The host path of a path in a directory, `undefined` when it is not there or leads through a symlink. */
function pathWithoutLinks(dir: string, target: RawPath): RawPath | undefined {
  let at: RawPath = dir;
  for (const part of target.split('/').filter(Boolean)) {
    if (!lstatSync(fsPath(at)).isDirectory()) return undefined;
    at = `${at}/${part}`;
    if (lstatSync(fsPath(at), { throwIfNoEntry: false }) === undefined) return undefined;
  }
  return at;
}

function removeIfEmpty(host: RawPath): void {
  try {
    rmdirSync(fsPath(host));
  } catch (error) {
    if (errnoOf(error) !== 'ENOTEMPTY') throw new MbuildError('SANDBOX_FAILED', `the mount point ${toText(host)} could not be removed`, { cause: error });
  }
}
