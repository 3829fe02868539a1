import { readFileSync } from 'node:fs';
import type { RawPath } from './paths';

/**
 * Where something is mounted for this process, in the order in which it was. proc_pid_mountinfo(5).
 */
export function mountPoints(): RawPath[] {
  return readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .flatMap((line) => {
      const point = line.split(' ')[4];
      return point === undefined ? [] : [unescapeMount(point)];
    });
}

/** A path as tables of mounts have it: blanks and backslashes are octal there. */
export function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(parseInt(octal, 8)),
  );
}
