import { MbuildError, errnoOf, isMbuildError } from '../../diagnostics/error';
import { toText } from '../../linux/paths';
import type { TarEntry } from './entry';

/**
 * Does something for an entry of an archive; what the system refuses comes out as an MbuildError
 * with the entry's name.
 */
export function explained(entry: TarEntry, act: () => void): void {
  try {
    act();
  } catch (error) {
    if (isMbuildError(error)) throw error;
    const code = errnoOf(error);
    if (code === undefined) throw error;
    const name = toText(entry.path);
    const text = `${name.length > 200 ? `${name.slice(0, 200)}…` : name} could not be unpacked (${code})`;
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new MbuildError('NO_SPACE', text, {
        cause: error,
        hint: 'free space in the store: mbuild prune',
      });
    if (code === 'EPERM' || code === 'EACCES')
      throw new MbuildError('PERMISSION_DENIED', text, { cause: error });
    throw new MbuildError(OF_THE_ARCHIVE.includes(code) ? 'ARCHIVE_INVALID' : 'IO_FAILED', text, {
      cause: error,
    });
  }
}

/** Refused because of what the entry is: a name, size or attribute that no file can have. */
const OF_THE_ARCHIVE = [
  'ENAMETOOLONG',
  'EINVAL',
  'EFBIG',
  'E2BIG',
  'ERANGE',
  'ELOOP',
  'ENOTDIR',
  'EMLINK',
];
