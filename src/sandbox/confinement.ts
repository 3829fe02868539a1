import { readFileSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { mountPoints } from '../linux/mount-points';

/**
 * What keeps a process that has CAP_SYS_ADMIN from mounting, in short: whether its system calls are
 * filtered, its label of AppArmor or SELinux, and how much of /proc is hidden. Where it is the
 * same, what could be mounted once can be mounted again. proc_pid_status(5), proc_pid_attr(5),
 * proc_pid_mountinfo(5).
 */
export function confinement(): string {
  const [, filtered = '0'] =
    /^Seccomp:\s*(\d)/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  const hidden = mountPoints().filter((point) => point.startsWith('/proc/')).length;
  return `seccomp ${filtered}, ${label() ?? 'no label'}, ${hidden} mounts in /proc`;
}

function label(): string | undefined {
  try {
    return readFileSync('/proc/self/attr/current', 'utf8').replace(/[\0\n]/g, '');
  } catch (error) {
    // No such module is at work, or it has none for this process.
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
