import { isInUserNamespace, mappedIds } from '../../linux/id-map';
import { namespaces } from './namespaces';
import type { Isolation } from './isolation';

/** A user namespace with one id: whom RUN gives files to is kept beside the files. */
export const singleId: Isolation<'single-id'> = {
  name: 'single-id',
  mounts: true,
  forRoot: false,
  ids: 'one',
  isPossible: () => isInUserNamespace() && mappedIds() === 1,
  // Whoever is root there already has namespaces.
  isChosen: () => false,
  async examine({ scratch, uid }) {
    const { examineUserNamespace, examineOneId } = await import('./user-namespaces');
    const obstacle = examineUserNamespace(uid);
    return obstacle ?? examineOneId(scratch);
  },
  makeSandbox: (place) => namespaces.makeSandbox(place),
};
