import { errnoOf } from '../diagnostics/error';
import { toRaw } from '../linux/paths';
import { bootId } from '../linux/process';
import { lstatOf } from '../linux/stat';
import { getXattr, setXattr } from '../linux/xattr';

/*
 * A file that was not synced may have lost its bytes when the machine is next started. Within one boot it holds what was written, so what was hashed
 * in this boot need not be hashed again. That is noted on the file itself, with the size and time that it had.
 */

const NOTE = 'user.mbuild.verified';

/**
 * Notes that a file's bytes are what its name says. Where the file system keeps no such notes,
 * nothing is noted.
 */
export function noteVerified(file: string): void {
  try {
    const facts = factsOf(file);
    if (facts !== undefined) setXattr(toRaw(file), NOTE, Buffer.from(facts));
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
  }
}

/** Whether a file was verified in this boot, and not written to since. */
export function isVerified(file: string): boolean {
  try {
    const noted = getXattr(toRaw(file), NOTE);
    return noted !== undefined && noted.toString() === factsOf(file);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

function factsOf(file: string): string | undefined {
  const stats = lstatOf(toRaw(file));
  return stats === undefined ? undefined : `${bootId()} ${stats.size} ${stats.mtimeMs}`;
}
