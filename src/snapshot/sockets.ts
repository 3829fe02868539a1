import { readdirSync, unlinkSync } from 'node:fs';
import { makeWhiteout } from '../linux/mknod';
import { lstatOf } from '../linux/stat';
import { fsPath, type RawPath } from '../linux/paths';
import { setTimes } from '../linux/times';
import { childPath, isOpaque, isWhiteout, type OverlayXattrs } from './marks';
import type { MergedView } from './view';

/*
 * A socket is of use to the process that listens on it alone, and no tar can hold one. What a step leaves of them is taken out of its
 * tree, so that the steps after it find the tree that the layer unpacks to, whoever made that.
 */

/**
 * Takes the sockets out of an upper directory; where one stood in the place of something below,
 * that is deleted. Nothing may write to it.
 */
export function dropSockets(upper: RawPath, parent: MergedView, xattrs: OverlayXattrs): void {
  const dropIn = (dir: RawPath, path: RawPath | undefined): void => {
    for (const entry of readdirSync(fsPath(dir), { encoding: 'latin1', withFileTypes: true })) {
      const host = `${dir}/${entry.name}`;
      const inner = path === undefined ? undefined : childPath(path, entry.name);
      if (entry.isDirectory()) {
        const hides = inner === undefined || !isMerged(host, inner, parent, xattrs);
        dropIn(host, hides ? undefined : inner);
      } else if (entry.isSocket() && !isDeletion(host)) {
        takeSocket(host);
        if (inner !== undefined && parent.lstat(inner) !== undefined)
          makeWhiteout(host, xattrs === 'files' ? 'socket' : 'device');
      }
    }
  };
  dropIn(upper, '/');
}

/** Deletes a socket; its directory keeps the time that the step left it with. */
export function takeSocket(host: RawPath): void {
  const dir = host.slice(0, host.lastIndexOf('/'));
  const before = lstatOf(dir);
  unlinkSync(fsPath(host));
  if (before !== undefined) setTimes(dir, before.atimeMs / 1000, before.mtimeMs / 1000);
}

function isMerged(
  host: RawPath,
  inner: RawPath,
  parent: MergedView,
  xattrs: OverlayXattrs,
): boolean {
  return parent.lstat(inner)?.stats.isDirectory() === true && !isOpaque(host, xattrs);
}

/** Where no device can be made, a deletion is a socket itself. */
function isDeletion(host: RawPath): boolean {
  const stats = lstatOf(host);
  return stats === undefined || isWhiteout(stats);
}
