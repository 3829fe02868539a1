import { MbuildError } from '../../diagnostics/error';
import type { SnapshotterKind } from './kind';

/** The program fuse-overlayfs. */
export const fuseOverlayfs: SnapshotterKind<'fuse-overlayfs'> = {
  name: 'fuse-overlayfs',
  mounts: true,
  async open({ root, ground: { marks } }) {
    const [{ FuseOverlaySnapshotter }, { findFuseOverlayfs }] = await Promise.all([
      import('../fuse-overlayfs'),
      import('../../sandbox/isolations/fuse'),
    ]);
    return new FuseOverlaySnapshotter(root, marks, () => {
      const found = findFuseOverlayfs(root);
      if ('program' in found) return found.program;
      throw new MbuildError(
        'SANDBOX_UNAVAILABLE',
        `--snapshotter=fuse-overlayfs does not work here: ${found.obstacle}`,
        { hint: `${found.fix}; or --snapshotter=copy` },
      );
    });
  },
};
