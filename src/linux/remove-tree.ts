import { readdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { makeTreeMutable } from './file-flags';
import { fsPath, type RawPath } from './paths';

// Not by Node's own rmSync: from version 23 on its errors have no code that tells a full disk from
// anything else.

/** Directories deeper than this are brought up before they are deleted. */
const DEPTH = 64;

/**
 * Deletes a file, or a directory with all that is in it, however deep it is: a step can make paths
 * that are longer than the kernel takes. Nothing happens when it is not there, and no symlink is
 * followed.
 */
export function removeTree(path: string | Buffer): void {
  const root = Buffer.from(path).toString('latin1');
  try {
    removeAll(root);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENAMETOOLONG') flatten(Buffer.from(path));
    // A step that may do so has made files immutable.
    else if (code === 'EPERM') makeTreeMutable(root);
    else throw error;
    removeAll(root);
  }
}

/** Deletes a file, and nothing when it is not there. */
export function removeFile(path: string | Buffer): void {
  ifThere(() => unlinkSync(path));
}

function removeAll(root: RawPath): void {
  if (!isDirectoryAfterUnlink(root)) return;
  const open = [{ path: root, emptied: false }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const { path, emptied } = top;
    if (emptied) {
      ifThere(() => rmdirSync(fsPath(path)));
      open.pop();
      continue;
    }
    top.emptied = true;
    ifThere(() => {
      for (const entry of readdirSync(fsPath(path), { encoding: 'latin1', withFileTypes: true })) {
        const child = `${path}/${entry.name}`;
        if (entry.isDirectory() || isDirectoryAfterUnlink(child))
          open.push({ path: child, emptied: false });
      }
    });
  }
}

/** Deletes a name, unless it is a directory's. */
function isDirectoryAfterUnlink(path: RawPath): boolean {
  try {
    unlinkSync(fsPath(path));
  } catch (error) {
    if (errnoOf(error) === 'EISDIR') return true;
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  return false;
}

/** Others may delete the same. */
function ifThere(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

/** Moves what lies deep in a directory to its top, until nothing lies deep. */
function flatten(root: Buffer): void {
  const under = (folder: Buffer, name: Buffer | string): Buffer =>
    Buffer.concat([folder, Buffer.from('/'), Buffer.from(name)]);
  const tops = [root];
  for (let top = tops.pop(); top !== undefined; top = tops.pop()) {
    const open = [{ path: top, depth: 0 }];
    for (let folder = open.pop(); folder !== undefined; folder = open.pop()) {
      for (const entry of readdirSync(folder.path, { encoding: 'buffer', withFileTypes: true })) {
        if (!entry.isDirectory()) continue;
        const path = under(folder.path, entry.name as unknown as Buffer);
        if (folder.depth < DEPTH) {
          open.push({ path, depth: folder.depth + 1 });
          continue;
        }
        const aside = freeName(root, under);
        renameSync(path, aside);
        tops.push(aside);
      }
    }
  }
}

function freeName(root: Buffer, under: (folder: Buffer, name: string) => Buffer): Buffer {
  const taken = new Set(readdirSync(root));
  let number = taken.size;
  while (taken.has(`deep-${number}`)) number++;
  return under(root, `deep-${number}`);
}
