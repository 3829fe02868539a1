import { MbuildError } from '../../diagnostics/error';
import { keepsOwners } from '../../linux/owners';
import { heldCapabilities } from '../capabilities';
import type { Isolation } from './isolation';

/** RUN by crun or runc, in any of the ways before it. */
export const oci: Isolation<'oci'> = {
  name: 'oci',
  mounts: true,
  forRoot: false,
  isPossible: () => heldCapabilities().includes('SYS_ADMIN') && !keepsOwners(),
  async examine({ better }) {
    const { findRuntime } = await import('../sandboxes/oci-runtime');
    const runtime = findRuntime();
    if (runtime === undefined)
      return { works: false, why: 'neither crun nor runc is installed; mbuild works without them' };
    return better.some(({ works }) => works)
      ? { works: true, why: `with --isolation=oci, ${runtime.path} executes RUN` }
      : { works: false, why: `${runtime.path} needs the same as namespaces` };
  },
  async makeSandbox({ state, runtime: wanted }) {
    const [{ OciSandbox, findRuntime }, { NamespaceSandbox }] = await Promise.all([
      import('../sandboxes/oci-runtime'),
      import('../sandboxes/namespaces'),
    ]);
    const runtime = findRuntime(wanted);
    if (runtime !== undefined) return new OciSandbox(state, runtime, new NamespaceSandbox(state));
    throw new MbuildError(
      'SANDBOX_UNAVAILABLE',
      wanted === undefined
        ? '--isolation=oci needs crun or runc, and neither is installed'
        : `the runtime ${wanted} was not found`,
      { hint: 'apt-get install crun, or leave out --isolation: mbuild needs no runtime' },
    );
  },
};
