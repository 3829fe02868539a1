import { lstatSync, type Stats } from 'node:fs';
import { fsPath, type RawPath } from '../linux/paths';
import { getXattr, setXattr } from '../linux/xattr';

/** How overlay's marks are written: `trusted.overlay.*` for root, `user.overlay.*` in a user namespace. */
export type OverlayXattrs = 'trusted' | 'user';

const OVERLAY_XATTR = /^(?:trusted|user)\.overlay\./;

/** True for overlay's mark of a deleted name: a 0:0 character device (kernel, filesystems/overlayfs.rst). */
export function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

/** True for a directory that hides what the layers below have in it. */
export function isOpaque(dir: RawPath, xattrs: OverlayXattrs): boolean {
  return getXattr(dir, `${xattrs}.overlay.opaque`)?.toString('latin1') === 'y';
}

/** Makes a directory hide what the layers below have in it. */
export function markOpaque(dir: RawPath, xattrs: OverlayXattrs): void {
  setXattr(dir, `${xattrs}.overlay.opaque`, Buffer.from('y'));
}

/** True for an attribute that overlay keeps for itself: it says something about a layer, never about the tree. */
export function isOverlayXattr(name: string): boolean {
  return OVERLAY_XATTR.test(name);
}

/** What is at a path of the host, a symlink itself included; `undefined` when nothing is. */
export function lstatOf(path: RawPath): Stats | undefined {
  return lstatSync(fsPath(path), { throwIfNoEntry: false });
}

/** The path of a name in a directory of a tree. */
export function childPath(dir: RawPath, name: RawPath): RawPath {
  return dir === '/' ? `/${name}` : `${dir}/${name}`;
}
