import type { MkdirOperation } from '../graph/graph';
import { toRaw } from '../linux/paths';
import { TreeWriter } from '../snapshot/tree-writer';
import { mkdirInputs } from './key-inputs';
import { findOwner } from './owner';
import type { PlannedOperation, StepContext } from './planned';
import { presentTime } from './options';

/**
 * A working directory: what of it is missing is made, and belongs to the user as COPY --chown would
 * have it.
 */
export function planMkdir(operation: MkdirOperation, context: StepContext): PlannedOperation {
  const { services, parent } = context;
  return {
    inputs: mkdirInputs(operation),
    execute: async (active) => {
      const view = services.snapshots.view(await parent.stack());
      const owner = operation.user === '' ? {} : await findOwner(operation.user, context);
      const writer = new TreeWriter(view, toRaw(active.dir), {
        now: presentTime(services.options),
        xattrs: services.xattrs,
      });
      writer.mkdirAll(toRaw(operation.path), { mode: 0o755, ...owner });
      writer.finish();
      return undefined;
    },
  };
}
