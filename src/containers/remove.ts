import { findCgroup } from '../sandbox/cgroups/cgroup';
import { hasLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ContainerRecord } from './container';
import type { ContainerStore } from './store';
import { removeAnonymousVolumes } from './volumes';

/**
 * Deletes a container that does not run: its writable layer, its log, its name; with `volumes` also
 * what was made for it alone.
 */
export function removeContainer(
  record: ContainerRecord,
  store: ContainerStore,
  root: string,
  options: { readonly volumes: boolean },
): void {
  store.delete(record);
  // Whoever supervised it may have been killed.
  if (hasLimits(record.limits)) findCgroup(record.id).remove();
  if (options.volumes) removeAnonymousVolumes(record, root);
}
