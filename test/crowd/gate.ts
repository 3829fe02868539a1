import { execFileSync } from 'node:child_process';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Mbuild } from '../support/mbuild';

/**
 * The folder of the cache mount in which a step made `here` and waits for `go`, once it does. Needs
 * find.
 */
export async function gateOf(mbuild: Mbuild): Promise<string> {
  for (;;) {
    const [found] = execFileSync('find', [mbuild.root, '-ignore_readdir_race', '-name', 'here'])
      .toString()
      .split('\n')
      .filter(Boolean);
    if (found !== undefined) return dirname(found);
    await sleep(20);
  }
}
