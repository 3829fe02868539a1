import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import path from 'node:path';
import { namesIn } from '../../content/files';
import { parseOwner } from '../../content/owner';
import { isAbandoned, isAlive, removeDeserted } from '../../content/presence';
import { errnoOf } from '../../diagnostics/error';
import { tryLock } from '../../linux/flock';
import { removeFile, removeTree } from '../../linux/remove-tree';

/** Folders of the store with files whose names end in the process that writes them. */
const OWNED = ['tmp', 'active', 'leases', 'sandbox', path.join('cache', 'stat')];

/**
 * Paths of what processes that have ended (killed, or gone with the machine's power) left in a
 * store: half-written files and trees, downloads that broke off, leases, locks, logs of builds that
 * were never recorded. Nothing depends on any of it.
 */
export function findLeftovers(root: string): string[] {
  return [
    ...OWNED.flatMap((folder) =>
      filesIn(root, folder).filter((file) => isAbandoned(root, path.basename(file))),
    ),
    ...filesIn(root, 'locks').filter((file) => withFreeLock(file, () => undefined)),
    ...filesIn(root, 'builds').flatMap((project) =>
      filesIn(root, 'builds', path.basename(project)).filter((folder) =>
        isAbandonedLog(root, folder),
      ),
    ),
  ];
}

/** Deletes what {@link findLeftovers} finds. */
export function removeLeftovers(root: string): void {
  for (const file of findLeftovers(root)) {
    if (path.dirname(file) === path.join(root, 'locks')) withFreeLock(file, () => unlinkSync(file));
    else if (lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === true) removeTree(file);
    else removeFile(file);
  }
  // Last, for the others are judged by them.
  removeDeserted(root);
}

function filesIn(root: string, ...folder: readonly string[]): string[] {
  return namesIn(path.join(root, ...folder)).map((name) => path.join(root, ...folder, name));
}

/**
 * Logs without the record that a build writes at its end, whose owner will not write it any more.
 */
function isAbandonedLog(root: string, folder: string): boolean {
  if (!folder.endsWith('.logs') || existsSync(folder.replace(/\.logs$/, '.json'))) return false;
  const owner = parseOwner(readText(path.join(folder, 'owner')) ?? '');
  return owner === undefined ? readdirSync(folder).length === 0 : !isAlive(owner, root);
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Does something with a lock's file while nobody has it; false when somebody has. */
function withFreeLock(file: string, act: () => void): boolean {
  let fd: number;
  try {
    fd = openSync(file, 'r+');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
  try {
    // A name is taken away only by who holds the lock of its file: as long as we do, it stays this
    // file's.
    if (
      !tryLock(fd, 'exclusive') ||
      statSync(file, { throwIfNoEntry: false })?.ino !== fstatSync(fd).ino
    )
      return false;
    act();
    return true;
  } finally {
    closeSync(fd);
  }
}
