import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync, readlinkSync, rmSync, writeFileSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import type { LayerRecord } from '../../src/images/store/layer-index';
import { namesIn } from '../support/temp';

/** A boot that is not this one. */
const BEFORE = '00000000-0000-0000-0000-000000000000';
/** Of what was not on the disk yet, how much is damaged. */
const DAMAGED = 0.3;

/** Numbers from 0 to 1, the same for the same seed. Mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Does to a store what a loss of power may: of all that was changed since it was as in `synced`,
 * names are as they were before or as they are now, whichever was written first, and new files have
 * their bytes, some of them, zeros, or nothing. mbuild syncs nothing, so that any of it may happen
 * to any of them. The machine has started anew since.
 */
export function losePower(root: string, synced: string, random: () => number): void {
  lose(root, synced, random);
  restart(root);
}

/** Makes a store one of a machine that was started anew since: its layers have to be verified. */
export function restart(root: string): void {
  for (const name of namesIn(join(root, 'chains'))) {
    const file = join(root, 'chains', name);
    const record = readRecord(file);
    if (record !== undefined) writeFileSync(file, JSON.stringify({ ...record, boot: BEFORE }));
  }
}

function lose(now: string, before: string, random: () => number): void {
  for (const name of new Set([...namesIn(now), ...namesIn(before)])) {
    const [file, old] = [join(now, name), join(before, name)];
    const stats = lstatSync(file, { throwIfNoEntry: false });
    const oldStats = lstatSync(old, { throwIfNoEntry: false });
    if (stats?.isDirectory() === true && (oldStats?.isDirectory() === true || random() >= DAMAGED))
      lose(file, old, random);
    else if (!isSame(file, stats, old, oldStats) && random() < DAMAGED) {
      if (stats?.isFile() !== true || random() < 0.4) putBack(file, old);
      else damage(file, random);
    }
  }
}

/** True for what was not written since; to put it back would change its directory. */
function isSame(
  file: string,
  stats: Stats | undefined,
  old: string,
  oldStats: Stats | undefined,
): boolean {
  if (
    stats === undefined ||
    oldStats === undefined ||
    stats.mode !== oldStats.mode ||
    stats.rdev !== oldStats.rdev
  )
    return false;
  if (stats.isSymbolicLink()) return readlinkSync(file) === readlinkSync(old);
  return !stats.isFile() || readFileSync(file).equals(readFileSync(old));
}

/** The name has what it had before. */
function putBack(file: string, old: string): void {
  rmSync(file, { recursive: true, force: true });
  if (lstatSync(old, { throwIfNoEntry: false }) !== undefined)
    execFileSync('cp', ['-a', old, file]);
}

function damage(file: string, random: () => number): void {
  const bytes = readFileSync(file);
  const kept = Math.floor(random() * bytes.length);
  writeFileSync(
    file,
    random() < 0.5
      ? bytes.subarray(0, random() < 0.5 ? 0 : kept)
      : Buffer.concat([bytes.subarray(0, kept), Buffer.alloc(bytes.length - kept)]),
  );
}

function readRecord(file: string): LayerRecord | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as LayerRecord;
  } catch {
    return undefined; // it was lost
  }
}
