import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** What a group of tests cannot do without. */
export interface Needs {
  readonly root?: boolean;
  /** Programs in the PATH. */
  readonly programs?: readonly string[];
  /**
   * Anything else: the reason it is missing, `undefined` when it is there. Asked only when the rest
   * is there.
   */
  readonly also?: () => string | undefined;
}

/**
 * `describe`, or a skipped one whose title says what is missing.
 * @example describeWith('layers', { root: true, programs: ['umoci'] }, () => { … });
 */
export function describeWith(title: string, needs: Needs, body: () => void): void {
  const reason = whatIsMissing(needs);
  if (reason === undefined) describe(title, body);
  else describe.skip(`${title} (skipped: ${reason})`, body);
}

/** Full path of a program, or `undefined`. The sbin folders are searched too. */
export function findProgram(name: string): string | undefined {
  const folders = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin`
    .split(':')
    .filter(Boolean);
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function whatIsMissing(needs: Needs): string | undefined {
  if (needs.root === true && process.getuid?.() !== 0) return 'needs root';
  const absent = (needs.programs ?? []).filter((name) => findProgram(name) === undefined);
  if (absent.length > 0) return `needs ${absent.join(', ')}`;
  return needs.also?.();
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
