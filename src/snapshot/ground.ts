import { linkSync, lstatSync, mkdtempSync, readdirSync, statfsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { makeNode } from '../linux/mknod';
import { keepsOwners, own } from '../linux/owners';
import { toRaw } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { setXattr } from '../linux/xattr';
import { FORMAT, readGround, upToDate, writeGround, type Ground } from './ground-file';
import type { OverlayXattrs } from './marks';

/** What is found out about a process that makes a store, and about the place. */
export interface GroundProbes {
  /** The name of the file system. */
  readonly fileSystem: () => string;
  /** What this process is confined by; `undefined` for one that may not mount in any case. */
  readonly confinement: () => string | undefined;
  readonly canMount: () => boolean | Promise<boolean>;
  /** Why no overlay can be mounted on layers with these marks. */
  readonly refusesOverlay: (
    marks: Exclude<OverlayXattrs, 'files'>,
  ) => string | undefined | Promise<string | undefined>;
}

/** File systems by the number that statfs(2) gives; linux/magic.h. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x6969, 'nfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb'],
  [0x01021997, '9p'],
  [0x65735546, 'fuse'],
  [0xf2f52010, 'f2fs'],
  [0xca451a4e, 'bcachefs'],
  [0x00c36400, 'ceph'],
  [0x0bd00bd0, 'lustre'],
  [0x47504653, 'gpfs'],
  [0x5346414f, 'afs'],
]);

/** File systems that machines share. */
const SHARED: ReadonlySet<string> = new Set([
  'nfs',
  'cifs',
  'smb',
  'ceph',
  'lustre',
  'gpfs',
  'afs',
]);

/** The name of the file system that a folder is on; its number when it has none here. */
export function fileSystemOf(dir: string): string {
  return fileSystemName(statfsSync(dir).type);
}

/** The name that goes with a number of statfs(2). */
export function fileSystemName(type: number): string {
  return NAMES.get(type) ?? `0x${type.toString(16)}`;
}

/** Why no store is made on a file system of this name; `undefined` where one may be. */
export function storeObstacle(fileSystem: string): string | undefined {
  if (!SHARED.has(fileSystem)) return undefined;
  return `several machines can share ${fileSystem}, but builds can only protect their files from builds on the same machine`;
}

/**
 * The ground of a store: as it was found when the store was made, else tried out now and written
 * down. What can be mounted is tried out again under another confinement, as in another container.
 * @throws MbuildError STORE_UNUSABLE when the file can be read but not understood, when owners
 * cannot be kept as the store does, and for a new store where none may be made.
 */
export async function openGround(root: string, probes: GroundProbes): Promise<Ground> {
  const found = readGround(root);
  const confinement = probes.confinement();
  if (found !== undefined && (found.owners === ownersHere() || holdsTrees(root))) {
    checkOwners(root, found);
    const known = upToDate(root, found);
    return confinement === undefined || confinement === known.confinement
      ? known
      : writeGround(root, { ...known, ...(await tryMounts(known, probes)), confinement });
  }
  if (!holdsTrees(root))
    return writeGround(root, { ...(await tryGround(root, probes)), confinement });
  // A store from before there was a choice is overlay's.
  const oldest: Ground = { format: 1, marks: 'trusted', canMount: true, owners: 'kernel' };
  return upToDate(root, writeGround(root, oldest));
}

async function tryGround(root: string, probes: GroundProbes): Promise<Ground> {
  const fileSystem = probes.fileSystem();
  const obstacle = storeObstacle(fileSystem);
  if (obstacle !== undefined)
    throw new MbuildError('STORE_UNUSABLE', `the store ${root} is on ${fileSystem}: ${obstacle}`, {
      hint: 'put the store on a disk of this machine with --root or MBUILD_ROOT',
    });
  const owners = ownersHere();
  if (owners === 'beside') checkAttributes(root);
  checkLinks(root);
  const found = probeMarks(root);
  return { format: FORMAT, ...found, ...(await tryMounts(found, probes)), owners };
}

async function tryMounts(
  { marks, reason }: Pick<Ground, 'marks' | 'reason'>,
  { canMount, refusesOverlay }: GroundProbes,
): Promise<Pick<Ground, 'canMount' | 'reason'>> {
  const mounts = await canMount();
  if (marks === 'files') return { canMount: mounts, reason };
  return { canMount: mounts, reason: mounts ? await refusesOverlay(marks) : undefined };
}

/**
 * @throws MbuildError STORE_UNUSABLE on a file system without user.* attributes, where owners
 * cannot stand beside files.
 */
function checkAttributes(root: string): void {
  const dir = mkdtempSync(path.join(root, 'probe-'));
  try {
    own(toRaw(dir), 1, 1);
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw new MbuildError(
      'STORE_UNUSABLE',
      `the store's file system (${fileSystemOf(root)}) has no user.* attributes, which are needed to store owners without ids of other users`,
      {
        cause,
        hint: 'put the store on another file system with --root (ext4, xfs, btrfs), or get ids, as root: apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER',
      },
    );
  } finally {
    removeTree(dir);
  }
}

/**
 * @throws MbuildError STORE_UNUSABLE on a file system that shows for a while what a file was before
 * it got another name, as FUSE systems with cached attributes do: hard links would be missing in
 * layers.
 */
function checkLinks(root: string): void {
  const dir = mkdtempSync(path.join(root, 'probe-'));
  try {
    const [first, second] = [path.join(dir, 'first'), path.join(dir, 'second')];
    writeFileSync(first, '', { mode: 0o600 });
    lstatSync(first);
    linkSync(first, second);
    const [before, after] = [lstatSync(first), lstatSync(second)];
    if (before.nlink === 2 && after.nlink === 2 && before.ino === after.ino) return;
    throw new MbuildError(
      'STORE_UNUSABLE',
      `the store ${root} is on a file system (${fileSystemOf(root)}) that does not show hard links at once: layers would lack them`,
      {
        hint: 'put it on another one with --root or MBUILD_ROOT; or mount this one without cached attributes (bindfs: -o attr_timeout=0)',
      },
    );
  } finally {
    removeTree(dir);
  }
}

/** @throws MbuildError STORE_UNUSABLE for a store that was made with other rights. */
function checkOwners(root: string, ground: Ground): void {
  if (ground.owners === ownersHere()) return;
  const [message, hint] =
    ground.owners === 'beside'
      ? [
          `the store ${root} was made by a user without ids of other users, with owners stored beside the files: no other user can read it`,
          'use it as that user, or choose another directory with --root',
        ]
      : [
          `the store ${root} was made with the ids of /etc/subuid (or by root), which are not available now`,
          'to learn why, run `mbuild doctor`; or choose another directory with --root',
        ];
  throw new MbuildError('STORE_UNUSABLE', message, { hint });
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
    return { marks: 'files', reason: whyNot(fileSystemOf(root)) };
  } finally {
    removeTree(dir);
  }
}

function whyNot(name: string): string {
  if (name === 'overlay')
    return 'the store itself is on an overlay (the root of a container), so overlays on it cannot be written';
  return `the store's file system (${name}) supports neither the attributes of overlayfs nor its deletion marks`;
}

/**
 * How a store keeps owners for as long as there is something in it; `undefined` for one that is not
 * bound to a way yet.
 * @throws MbuildError STORE_UNUSABLE.
 */
export function boundOwners(root: string): Ground['owners'] | undefined {
  const owners = readGround(root)?.owners;
  return owners === undefined || !holdsTrees(root) ? undefined : owners;
}

/** How this process keeps owners. */
function ownersHere(): Ground['owners'] {
  return keepsOwners() ? 'beside' : 'kernel';
}

/** Folders of a store whose files belong to somebody. */
const TREES = ['layers', 'active', 'containers', 'volumes', 'cache/mounts'];

function holdsTrees(root: string): boolean {
  return TREES.some((folder) => {
    try {
      return readdirSync(path.join(root, folder)).length > 0;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
  });
}
