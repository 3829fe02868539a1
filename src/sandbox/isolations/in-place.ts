import type { Isolation } from './isolation';

/**
 * None at all: the tree is put in the place of everything else, in a container that is thrown away.
 */
export const inPlace: Isolation<'in-place'> = {
  name: 'in-place',
  mounts: false,
  forRoot: true,
  async isPossible() {
    const { inPlaceObstacle } = await import('../sandboxes/in-place');
    return inPlaceObstacle() === undefined;
  },
  async examine() {
    const { inPlaceObstacle } = await import('../sandboxes/in-place');
    const obstacle = inPlaceObstacle();
    if (obstacle !== undefined) return { works: false, why: obstacle };
    return {
      works: true,
      why: 'with --isolation=in-place, replaces / with the tree during RUN; has /proc',
    };
  },
  async makeSandbox({ state }) {
    const { inPlaceSandbox } = await import('../sandboxes/in-place');
    return inPlaceSandbox(state);
  },
};
