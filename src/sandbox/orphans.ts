import { readFileSync, readdirSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';

/** Milliseconds. */
const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 200;

/**
 * Kills the children of a process that takes over orphans (prctl(2), PR_SET_CHILD_SUBREAPER), and
 * what becomes its child when they end, until none is left. Returns after the first round; the
 * others follow.
 * @param spared a child that is let live.
 * @param killed told of each.
 */
export function killOrphans(
  reaper: number,
  spared?: number,
  killed?: (pid: number) => void,
  pause = FIRST_PAUSE,
): void {
  const orphans = childrenOf(reaper).filter((pid) => pid !== spared);
  for (const pid of orphans) {
    killProcess(pid);
    killed?.(pid);
  }
  if (orphans.length > 0)
    setTimeout(
      () => killOrphans(reaper, spared, killed, Math.min(2 * pause, LONGEST_PAUSE)),
      pause,
    );
}

/** Ends a process, if it has not ended by itself. */
export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        // proc_pid_stat(5): state and parent follow the name, which may hold parentheses.
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false;
        throw error;
      }
    })
    .map(Number);
}
