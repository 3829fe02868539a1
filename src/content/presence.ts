import { closeSync, fstatSync, mkdirSync, openSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../diagnostics/error';
import { unlessWritten } from '../linux/file-lease';
import { isOfHere, ownIdentity, runsHere, type ProcessIdentity } from '../linux/process';
import { namesIn, storeError } from './files';
import { parseOwner } from './owner';

/*
 * Containers that share a store may each have a PID namespace of their own, where the pids of the others mean nothing. So every process
 * that has a store open also has `<root>/present/<boot>-<inode of its PID namespace>` open for writing, which the kernel can be asked about
 * from anywhere, and which ends with the process, however that ends.
 */

/**
 * Says that processes of this PID namespace use a store, until the returned function is called or
 * the process ends.
 */
export function bePresent(root: string): () => void {
  const file = presenceFile(root, ownIdentity());
  try {
    const fd = openNamed(file);
    return () => closeSync(fd);
  } catch (error) {
    // A full store is still looked at and pruned; one that is read-only is looked at, and nothing
    // in it can go.
    if (['ENOSPC', 'EDQUOT', 'EROFS'].includes(errnoOf(error) ?? '')) return () => undefined;
    throw storeError(error, file);
  }
}

/**
 * Whether a process that uses a store runs. Of a PID namespace that cannot be looked into it is
 * only known whether anybody is left in it: until they are all gone, each of them counts as alive.
 */
export function isAlive(owner: ProcessIdentity, root: string): boolean {
  if (isOfHere(owner)) return runsHere(owner);
  return (
    owner.boot === ownIdentity().boot &&
    whenDeserted(presenceFile(root, owner), () => undefined) === 'inhabited'
  );
}

/** True for the base of a name by `ownName` whose process has ended. */
export function isAbandoned(root: string, name: string): boolean {
  const owner = parseOwner(name.slice(name.lastIndexOf('.') + 1));
  return owner !== undefined && !isAlive(owner, root);
}

/**
 * Whether no process uses a store that says so by {@link bePresent}; false where that cannot be
 * found out.
 */
export function isDeserted(root: string): boolean {
  const folder = path.join(root, 'present');
  return namesIn(folder).every(
    (name) => whenDeserted(path.join(folder, name), () => undefined) !== 'inhabited',
  );
}

/** Deletes the files of PID namespaces that nobody uses a store from any more. */
export function removeDeserted(root: string): void {
  const folder = path.join(root, 'present');
  for (const name of namesIn(folder)) {
    const file = path.join(folder, name);
    whenDeserted(file, () => unlinkSync(file));
  }
}

/**
 * Opens a file for writing that still has its name then: somebody who saw it deserted may just take
 * it away.
 */
function openNamed(file: string): number {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  for (;;) {
    const fd = openSync(file, 'a', 0o600);
    if (statSync(file, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return fd;
    closeSync(fd);
  }
}

function presenceFile(root: string, { boot, pidNamespace }: ProcessIdentity): string {
  return path.join(root, 'present', `${boot}-${pidNamespace}`);
}

/** Does something while nobody is present by a file. */
function whenDeserted(file: string, act: () => void): 'done' | 'inhabited' | 'missing' {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'missing';
    throw error;
  }
  try {
    return unlessWritten(fd, act) ? 'done' : 'inhabited';
  } finally {
    closeSync(fd);
  }
}
