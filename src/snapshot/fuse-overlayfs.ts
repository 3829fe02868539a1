import { randomBytes } from 'node:crypto';
import { chmodSync, lchownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Owner } from '../linux/owner';
import { keepsOwners } from '../linux/owners';
import { fsPath, toRaw, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { lstatOf } from '../linux/stat';
import { readXattrs, setXattr } from '../linux/xattr';
import { setTimes } from '../linux/times';
import type { FuseRootfs } from '../sandbox/sandbox';
import { claimNew } from './claim';
import { DirectorySnapshotter } from './directory';
import { WHITEOUT_PREFIX, readyUpper, settleUpper } from './fuse-upper';
import { OPAQUE_FILE, isWhiteout, type OverlayXattrs } from './marks';
import { serverLog } from './served';
import type { ActiveSnapshot, LayerId, Stack } from './snapshotter';
import { dropSockets } from './sockets';
import { dropUnchanged } from './unchanged';

/**
 * Trees that the program fuse-overlayfs serves, for where FUSE can be mounted and overlay cannot:
 * nothing is copied, and what a process writes becomes the layer once it is brought into a layer's
 * form (see fuse-upper.ts).
 */
export class FuseOverlaySnapshotter extends DirectorySnapshotter {
  readonly #program: () => string;
  /** The folders of shadows; `undefined` for a layer that needs none. */
  readonly #shadows = new Map<LayerId, string | undefined>();
  #known: string | undefined;

  /**
   * @param root absolute; made when it is not there.
   * @param program the path of fuse-overlayfs; asked for once, before the first process.
   */
  constructor(root: string, xattrs: OverlayXattrs, program: () => string) {
    super(root, xattrs);
    this.#program = program;
  }

  rootfs(active: ActiveSnapshot): FuseRootfs {
    const place = path.dirname(active.dir);
    const work = path.join(place, 'work');
    mkdirSync(work, { recursive: true, mode: 0o700 });
    readyUpper(toRaw(active.dir), this.xattrs);
    this.#known ??= this.#program();
    return {
      kind: 'fuse',
      program: this.#known,
      lowers: this.#served(active.parent),
      upper: active.dir,
      work,
      log: serverLog(active.dir),
    };
  }

  collect(active: ActiveSnapshot, user: Owner): void {
    const upper = toRaw(active.dir);
    const parent = this.view(active.parent);
    settleUpper(upper, parent, this.xattrs);
    dropSockets(upper, parent, this.xattrs);
    if (keepsOwners()) claimNew(upper, parent, user, this.xattrs);
    dropUnchanged(upper, parent, this.xattrs);
  }

  override close(): void {
    for (const shadow of this.#shadows.values()) if (shadow !== undefined) removeTree(shadow);
    this.#shadows.clear();
  }

  /**
   * Layers as fuse-overlayfs understands them: over one whose deletions are sockets, its shadow.
   * The lowest deletes nothing.
   */
  #served(stack: Stack): string[] {
    if (this.xattrs !== 'files') return this.lowers(stack);
    return this.lowers(stack).flatMap((dir, i, dirs) => {
      const shadow =
        i === dirs.length - 1 ? undefined : this.#shadow(path.basename(dir) as LayerId);
      return shadow === undefined ? [dir] : [path.join(shadow, 'fs'), dir];
    });
  }

  #shadow(id: LayerId): string | undefined {
    if (this.#shadows.has(id)) return this.#shadows.get(id);
    const folder = this.ownFolder(`shadow-${id}-${randomBytes(3).toString('hex')}`);
    const shadow = castShadow(toRaw(this.layerDir(id)), toRaw(path.join(folder, 'fs')), () =>
      mkdirSync(folder, { mode: 0o700 }),
    )
      ? folder
      : undefined;
    this.#shadows.set(id, shadow);
    return shadow;
  }
}

/**
 * Writes what a layer deletes once more in fuse-overlayfs's form, with the directories on the way
 * there as they are in the layer.
 * @param open makes the place for the shadow, when there is something to write.
 * @returns false when nothing is deleted.
 */
function castShadow(layer: RawPath, shadow: RawPath, open: () => void): boolean {
  let isMade = false;
  const make = (): void => {
    if (isMade) return;
    open();
    mkdirSync(fsPath(shadow), { mode: 0o700 });
    isMade = true;
  };
  for (const entry of readdirSync(fsPath(layer), { encoding: 'latin1', withFileTypes: true })) {
    const from = `${layer}/${entry.name}`;
    if (entry.isDirectory()) {
      castShadow(from, `${shadow}/${entry.name}`, make);
    } else if (entry.isSocket() && entry.name !== OPAQUE_FILE && isWhiteoutAt(from)) {
      make();
      writeFileSync(fsPath(`${shadow}/${WHITEOUT_PREFIX}${entry.name}`), '', { mode: 0o600 });
    }
  }
  if (isMade) copyAttributes(layer, shadow);
  return isMade;
}

function isWhiteoutAt(path: RawPath): boolean {
  const stats = lstatOf(path);
  return stats !== undefined && isWhiteout(stats);
}

/**
 * As the file system has them, and with all that stands beside: the topmost layer's are those that
 * are seen.
 */
function copyAttributes(from: RawPath, to: RawPath): void {
  const stats = lstatOf(from);
  const made = lstatOf(to);
  if (stats === undefined || made === undefined) throw new Error(`there is no ${from}`);
  if (stats.uid !== made.uid || stats.gid !== made.gid)
    lchownSync(fsPath(to), stats.uid, stats.gid);
  chmodSync(fsPath(to), stats.mode & 0o7777);
  for (const [name, value] of readXattrs(from))
    if (!name.startsWith('security.')) setXattr(to, name, value);
  setTimes(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}
