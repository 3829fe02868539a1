import { readdirSync, renameSync, rmSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';

/** Directories deeper than this are brought up before they are deleted. */
const DEPTH = 64;

/**
 * Deletes a file, or a directory with all that is in it, however deep it is: a step can make paths that are longer than the kernel takes,
 * and trees deeper than a recursion. Nothing happens when it is not there.
 */
export function removeTree(path: string | Buffer): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (errnoOf(error) !== 'ENAMETOOLONG' && (error as Error).name !== 'RangeError') throw error;
    flatten(Buffer.from(path));
    rmSync(path, { recursive: true, force: true });
  }
}

/** Moves what lies deep in a directory to its top, until nothing lies deep. */
function flatten(root: Buffer): void {
  const under = (folder: Buffer, name: Buffer | string): Buffer => Buffer.concat([folder, Buffer.from('/'), Buffer.from(name)]);
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
