import { mkdtempSync, readFileSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { makeNode } from '../linux/mknod';
import { toRaw } from '../linux/paths';
import { setXattr } from '../linux/xattr';
import type { OverlayXattrs } from './marks';

/** What a store's file system was found to be good for when the store was made. */
export interface Ground {
  /** How the store's layers are marked, for as long as it lives. */
  readonly marks: OverlayXattrs;
  /** Why no overlay can be mounted on them, where that is so. */
  readonly reason?: string | undefined;
  /** False when nothing could be mounted then. */
  readonly canMount: boolean;
}

/** File systems by the number that statfs(2) gives; linux/magic.h. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'], [0x58465342, 'xfs'], [0x9123683e, 'btrfs'], [0x2fc12fc1, 'zfs'], [0x01021994, 'tmpfs'], [0x794c7630, 'overlay'], [0x6969, 'nfs'],
  [0xff534d42, 'cifs'], [0xfe534d42, 'smb'], [0x01021997, '9p'], [0x65735546, 'fuse'], [0xf2f52010, 'f2fs'], [0xca451a4e, 'bcachefs'],
]);

const FILE = 'ground.json';

/** The name of the file system that a folder is on; its number when it has none here. */
export function fileSystemOf(dir: string): string {
  const { type } = statfsSync(dir);
  return NAMES.get(type) ?? `0x${type.toString(16)}`;
}

/**
 * The ground of a store: as it was found when the store was made, else tried out now and written down.
 * @param canMount asked once, when the store is made.
 * @throws MbuildError STORE_UNUSABLE when the file can be read but not understood.
 */
export function openGround(root: string, canMount: () => boolean): Ground {
  const known = readGround(root);
  if (known !== undefined) return known;
  // Stores from before there was a choice are overlays'.
  const ground: Ground = hasLayers(root) ? { marks: 'trusted', canMount: true } : { ...probeMarks(root), canMount: canMount() };
  writeFileSync(path.join(root, FILE), `${JSON.stringify(ground)}\n`, { mode: 0o600 });
  return ground;
}

/** Tries out what marks can be made in a folder. */
export function probeMarks(root: string): Pick<Ground, 'marks' | 'reason'> {
  const dir = mkdtempSync(path.join(root, 'probe-'));
  try {
    for (const marks of ['trusted', 'user'] as const) {
      try {
        setXattr(toRaw(dir), `${marks}.overlay.opaque`, Buffer.from('y'));
        makeNode(`${toRaw(dir)}/whiteout`, 'char', 0);
        return { marks };
      } catch (error) {
        if (errnoOf(error) === undefined) throw error;
      }
    }
    return { marks: 'files', reason: whyNot(root) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function whyNot(root: string): string {
  const name = fileSystemOf(root);
  if (name === 'overlay') return 'the store is on an overlay itself (the root of a container): overlays on it cannot be written';
  if (name === 'nfs' || name === 'cifs' || name === 'smb') return `the store is on ${name}, which keeps no overlay`;
  return `the store's file system (${name}) takes neither overlay's attributes nor its marks of deletion`;
}

/** The ground of a store, `undefined` when it was not looked at yet. @throws MbuildError STORE_UNUSABLE. */
export function readGround(root: string): Ground | undefined {
  const file = path.join(root, FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { marks, reason, canMount } = JSON.parse(text) as Partial<Ground>;
    if (marks === 'trusted' || marks === 'user' || marks === 'files') return { marks, reason, canMount: canMount !== false };
  } catch {
    // Said below.
  }
  throw new MbuildError('STORE_UNUSABLE', `${file} is not what mbuild writes`, { hint: 'choose another folder with --root' });
}

function hasLayers(root: string): boolean {
  try {
    return readdirSync(path.join(root, 'layers')).length > 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
