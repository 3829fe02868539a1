import { existsSync, mkdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { toRaw } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import type { OverlayXattrs } from './marks';
import type { MergedView } from './view';

/**
 * The copy of a whole tree that a process is given, beside the directory that takes what it changes
 * there.
 */
export function copiedTree(upper: string): string {
  return path.join(path.dirname(upper), 'tree');
}

/** True while what a process did to its copy is not in the directory yet. */
export function isCopied(upper: string): boolean {
  return existsSync(copiedTree(upper));
}

/**
 * Brings what was done to a copy into the directory, which then holds all that differs from the
 * parent; the copy is gone afterwards. Nothing happens where there is none. Nothing may write to
 * it. Whenever that is interrupted, it can be done again.
 * @param parent what the copy was made of, without what the directory held.
 */
export function settleCopied(upper: string, parent: () => MergedView, xattrs: OverlayXattrs): void {
  if (!isCopied(upper)) return;
  const { collectChanges } = require('./work-tree') as typeof import('./work-tree');
  const [tree, made, old, done] = [
    copiedTree(upper),
    `${upper}.new`,
    `${upper}.old`,
    `${copiedTree(upper)}.old`,
  ];
  for (const left of [made, old, done]) removeTree(left);
  mkdirSync(made, { mode: 0o755 });
  const user = { uid: 0, gid: 0 };
  collectChanges(
    { dir: toRaw(tree), stock: undefined, parent: parent(), user },
    toRaw(made),
    xattrs,
  );
  if (existsSync(upper)) renameSync(upper, old);
  renameSync(made, upper);
  // Half a copy would be taken for one in which much was deleted.
  renameSync(tree, done);
  for (const left of [done, old]) removeTree(left);
}
