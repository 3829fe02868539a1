import { closeSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { once } from '../linux/libc';
import { makePipe } from '../linux/pipe';
import { Threads } from '../linux/threads';
import { takeDescriptor } from '../linux/terminal';
import type { Arch } from './namespaces/init/interpreter';
import type { SandboxPlaces } from './namespaces/mount-ops';
import { LISTENER_FD } from './namespaces/descriptors';
import type { ExitStatus, ProcessIo, ProcessSpec } from './sandbox';
import type { Supervision } from './seccomp/supervision';
import type { supervisorTasks } from './seccomp/supervisor';

/**
 * Each supervisor has a thread for itself for as long as its process runs; one that is done is
 * there for the next.
 */
const threads = once(() => new Threads(undefined, Infinity));

/**
 * False where no process may be asked for its descriptors (before Linux 5.6, and in containers that
 * filter the call).
 */
export const canSupervise: () => boolean = once(() => {
  try {
    closeSync(takeDescriptor(process.pid, 0));
    return true;
  } catch {
    return false;
  }
});

/** Whether whom a process gives files to has to be kept for it, and can be. */
export function isSupervised(
  { user, confined }: Pick<ProcessSpec, 'user' | 'confined'>,
  ids: SandboxPlaces['ids'],
): boolean {
  return ids === 'one' && confined && user.uid === 0 && canSupervise();
}

/**
 * Runs a process and answers what its filter asks; see seccomp/supervisor.ts.
 * @param execute runs the process with these streams: it waits, and has its filter's listener at
 * {@link LISTENER_FD} if it could have one.
 */
export async function underSupervision(
  arch: Arch,
  io: ProcessIo,
  execute: (io: ProcessIo) => Promise<ExitStatus>,
): Promise<ExitStatus> {
  const stop = makePipe();
  let supervision: Promise<Supervision> | undefined;
  const prepare: ProcessIo['prepare'] = async (prepared) => {
    const listener = listenerOf(prepared.pid);
    // Without a listener the calls fail, and nothing waits for an answer.
    supervision =
      listener === undefined
        ? undefined
        : threads()
            .remote<typeof supervisorTasks>('supervisor')
            .supervise(listener, stop.read, arch)
            .finally(() => closeSync(listener));
    supervision?.catch(() => undefined); // awaited below
    await io.prepare?.(prepared);
  };
  try {
    const status = await execute({ ...io, prepare }).finally(() => closeSync(stop.write));
    return { ...status, supervision: await supervision };
  } finally {
    await supervision?.catch(() => undefined);
    closeSync(stop.read);
  }
}

function listenerOf(pid: number): number | undefined {
  try {
    return takeDescriptor(pid, LISTENER_FD);
  } catch (error) {
    if (errnoOf(error) === 'EBADF') return undefined;
    throw error;
  }
}
