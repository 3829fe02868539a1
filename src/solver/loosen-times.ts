import { readdirSync } from 'node:fs';
import { lstatOwned } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { setTimes } from '../linux/times';

/**
 * Sets what has a time in a layer directory to the present.
 * @param seconds since the epoch, whole ones, as a tar has them.
 */
export function loosenTimes(dir: RawPath, seconds: number): void {
  const now = Date.now() / 1000;
  const visit = (directory: RawPath): void => {
    for (const name of readdirSync(fsPath(directory), { encoding: 'latin1' })) {
      const file = `${directory}/${name}`;
      const stats = lstatOwned(file);
      if (stats === undefined) continue;
      if (stats.isDirectory()) visit(file);
      if (Math.floor(stats.mtimeMs / 1000) === seconds) setTimes(file, now, now);
    }
  };
  visit(dir);
}
