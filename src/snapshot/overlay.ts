import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Owner } from '../linux/owner';
import { keepsOwners } from '../linux/owners';
import { toRaw } from '../linux/paths';
import type { Rootfs } from '../sandbox/sandbox';
import { claimNew } from './claim';
import { DirectorySnapshotter } from './directory';
import type { OverlayXattrs } from './marks';
import type { ActiveSnapshot } from './snapshotter';
import { dropSockets } from './sockets';
import { dropUnchanged } from './unchanged';

/** Trees as overlay mounts: what a process writes is the layer, and nothing is copied. */
export class OverlaySnapshotter extends DirectorySnapshotter {
  /** @param root absolute; made when it is not there. */
  constructor(root: string, xattrs: Exclude<OverlayXattrs, 'files'> = 'trusted') {
    super(root, xattrs);
  }

  rootfs(active: ActiveSnapshot): Rootfs {
    const work = path.join(path.dirname(active.dir), 'work');
    mkdirSync(work, { recursive: true, mode: 0o700 });
    return {
      kind: 'overlay',
      lowers: this.lowers(active.parent),
      upper: active.dir,
      work,
      options: this.#options(),
    };
  }

  collect(active: ActiveSnapshot, user: Owner): void {
    const [upper, parent] = [toRaw(active.dir), this.view(active.parent)];
    dropSockets(upper, parent, this.xattrs);
    if (keepsOwners()) claimNew(upper, parent, user, this.xattrs);
    dropUnchanged(upper, parent, this.xattrs);
  }

  #options(): string[] {
    // With userxattr neither redirects nor metacopies are made, and naming their options is an
    // error.
    return [
      ...(this.xattrs === 'user' ? ['userxattr'] : ['redirect_dir=off', 'metacopy=off']),
      'index=off',
      'volatile',
    ];
  }
}
