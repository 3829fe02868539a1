import { MbuildError } from '../../diagnostics/error';
import type { SnapshotterKind } from './kind';

/** Overlay mounts of the kernel. */
export const overlay: SnapshotterKind<'overlay'> = {
  name: 'overlay',
  mounts: true,
  isChosen: ({ marks, reason }) => marks !== 'files' && reason === undefined,
  async open({ root, ground: { marks, reason } }) {
    if (marks === 'files' || reason !== undefined)
      throw new MbuildError(
        'STORE_UNUSABLE',
        `--snapshotter=overlay does not work here: ${reason ?? 'the file system does not allow it'}`,
        { hint: 'choose another directory with --root or MBUILD_ROOT' },
      );
    const { OverlaySnapshotter } = await import('../overlay');
    return new OverlaySnapshotter(root, marks);
  },
};
