import { readdirSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { removeTree } from '../../linux/remove-tree';

/**
 * Where proot has files of its own, named after its pid; it deletes them only when it was not
 * killed.
 */
const FOLDER = '/tmp';

/** Deletes what a proot that was killed has left. Nothing happens for any other process. */
export function removeProotFiles(pid: number): void {
  try {
    for (const name of readdirSync(FOLDER))
      if (name.startsWith(`proot-${pid}-`) || name.startsWith(`prooted-${pid}-`))
        removeTree(path.join(FOLDER, name));
  } catch (error) {
    // Somebody else's, or there is no such folder.
    if (errnoOf(error) === undefined) throw error;
  }
}
