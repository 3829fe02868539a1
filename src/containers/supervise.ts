import { existsSync, mkdirSync, writeFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import { Lease } from '../images/store/lease';
import { firstDamaged } from '../images/store/trust';
import { identityOf, ownIdentity } from '../linux/process';
import { removeFile, removeTree } from '../linux/remove-tree';
import type { BuildScope } from '../progress/events';
import { refusalText } from '../sandbox/cgroups/cgroup';
import type { ExitStatus, PreparedProcess, ProcessIo, TerminalSize } from '../sandbox/sandbox';
import type { ContainerId, ContainerRecord } from './container';
import { LogWriter } from './log';
import { connectNetwork, type NetworkConnection } from './network';
import { processSpec } from './process-spec';
import { removeContainer } from './remove';
import type { ContainerServices } from './services';
import { signalName } from './signals';
import type { ContainerStore } from './store';
import { writtenLayer } from './written-layer';

/** What the container's process is attached to, besides its log. */
export interface AttachedIo {
  readonly stdin?: NodeJS.ReadableStream | undefined;
  readonly output?: ProcessIo['output'] | undefined;
  /** For a container with a terminal; 80 by 24 when absent. */
  readonly terminal?: TerminalSize | undefined;
  /** Called when the container counts as running, just before its command begins. */
  readonly started?: ((process: PreparedProcess) => void) | undefined;
  /** Called when its command was executed. */
  readonly executed?: (() => void) | undefined;
  /** Told what the machine could not give, in one line. */
  readonly note?: ((text: string) => void) | undefined;
}

/**
 * Runs a container that does not run, to its end, and keeps its state and log. One that removes
 * itself is gone afterwards. This process must live as long as the container: what runs dies with
 * it.
 * @throws MbuildError CONTAINER_CONFLICT (it runs already), and what the sandbox throws when the
 * command cannot be executed; the container
 *   then counts as created.
 */
export async function superviseContainer(
  record: ContainerRecord,
  store: ContainerStore,
  services: ContainerServices,
  io: AttachedIo = {},
): Promise<ExitStatus> {
  const lease = new Lease(services.root);
  lease.hold({ layers: record.image.stack });
  const log = begin(record, store, services);
  const connections: NetworkConnection[] = [];
  const sandboxIo = loggedIo(record, log, io, async (prepared) => {
    if (record.network === 'private')
      connections.push(await connectNetwork(prepared.pid, record.ports, store.folder(record.id)));
    markRunning(record.id, prepared, store);
    io.started?.(prepared);
  });
  try {
    await refuseDamaged(record, services);
    const spec = processSpec(record, store, services);
    return end(record, store, await services.sandbox.run(spec, sandboxIo, UNBOUNDED));
  } catch (error) {
    const code = (isMbuildError(error) ? error.exitCode : undefined) ?? 125;
    store.writeState(record.id, {
      status: 'created',
      exitCode: code,
      error: error instanceof Error ? error.message : String(error),
    });
    throw withoutBuildHint(error);
  } finally {
    log.close();
    await Promise.all(connections.map((connection) => connection.close()));
    if (record.autoRemove) removeContainer(record, store, services.root, { volumes: true });
    else settle(record, store, services);
    lease.release();
  }
}

/** A container is ended by signals to its process, and tells nobody of its progress. */
const UNBOUNDED: BuildScope = { signal: new AbortController().signal, events: () => undefined };

function loggedIo(
  { terminal }: ContainerRecord,
  log: LogWriter,
  io: AttachedIo,
  prepare: NonNullable<ProcessIo['prepare']>,
): ProcessIo {
  return {
    stdin: io.stdin,
    output: (stream, data) => {
      log.write(stream, data);
      return io.output?.(stream, data);
    },
    ...(terminal ? { terminal: io.terminal ?? { columns: 80, rows: 24 } } : {}),
    prepare,
    executed: io.executed,
    // Limits are a safety net: where the machine gives no right to set any, the container runs
    // without.
    refused: (limits) => io.note?.(refusalText('the container', limits)),
  };
}

/** @throws MbuildError STORE_CORRUPT when a layer of the image was damaged. */
async function refuseDamaged(
  { image, name }: ContainerRecord,
  services: ContainerServices,
): Promise<void> {
  const damaged = await firstDamaged(image.config.rootfs.diff_ids, image.stack, services);
  if (damaged === undefined) return;
  throw new MbuildError(
    'STORE_CORRUPT',
    `the layer ${damaged} of ${image.name} was damaged when the machine stopped, and ${name} is based on it`,
    {
      hint: `build or pull the image again and create a new container; to save its files, run \`mbuild cp ${name}:PATH .\``,
    },
  );
}

/** The sandbox's hints about commands speak of RUN. */
export function withoutBuildHint(error: unknown): unknown {
  if (!isMbuildError(error, 'EXEC_NOT_FOUND') && !isMbuildError(error, 'EXEC_FAILED')) return error;
  return new MbuildError(error.code, error.message, { cause: error, exitCode: error.exitCode });
}

/**
 * Clears what an earlier run left: overlay refuses a work directory of a `volatile` mount that it
 * has seen before.
 */
function begin(
  record: ContainerRecord,
  store: ContainerStore,
  services: ContainerServices,
): LogWriter {
  if (store.state(record.id)?.status === 'running')
    throw new MbuildError('CONTAINER_CONFLICT', `the container ${record.name} is running already`);
  const work = path.join(path.dirname(writtenLayer(store.get(record.id), store, services)), 'work');
  removeTree(work);
  mkdirSync(work, { mode: 0o700 });
  removeFile(substituteFile(record.id, store));
  return new LogWriter(store.logFile(record.id));
}

function markRunning(id: ContainerId, { pid }: PreparedProcess, store: ContainerStore): void {
  const first = identityOf(pid);
  if (first === undefined)
    throw new MbuildError('SANDBOX_FAILED', 'the container ended before it began');
  store.writeState(id, {
    status: 'running',
    process: first,
    supervisor: ownIdentity(),
    started: new Date().toISOString(),
  });
}

function end(record: ContainerRecord, store: ContainerStore, status: ExitStatus): ExitStatus {
  const substituted = status.signal === 'SIGKILL' ? readSubstitute(record.id, store) : undefined;
  const final =
    substituted === undefined
      ? status
      : { code: 128 + substituted, signal: signalName(substituted) };
  store.writeState(record.id, {
    ...store.state(record.id),
    status: 'exited',
    process: undefined,
    supervisor: undefined,
    exitCode: final.code,
    finished: new Date().toISOString(),
  });
  return final;
}

/** Leaves what the container has written as a layer has it, and no copy of its tree behind. */
function settle(record: ContainerRecord, store: ContainerStore, services: ContainerServices): void {
  try {
    writtenLayer(store.get(record.id), store, services);
  } catch (error) {
    // Nothing of it is lost: whoever wants it next brings it into that form, or is told why that
    // cannot be.
    if (!isMbuildError(error) && errnoOf(error) === undefined) throw error;
  }
}

/**
 * Notes that the SIGKILL which is sent next stands for another signal: that one is what the
 * container was ended by.
 */
export function noteSubstitute(id: ContainerId, store: ContainerStore, signal: number): void {
  if (existsSync(store.folder(id)))
    writeFileSync(substituteFile(id, store), String(signal), { mode: 0o600 });
}

function readSubstitute(id: ContainerId, store: ContainerStore): number | undefined {
  try {
    return Number(readFileSync(substituteFile(id, store), 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function substituteFile(id: ContainerId, store: ContainerStore): string {
  return path.join(store.folder(id), 'signal');
}
