import { accessSync, constants } from 'node:fs';
import { errnoOf } from '../../diagnostics/error';
import { findInPath } from '../find-program';
import { obstacleText, probeFuse, type Obstacle } from './probe';

/**
 * The program fuse-overlayfs where it can be used; what is in the way, and what would help, where
 * it cannot.
 */
export type FuseOverlayfs =
  { readonly program: string } | { readonly obstacle: string; readonly fix: string };

const CONTAINER = 'in a container: docker run --device /dev/fuse …';

/**
 * Looks for the program and for /dev/fuse, and tries out a tree; as root of a user namespace of its
 * own for who is not root.
 * @param scratch a folder to try it in.
 */
export function findFuseOverlayfs(scratch: string): FuseOverlayfs {
  const program = findInPath('fuse-overlayfs');
  if (program === undefined)
    return {
      obstacle: 'the program fuse-overlayfs is missing',
      fix: 'as root: apt-get install fuse-overlayfs (the package has the same name for dnf and apk)',
    };
  const device = deviceObstacle();
  if (device !== undefined) return device;
  const failed = probeFuse(scratch, program, process.geteuid?.() === 0);
  if (failed === undefined) return { program };
  return { obstacle: `${program} ${obstacleText(failed)}`, fix: fixOf(failed) };
}

function fixOf({ what, errno }: NonNullable<Obstacle>): string {
  if (errno === 'ENOSYS') return 'Linux 5.2 or newer';
  return what === 'make a FUSE mount'
    ? CONTAINER
    : 'install another version: 1.10 is known to work';
}

function deviceObstacle(): Extract<FuseOverlayfs, { obstacle: string }> | undefined {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
    return undefined;
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT')
      return { obstacle: '/dev/fuse does not exist', fix: `as root: modprobe fuse; ${CONTAINER}` };
    return {
      obstacle: `/dev/fuse cannot be opened (${code})`,
      fix: `as root: chmod 666 /dev/fuse; ${CONTAINER}`,
    };
  }
}
