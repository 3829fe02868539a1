import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../diagnostics/error';

/**
 * Makes a directory that somebody named, and those above it. Node's own `recursive` never ends
 * where a parent is there but nothing can be made in it, as in /proc.
 * @returns those that were made, the deepest last.
 * @throws the system's error, such as EEXIST for a file that is in the way.
 */
export function makeDirectories(directory: string, mode = 0o777): string[] {
  try {
    mkdirSync(directory, { mode });
    return [directory];
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EEXIST' && statSync(directory).isDirectory()) return [];
    if (
      code !== 'ENOENT' ||
      dirname(directory) === directory ||
      statSync(dirname(directory), { throwIfNoEntry: false }) !== undefined
    )
      throw error;
    return [...makeDirectories(dirname(directory), mode), ...makeDirectories(directory, mode)];
  }
}

/** Takes back what {@link makeDirectories} made, as far as nobody has put something there. */
export function unmakeDirectories(made: readonly string[]): void {
  for (const directory of made.toReversed()) {
    try {
      rmdirSync(directory);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return;
    }
  }
}
