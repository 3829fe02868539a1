import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../diagnostics/error';

/**
 * Makes a directory that somebody named, and those above it. Node's own `recursive` never ends where a parent is there but nothing can be
 * made in it, as in /proc. @throws the system's error, such as EEXIST for a file that is in the way.
 */
export function makeDirectories(directory: string, mode = 0o777): void {
  try {
    mkdirSync(directory, { mode });
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EEXIST' && statSync(directory).isDirectory()) return;
    if (code !== 'ENOENT' || dirname(directory) === directory || statSync(dirname(directory), { throwIfNoEntry: false }) !== undefined) throw error;
    makeDirectories(dirname(directory), mode);
    makeDirectories(directory, mode);
  }
}
