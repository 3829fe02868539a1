import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** The path of a program; `undefined` when no folder has it. */
export function findInPath(
  program: string,
  folders: string = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
): string | undefined {
  return folders
    .split(':')
    .filter(Boolean)
    .map((dir) => path.join(dir, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
