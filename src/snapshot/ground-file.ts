import { readFileSync } from 'node:fs';
import path from 'node:path';
import { isDeserted } from '../content/presence';
import { replaceFile } from '../content/files';
import { MbuildError, errnoOf, isMbuildError } from '../diagnostics/error';
import { removeTree } from '../linux/remove-tree';
import type { OverlayXattrs } from './marks';

/*
 * `<root>/ground.json` is the first file of a store that every version of mbuild reads, so its format stands there:
 *
 * 1  the ground itself: `{"marks":…}`.
 * 2  `{"format":2,"ground":{"marks":…}}`. Images have lists of their names (`tags/`), which only versions that write
 *    them keep whole. Versions that know format 1 alone find no marks at the top, and refuse the store.
 */

/** The format that this version writes. A change that older versions must not write beside needs a new one. */
export const FORMAT = 2;
/** The first format in which the lists of images' names are whole. */
export const FORMAT_WITH_NAME_LISTS = 2;

const FILE = 'ground.json';

/**
 * What a store's file system was found to be good for when the store was made, and what its users
 * may mount.
 */
export interface Ground {
  /** The store's format; {@link FORMAT} for all but older stores. */
  readonly format: number;
  /** How the store's layers are marked, for as long as it lives. */
  readonly marks: OverlayXattrs;
  /** Why no overlay can be mounted on them, where that is so. */
  readonly reason?: string | undefined;
  /** False when nothing could be mounted by a process under `confinement`. */
  readonly canMount: boolean;
  /** Under what that was tried; missing where the process had no right to mount at all. */
  readonly confinement?: string | undefined;
  /**
   * Whose the files of layers are: as the kernel says, or as it stands beside them (see
   * linux/owners.ts).
   */
  readonly owners: 'kernel' | 'beside';
}

/**
 * The ground of a store, `undefined` when it was not looked at yet.
 * @throws MbuildError STORE_UNUSABLE for a file that mbuild did not write, and for a store of a
 * newer format.
 */
export function readGround(root: string): Ground | undefined {
  const file = path.join(root, FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const { format, facts } = parse(text);
  if (format > FORMAT)
    throw new MbuildError(
      'STORE_UNUSABLE',
      `the store ${root} has format ${format}, which a newer mbuild made; this one reads formats up to ${FORMAT}`,
      { hint: 'update mbuild, or choose another directory with --root or MBUILD_ROOT' },
    );
  const { marks, reason, canMount, confinement, owners } = facts;
  if (marks === 'trusted' || marks === 'user' || marks === 'files')
    return {
      format,
      marks,
      reason,
      canMount: canMount !== false,
      confinement,
      owners: owners === 'beside' ? 'beside' : 'kernel',
    };
  throw new MbuildError('STORE_UNUSABLE', `${file} is not what mbuild writes`, {
    hint: 'choose another directory with --root or MBUILD_ROOT',
  });
}

/** Without marks for what mbuild did not write. */
function parse(text: string): { readonly format: number; readonly facts: Partial<Ground> } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { format: 1, facts: {} };
  }
  if (!isObject(value)) return { format: 1, facts: {} };
  const { format, ground } = value;
  if (format === undefined) return { format: 1, facts: value };
  return { format: Number(format), facts: isObject(ground) ? ground : {} };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** Writes the ground in its store's format. Whoever reads it meanwhile finds a whole one. */
export function writeGround(root: string, ground: Ground): Ground {
  const { format, ...facts } = ground;
  const text = JSON.stringify(format === 1 ? facts : { format, ground: facts });
  replaceFile(root, path.join(root, FILE), `${text}\n`);
  return ground;
}

/**
 * Brings an older store up to date, as soon as no other process uses it, which may be an older
 * mbuild; until then, and where the store cannot be written, it is used as it is.
 */
export function upToDate(root: string, ground: Ground): Ground {
  if (ground.format === FORMAT || !isDeserted(root)) return ground;
  try {
    // Lists that an unreleased version began, and which others did not keep.
    removeTree(path.join(root, 'tags'));
    return writeGround(root, { ...ground, format: FORMAT });
  } catch (error) {
    const isKept =
      isMbuildError(error, 'PERMISSION_DENIED') ||
      isMbuildError(error, 'NO_SPACE') ||
      ['EROFS', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '');
    if (!isKept) throw error;
    return ground;
  }
}
