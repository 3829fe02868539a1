import { homedir } from 'node:os';
import { errnoOf } from '../diagnostics/error';

/**
 * The user's home directory: HOME, else that of the passwd entry. `undefined` for a user without
 * either, as in a pod that runs with a number of its own.
 */
export function homeDirectory(
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (env['HOME']) return env['HOME'];
  try {
    return homedir();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}
