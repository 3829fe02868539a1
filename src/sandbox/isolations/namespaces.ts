import { heldCapabilities } from '../capabilities';
import type { Isolation } from './isolation';

/**
 * Namespaces of the step's own, for root. In a user namespace, whose root has the same rights
 * there, it is the same.
 */
export const namespaces: Isolation<'namespaces'> = {
  name: 'namespaces',
  mounts: true,
  forRoot: true,
  isPossible: () => heldCapabilities().includes('SYS_ADMIN'),
  isChosen: (canMount) => canMount && heldCapabilities().includes('SYS_ADMIN'),
  async examine({ scratch, uid }) {
    if (uid !== 0) return { works: false, why: 'only root can use it', fix: 'sudo mbuild …' };
    if (!heldCapabilities().includes('SYS_ADMIN'))
      return {
        works: false,
        why: 'this root user lacks CAP_SYS_ADMIN: it is the root of a container',
        fix: 'docker run --privileged …; in Kubernetes securityContext.privileged: true',
      };
    const { obstacleText, probeNamespaces } = await import('./probe');
    const obstacle = probeNamespaces(scratch);
    if (obstacle === undefined)
      return {
        works: true,
        why: 'RUN gets its own mounts, processes, host name and IPC, and a network of its own on demand; system calls are filtered',
      };
    return {
      works: false,
      why: obstacleText(obstacle),
      fix: 'docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined …',
    };
  },
  async makeSandbox({ state }) {
    const { NamespaceSandbox } = await import('../sandboxes/namespaces');
    return new NamespaceSandbox(state);
  },
};
