import { lstatSync } from 'node:fs';
import { makeWhiteout } from '../linux/mknod';
import { isOwnerXattr } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { getXattr, setXattr, type Xattrs } from '../linux/xattr';
import type { OverlayXattrs } from './layer';

/**
 * In a layer's tar, a name after this prefix is deleted (OCI image-spec, layer.md, "Whiteouts").
 */
export const WHITEOUT_PREFIX = '.wh.';

/** In a layer's tar, a directory that holds this hides what the layers below have in it. */
export const OPAQUE_MARK = '.wh..wh..opq';

/** Names that begin so are notes of aufs to itself. */
export const AUFS_PREFIX = '.wh..wh.';

const OPAQUE_VALUE = Buffer.from('y');

/** True for a directory of a layer that hides what lies below it. */
export function isOpaque(hostPath: RawPath, xattrs: OverlayXattrs): boolean {
  if (xattrs === 'files')
    return lstatSync(fsPath(`${hostPath}/${OPAQUE_MARK}`), { throwIfNoEntry: false }) !== undefined;
  return getXattr(hostPath, `${xattrs}.overlay.opaque`)?.equals(OPAQUE_VALUE) === true;
}

/** Makes a directory of a layer hide what lies below it. */
export function markOpaque(hostPath: RawPath, xattrs: OverlayXattrs): void {
  if (xattrs === 'files') makeWhiteout(`${hostPath}/${OPAQUE_MARK}`, 'socket');
  else setXattr(hostPath, `${xattrs}.overlay.opaque`, OPAQUE_VALUE);
}

/**
 * True for overlay's own attributes in either form, fuse-overlayfs's, and mbuild's: they never
 * leave a layer directory and never enter one.
 */
export function isOverlayXattr(name: string): boolean {
  return (
    name.startsWith('trusted.overlay.') ||
    name.startsWith('user.overlay.') ||
    name.startsWith('user.fuseoverlayfs.') ||
    isOwnerXattr(name)
  );
}

const CAPABILITY = 'security.capability';

/**
 * The attributes that belong to a layer: all but overlay's and SELinux's labels, which are the
 * machine's. Sorted by name. Capabilities that name a user namespace's root (revision 3) lose it,
 * for that user is another one elsewhere.
 */
export function layerXattrs(xattrs: Xattrs): Xattrs {
  const kept = [...xattrs].filter(([name]) => !isOverlayXattr(name) && name !== 'security.selinux');
  return new Map(
    kept.map(([name, value]) => [name, name === CAPABILITY ? portableCapability(value) : value]),
  );
}

/**
 * include/uapi/linux/capability.h: vfs_ns_cap_data is vfs_cap_data with the root's uid behind it.
 */
function portableCapability(value: Buffer): Buffer {
  if (value.length !== 24 || value[3] !== 3) return value;
  const revision2 = Buffer.from(value.subarray(0, 20));
  revision2[3] = 2;
  return revision2;
}

/** A path inside a tree, below `parent` (empty for the tree's root). */
export function joinRaw(parent: RawPath, name: RawPath): RawPath {
  return parent === '' ? name : `${parent}/${name}`;
}

/** The directory that a path inside a tree is in; empty for the root. */
export function parentOf(path: RawPath): RawPath {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

/** The last part of a path. */
export function nameOf(path: RawPath): RawPath {
  return path.slice(path.lastIndexOf('/') + 1);
}
