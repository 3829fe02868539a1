import { existsSync, rmSync } from 'node:fs';
import { MbuildError } from '../diagnostics/error';
import { toRaw } from '../linux/paths';
import { serverLog } from '../snapshot/server-log';
import type { Container } from './container';
import type { ContainerServices } from './services';
import type { ContainerStore } from './store';

/**
 * The directory of what a container has written, in a layer's form: what fuse-overlayfs wrote is brought into it.
 * @throws MbuildError UNSUPPORTED while fuse-overlayfs serves the container, for then it is in neither form.
 */
export function writtenLayer({ record, state }: Container, store: ContainerStore, services: ContainerServices): string {
  const { dir } = store.writableLayer(record);
  const log = serverLog(dir);
  if (!existsSync(log)) return dir;
  if (state.status === 'running') throw new MbuildError('UNSUPPORTED', `what ${record.name} has written cannot be told while it runs on fuse-overlayfs`, { hint: `mbuild stop ${record.name}` });
  const { settleUpper } = require('../snapshot/fuse-upper') as typeof import('../snapshot/fuse-upper');
  settleUpper(toRaw(dir), services.snapshots.view(record.image.stack), services.xattrs);
  rmSync(log);
  return dir;
}
