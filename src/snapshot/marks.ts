import { unlinkSync } from 'node:fs';
import { makeWhiteout } from '../linux/mknod';
import { isOwnerXattr } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { lstatOf } from '../linux/stat';
import { getXattr, removeXattr, setXattr } from '../linux/xattr';

export { isWhiteout } from '../linux/mknod';

/**
 * How opaque directories are marked: `trusted.overlay.*` for root, `user.overlay.*` in a user
 * namespace, a file in the directory where no overlay is mounted.
 */
export type OverlayXattrs = 'trusted' | 'user' | 'files';

/**
 * The file that marks a directory as opaque; a whiteout itself, so that nothing shows it. Its name
 * is none that a layer can hold.
 */
export const OPAQUE_FILE = '.wh..wh..opq';

const PRIVATE_XATTR = /^(?:(?:trusted|user)\.overlay|user\.fuseoverlayfs)\./;

/** True for a directory that hides what the layers below have in it. */
export function isOpaque(dir: RawPath, xattrs: OverlayXattrs): boolean {
  if (xattrs === 'files') return lstatOf(`${dir}/${OPAQUE_FILE}`) !== undefined;
  return getXattr(dir, `${xattrs}.overlay.opaque`)?.toString('latin1') === 'y';
}

/** Makes a directory hide what the layers below have in it. */
export function markOpaque(dir: RawPath, xattrs: OverlayXattrs): void {
  if (xattrs !== 'files') setXattr(dir, `${xattrs}.overlay.opaque`, Buffer.from('y'));
  else if (lstatOf(`${dir}/${OPAQUE_FILE}`) === undefined)
    makeWhiteout(`${dir}/${OPAQUE_FILE}`, 'socket');
}

/** Takes {@link markOpaque} back. */
export function unmarkOpaque(dir: RawPath, xattrs: OverlayXattrs): void {
  if (xattrs === 'files') unlinkSync(fsPath(`${dir}/${OPAQUE_FILE}`));
  else removeXattr(dir, `${xattrs}.overlay.opaque`);
}

/** True for an attribute that overlay or fuse-overlayfs keeps for itself. */
export function isPrivateXattr(name: string): boolean {
  return PRIVATE_XATTR.test(name);
}

/**
 * True for an attribute that they or mbuild keep for themselves: it says something about a layer,
 * never about the tree.
 */
export function isOverlayXattr(name: string): boolean {
  return isPrivateXattr(name) || isOwnerXattr(name);
}

/** The path of a name in a directory of a tree. */
export function childPath(dir: RawPath, name: RawPath): RawPath {
  return dir === '/' ? `/${name}` : `${dir}/${name}`;
}
