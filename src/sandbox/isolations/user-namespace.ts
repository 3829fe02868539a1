import { isInUserNamespace, mappedIds } from '../../linux/id-map';
import { namespaces } from './namespaces';
import type { Isolation } from './isolation';

/**
 * The same as for root, for an ordinary user with ids for others: mbuild itself runs as root of a
 * user namespace.
 */
export const userNamespace: Isolation<'user-namespace'> = {
  name: 'user-namespace',
  mounts: true,
  forRoot: false,
  ids: 'ranges',
  isPossible: () => isInUserNamespace() && mappedIds() > 1,
  // Whoever is root there already has namespaces.
  isChosen: () => false,
  async examine({ uid }) {
    const { examineUserNamespace, findIds } = await import('./user-namespaces');
    const obstacle = examineUserNamespace(uid);
    return obstacle ?? findIds(uid);
  },
  makeSandbox: (place) => namespaces.makeSandbox(place),
};
