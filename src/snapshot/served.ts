import { existsSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { toRaw } from '../linux/paths';
import type { OverlayXattrs } from './marks';
import type { MergedView } from './view';

/**
 * Where a server of a tree writes what it has to say, beside the directory that takes the writes:
 * who finds it knows who wrote there.
 */
export function serverLog(upper: string): string {
  return path.join(path.dirname(upper), 'server.log');
}

/** True for a directory that fuse-overlayfs writes, or wrote and left as it was. */
export function isServed(upper: string): boolean {
  return existsSync(serverLog(upper));
}

/**
 * Brings such a directory into a layer's form; nothing happens to any other. Nothing may write to
 * it.
 * @param parent what was below.
 */
export function settleServed(upper: string, parent: () => MergedView, xattrs: OverlayXattrs): void {
  if (!isServed(upper)) return;
  const { settleUpper } = require('./fuse-upper') as typeof import('./fuse-upper');
  settleUpper(toRaw(upper), parent(), xattrs);
  unlinkSync(serverLog(upper));
}

/** Makes a directory in a layer's form ready to be served again, and returns it. */
export function readyServed(upper: string, xattrs: OverlayXattrs): string {
  const { readyUpper } = require('./fuse-upper') as typeof import('./fuse-upper');
  readyUpper(toRaw(upper), xattrs);
  return upper;
}
