import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { whileLocked } from '../linux/flock';
import { isCopied, settleCopied } from '../snapshot/copied';
import { isServed, settleServed } from '../snapshot/served';
import type { MergedView } from '../snapshot/view';
import type { Container } from './container';
import type { ContainerServices } from './services';
import type { ContainerStore } from './store';

/** What the container's tree is made by, where it is not in a layer's form. */
function groundOf(dir: string): string | undefined {
  if (isServed(dir)) return 'fuse-overlayfs';
  return isCopied(dir) ? 'a copy of its tree' : undefined;
}

/**
 * The directory of what a container has written, in a layer's form: what fuse-overlayfs wrote, and
 * what was done to a copy, is brought into it.
 * @throws MbuildError UNSUPPORTED while the container runs on one of the two.
 */
export function writtenLayer(
  { record, state }: Container,
  store: ContainerStore,
  services: ContainerServices,
): string {
  const { dir } = store.writableLayer(record);
  const ground = groundOf(dir);
  if (state.status === 'running' && ground !== undefined)
    throw new MbuildError(
      'UNSUPPORTED',
      `the changes of ${record.name} cannot be read while it runs on ${ground}`,
      { hint: `mbuild stop ${record.name}` },
    );
  if (ground === undefined) return dir;
  const parent = (): MergedView => services.snapshots.view(record.image.stack);
  whileLocked(path.dirname(dir), () => {
    settleServed(dir, parent, services.xattrs);
    settleCopied(dir, parent, services.xattrs);
  });
  return dir;
}
