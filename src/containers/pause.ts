import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { runsHere } from '../linux/process';
import type { Container } from './container';

/**
 * Does something while no process of a container runs, so that what is read of its files belongs
 * together, and nobody changes a path while it is followed (CVE-2018-15664). They go on afterwards,
 * whatever happens.
 */
export async function whilePaused<T>({ state }: Container, work: () => T | Promise<T>): Promise<T> {
  const init =
    state.status === 'running' && state.process !== undefined && runsHere(state.process)
      ? state.process.pid
      : undefined;
  const stopped = init === undefined ? [] : stopAll(init);
  try {
    return await work();
  } finally {
    for (const pid of stopped) signal(pid, 'SIGCONT');
  }
}

/**
 * Stops every process of a PID namespace that is not stopped already, until no new one has
 * appeared.
 */
function stopAll(init: number): number[] {
  const namespace = linkOf(`/proc/${init}/ns/pid`);
  const stopped = new Set<number>();
  for (let before = -1; before !== stopped.size;) {
    before = stopped.size;
    for (const name of namespace === undefined ? [] : readdirSync('/proc')) {
      const pid = Number(name);
      if (
        !Number.isInteger(pid) ||
        stopped.has(pid) ||
        linkOf(`/proc/${name}/ns/pid`) !== namespace ||
        stateOf(pid) === 'T'
      )
        continue;
      stopped.add(pid);
      signal(pid, 'SIGSTOP');
    }
  }
  // A process stops when the kernel next looks: what runs on another processor may still be on its
  // way.
  for (const pid of stopped) while (stateOf(pid) === 'R');
  return [...stopped];
}

function signal(pid: number, name: 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

/** One letter; `undefined` when the process is gone. proc_pid_stat(5). */
function stateOf(pid: number): string | undefined {
  const stat = tryTo(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  return stat?.slice(stat.lastIndexOf(')') + 2)[0];
}

function linkOf(path: string): string | undefined {
  return tryTo(() => readlinkSync(path));
}

function tryTo<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
