import { unlinkSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { own, setMode } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { setTimes } from '../linux/times';
import { readXattrs, type Xattrs } from '../linux/xattr';
import { setKeptXattrs } from './kept-xattrs';
import { isOverlayXattr } from './marks';
import type { Attributes } from './tree-entry';

/**
 * Gives a file, node or directory its attributes. Owner before mode, for a change of owner takes
 * setuid away; capabilities after it for the same reason.
 * @param now the mtime where the attributes have none, in seconds.
 */
export function giveAttributes(hostPath: RawPath, attributes: Attributes, now: number): void {
  const { uid, gid, mode, xattrs, mtime = now } = attributes;
  own(hostPath, uid, gid);
  setMode(hostPath, mode);
  applyXattrs(hostPath, xattrs);
  setTimes(hostPath, mtime, mtime);
}

/** What a copy-up takes along: all attributes but overlay's own. */
export function treeXattrs(hostPath: RawPath): Xattrs {
  return new Map([...readXattrs(hostPath)].filter(([name]) => !isOverlayXattr(name)));
}

/** Gives a path extended attributes, as far as they can be kept there. */
export function applyXattrs(hostPath: RawPath, xattrs: Xattrs | undefined): void {
  if (xattrs !== undefined) setKeptXattrs(hostPath, xattrs);
}

/** Deletes a name that may not be there. */
export function unlinkIfThere(hostPath: RawPath): void {
  try {
    unlinkSync(fsPath(hostPath));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
