import { MbuildError } from '../diagnostics/error';
import type { DiffID, Digest } from '../oci/digest';
import type { Compression } from '../oci/media-types';
import type { RawPath } from '../linux/paths';

/** What a layer directory comes to as a tar. */
export interface TarSummary {
  readonly diffId: DiffID;
  /** Bytes of the whole tar. */
  readonly size: number;
  /** Entries; 0 for an empty diff. */
  readonly entries: number;
  /** Bytes of the files alone: what `docker images` and `history` count. */
  readonly contentSize: number;
  /** Which of the needles that were looked for are in it; absent when none were. */
  readonly found?: readonly number[] | undefined;
}

/** How a layer directory is written as a tar. */
export interface TarOptions {
  /** Later mtimes are set to this (seconds since the epoch): SOURCE_DATE_EPOCH. */
  readonly clampMtime?: number | undefined;
  /**
   * Paths at the root of the layer that are the sandbox's, never the step's; raw, without leading
   * slash.
   */
  readonly omit?: readonly RawPath[] | undefined;
}

/** A layer's blob to unpack. */
export interface ApplySource {
  /**
   * A file, read from `start`, `length` bytes (all when absent, or when the file is whole before).
   */
  readonly path: string;
  readonly start?: number | undefined;
  readonly length?: number | undefined;
  readonly compression: Compression;
  /**
   * The file is still being written, by somebody who hashes what is stored: one of {@link Growth},
   * in memory that is shared.
   */
  readonly growing?: Int32Array | undefined;
  /**
   * For a tar that is stored as it is: it is not hashed here either, for whoever writes the file
   * vouches for it.
   */
  readonly isHashedElsewhere?: boolean | undefined;
  /**
   * Checked while reading; a mismatch throws DIGEST_MISMATCH. The stored bytes' digest and the
   * tar's.
   */
  readonly digest?: Digest | undefined;
  readonly diffId?: DiffID | undefined;
}

/** How far a file is that is read while it is written. */
export const Growth = {
  /** More comes, up to `length` where that is known. */
  growing: 0,
  /** What is missing will not come. */
  stopped: 1,
  /** All is there. */
  whole: 2,
} as const;

/*
 * Caps on what a foreign layer or archive may hold, so that a hostile one ends in LIMIT_EXCEEDED and not in a full disk. They are sizes: a
 * layer of zeros is a thousand times smaller as gzip, and hundreds of thousands of times as zstd, and harmless.
 */
export interface ApplyLimits {
  /** Bytes of the unpacked tar. */
  readonly maxSize: number;
  readonly maxEntries: number;
}

/** No caps. */
export const NO_LIMITS: ApplyLimits = { maxSize: Infinity, maxEntries: Infinity };

const SIZE_VARIABLE = 'MBUILD_MAX_UNPACKED';
const ENTRIES_VARIABLE = 'MBUILD_MAX_ENTRIES';

/**
 * The caps on the layers and archives of strangers, unless a variable of the environment has
 * others: 0 is none.
 */
export const LAYER_LIMITS: ApplyLimits = {
  maxSize: readLimit(SIZE_VARIABLE, 256 * 2 ** 30),
  maxEntries: readLimit(ENTRIES_VARIABLE, 4_000_000),
};

/** A whole number, with k, m, g or t for binary units. @throws MbuildError USAGE. */
function readLimit(variable: string, usual: number): number {
  const text = process.env[variable] ?? '';
  if (text === '') return usual;
  const [, digits, unit = ''] = /^(\d{1,15})([kmgt]?)b?$/i.exec(text) ?? [];
  if (digits === undefined)
    throw new MbuildError('USAGE', `${variable}=${text} is not a size`, {
      hint: 'write a whole number, also with k, m, g or t; 0 means no limit',
    });
  const value = Number(digits) * 1024 ** ' kmgt'.indexOf(unit.toLowerCase() || ' ');
  return value === 0 ? Infinity : value;
}

/**
 * @param what e.g. `layer`.
 * @param unpacked bytes of its tar so far.
 * @throws MbuildError LIMIT_EXCEEDED.
 */
export function checkSize(what: string, unpacked: number, { maxSize }: ApplyLimits): void {
  if (unpacked <= maxSize) return;
  throw new MbuildError('LIMIT_EXCEEDED', `the ${what} unpacks to more than ${maxSize} bytes`, {
    hint: `if the size is right, set ${SIZE_VARIABLE} to a size, e.g. 512g, or to 0 for no limit`,
  });
}

/** @param what e.g. `layer`. @throws MbuildError LIMIT_EXCEEDED. */
export function checkEntries(what: string, entries: number, { maxEntries }: ApplyLimits): void {
  if (entries <= maxEntries) return;
  throw new MbuildError('LIMIT_EXCEEDED', `the ${what} has more than ${maxEntries} entries`, {
    hint: `if the size is right, set ${ENTRIES_VARIABLE} to a number, or to 0 for no limit`,
  });
}

/** What unpacking found. */
export interface Applied extends Omit<TarSummary, 'diffId'> {
  /** Absent where somebody else hashes the tar. */
  readonly diffId?: DiffID | undefined;
  /**
   * Directories that the tar wrote into without an entry of their own; `''` is the root. Over
   * parents they need the parents' attributes; where a parent has a symlink at such a path the
   * layer must be applied again with `parents` given.
   */
  readonly implied: readonly RawPath[];
  /**
   * Hard links whose target is not in this layer but in a parent: `[path, target]`. Not made: such
   * a layer is applied again with `parents`.
   */
  readonly foreignLinks: readonly (readonly [RawPath, RawPath])[];
}

/**
 * How opaque directories are marked: `trusted.overlay.*` for root, `user.overlay.*` in a user
 * namespace, a file in the directory where no overlay is mounted.
 */
export type OverlayXattrs = 'trusted' | 'user' | 'files';
