import { heldCapabilities } from '../capabilities';
import type { Isolation } from './isolation';

/** A changed root on a copy of the tree, for root of a container that may mount nothing. */
export const chroot: Isolation<'chroot'> = {
  name: 'chroot',
  mounts: false,
  forRoot: true,
  isPossible: () => heldCapabilities().includes('SYS_CHROOT'),
  isChosen() {
    const held = heldCapabilities();
    return held.includes('SYS_CHROOT') && held.includes('CHOWN');
  },
  async examine({ scratch, uid }) {
    if (uid !== 0)
      return {
        works: false,
        why: 'only root can use it',
        fix: 'run as root, at least in a container',
      };
    const { obstacleText, probeChroot } = await import('./probe');
    const obstacle = probeChroot(scratch);
    if (obstacle === undefined)
      return {
        works: true,
        why: 'chroot on a copy of the tree: no /proc, no --network=none, no read-only mounts',
      };
    return {
      works: false,
      why: obstacleText(obstacle),
      fix: 'docker run --cap-add SYS_CHROOT …',
    };
  },
  async makeSandbox({ state }) {
    const { ChrootSandbox } = await import('../sandboxes/chroot');
    return new ChrootSandbox(state);
  },
};
