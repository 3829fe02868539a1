import { MbuildError } from '../diagnostics/error';
import { toText, type RawPath } from '../linux/paths';
import type { TarEntry } from './tar/entry';

/**
 * The parts of a name in the archive: none is absolute or goes up. Targets of hard links may be
 * absolute, and count from the root of the tree.
 */
export function partsOf(name: RawPath, entry: TarEntry): string[] {
  if (name === entry.path && name.startsWith('/')) throw unsafe(entry, 'its name is absolute');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..'))
    throw unsafe(
      entry,
      name === entry.path ? 'its name holds ..' : `its target ${toText(name)} holds ..`,
    );
  return parts;
}

/** The error of an entry that would reach out of the layer. */
export function unsafe(entry: TarEntry, why: string): MbuildError {
  return new MbuildError(
    'ARCHIVE_UNSAFE',
    `the layer's entry ${toText(entry.path)} is refused: ${why}`,
  );
}

/** The error of an entry that makes no sense where it stands. */
export function invalid(entry: TarEntry, why: string): MbuildError {
  return new MbuildError(
    'ARCHIVE_INVALID',
    `the layer's entry ${toText(entry.path)} cannot be unpacked: ${why}`,
  );
}
