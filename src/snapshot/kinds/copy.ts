import type { SnapshotterKind } from './kind';

/** Plain copies, for where nothing can be mounted. */
export const copy: SnapshotterKind<'copy'> = {
  name: 'copy',
  mounts: false,
  isChosen: () => true,
  async open({ root, ground: { marks } }) {
    const { CopySnapshotter } = await import('../copy');
    return new CopySnapshotter(root, marks);
  },
};
