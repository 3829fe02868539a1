import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { MbuildError } from '../../diagnostics/error';
import type { ResourceUsage } from '../../progress/events';
import type { ExitStatus } from '../sandbox';
import { failureError, type FailedSpec } from './failure';
import { BASE } from './init/interpreter';
import type { Op, Program } from './init/program';
import { LOST, READY, RUSAGE } from './descriptors';

/** What init reported: see REPORT_FD in descriptors.ts. */
export interface Report {
  readonly pid?: number | undefined;
  /** True when the command waits for its turn. */
  readonly isReady: boolean;
  readonly failure?: { readonly op: Op; readonly errno: string } | undefined;
  /** As wait(2) gives it. */
  readonly status?: number | undefined;
  readonly usage?: ResourceUsage | undefined;
  /**
   * How a server of the command's trees ended that ended before it, as wait(2) gives it; zero where
   * that is not known.
   */
  readonly lost?: number | undefined;
}

/** Reads what init has reported so far. */
export function readReport(bytes: Buffer, program: Program): Report {
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
export function exitStatus(report: Report, spec: FailedSpec): ExitStatus {
  if (report.failure !== undefined)
    throw failureError(report.failure.op, report.failure.errno, spec);
  if (report.lost !== undefined) throw lostServer(endOf(report.lost));
  if (report.status === undefined)
    throw new MbuildError('SANDBOX_FAILED', 'the sandbox ended without a report', {
      hint: 'something outside mbuild killed it, perhaps because memory ran out',
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
  const exited = code === 0 ? 'ended' : `exited with code ${code}`;
  const how = signal === undefined ? exited : `was killed by ${signal}`;
  const memory = signal === 'SIGKILL' ? 'SIGKILL often means that memory ran out; ' : '';
  return new MbuildError(
    'SANDBOX_FAILED',
    `fuse-overlayfs, which gave the command its files, ${how}`,
    {
      hint: `${memory}the result of the command is lost; --snapshotter=copy works without fuse-overlayfs`,
    },
  );
}
