import { MbuildError } from '../diagnostics/error';
import { isServed, settleServed } from '../snapshot/served';
import type { Container } from './container';
import type { ContainerServices } from './services';
import type { ContainerStore } from './store';

/**
 * The directory of what a container has written, in a layer's form: what fuse-overlayfs wrote is brought into it.
 * @throws MbuildError UNSUPPORTED while fuse-overlayfs serves the container, for then it is in neither form.
 */
export function writtenLayer({ record, state }: Container, store: ContainerStore, services: ContainerServices): string {
  const { dir } = store.writableLayer(record);
  if (state.status === 'running' && isServed(dir)) throw new MbuildError('UNSUPPORTED', `what ${record.name} has written cannot be told while it runs on fuse-overlayfs`, { hint: `mbuild stop ${record.name}` });
  settleServed(dir, () => services.snapshots.view(record.image.stack), services.xattrs);
  return dir;
}
