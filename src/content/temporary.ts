import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import { ownName } from './files';

/** What a TMPDIR answers that is missing, no directory, or closed to us. */
const UNUSABLE: readonly (string | undefined)[] = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS'];

/**
 * A new directory (mode 0700) in TMPDIR, or in the store where TMPDIR cannot be used, as in a pod
 * with a read-only root. The caller removes it; what a killed process leaves in the store goes with
 * the next collection.
 * @throws the system's error of TMPDIR where the store cannot take it either.
 */
export function temporaryDirectory(name: string, store: string): string {
  try {
    return mkdtempSync(path.join(tmpdir(), `mbuild-${name}-`));
  } catch (error) {
    if (!UNUSABLE.includes(errnoOf(error))) throw error;
    return inStore(name, store) ?? fail(error);
  }
}

function inStore(name: string, store: string): string | undefined {
  const place = path.join(store, 'tmp');
  try {
    mkdirSync(place, { recursive: true, mode: 0o700 });
    const directory = ownName(place, name);
    mkdirSync(directory, { mode: 0o700 });
    return directory;
  } catch (error) {
    if (!UNUSABLE.includes(errnoOf(error))) throw error;
    return undefined;
  }
}

function fail(error: unknown): never {
  throw error;
}
