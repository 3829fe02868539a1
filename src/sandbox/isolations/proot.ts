import { keepsOwners } from '../../linux/owners';
import { findInPath } from '../find-program';
import type { Isolation } from './isolation';

/** A traced process whose every call is redirected, for who may do nothing at all. */
export const proot: Isolation<'proot'> = {
  name: 'proot',
  mounts: false,
  forRoot: false,
  ids: 'own',
  // Whoever has rights would give them to the steps.
  isPossible: () => keepsOwners() && findInPath('proot') !== undefined,
  isChosen: () => findInPath('proot') !== undefined,
  async examine({ uid }) {
    if (uid === 0 && !keepsOwners())
      return {
        works: false,
        why: 'only for users without rights, but this is root',
      };
    if (findInPath('proot') === undefined)
      return {
        works: false,
        why: 'the program proot is missing',
        fix: 'as root: apt-get install proot',
      };
    const { CHOWN_IS_LOST } = await import('./user-namespaces');
    return {
      works: true,
      why: `redirects every system call of RUN to a copy of the tree: slow, and no protection against harmful steps; ${CHOWN_IS_LOST}`,
    };
  },
  async makeSandbox({ state }) {
    const { prootSandbox } = await import('../sandboxes/proot');
    return prootSandbox(state);
  },
};
