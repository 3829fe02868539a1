import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { removeTree as deleteTree } from '../../src/linux/remove-tree';

/** Directories of one test file; all are gone after its last test. */
export interface TempDirs {
  /** A new, empty directory. */
  dir(name?: string): string;
}

/**
 * Call once at the top of a test file (or in a `describe`): what it hands out is unmounted and
 * deleted after the last test.
 */
export function useTemp(): TempDirs {
  const made: string[] = [];
  afterAll(() => {
    for (const dir of made) removeTree(dir);
  });
  return {
    dir(name = 'test') {
      // Lower case, for some programs make image names out of paths; short, for podman takes no
      // long ones.
      const dir = join(tmpdir(), `mb-${name}-${randomBytes(4).toString('hex')}`);
      mkdirSync(dir, { mode: 0o700 });
      made.push(dir);
      return dir;
    },
  };
}

/** Lets every user into a temporary directory. */
export function openToOthers(dir: string): void {
  for (let at = dir; at !== '/' && at !== '/tmp'; at = dirname(at)) chmodSync(at, 0o755);
}

/**
 * Writes files under a directory: path → content. Paths that end in `/` are made as directories.
 * Returns the directory.
 */
export function writeFiles(
  dir: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): string {
  for (const [path, content] of Object.entries(files)) {
    if (path.endsWith('/')) {
      mkdirSync(join(dir, path), { recursive: true });
    } else {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), content);
    }
  }
  return dir;
}

/** The names in a directory, sorted; none when there is no such directory. */
export function namesIn(dir: string): string[] {
  return existsSync(dir) && lstatSync(dir).isDirectory() ? readdirSync(dir).sort() : [];
}

/**
 * Mount points of this process's mount namespace that are at or under a directory, deepest first.
 */
export function mountsLeft(dir: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))),
    )
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
    .sort()
    .reverse();
}

/** Unmounts what is mounted under a directory and deletes it. */
export function removeTree(dir: string): void {
  for (const mount of mountsLeft(dir)) spawnSync('umount', ['-l', mount]);
  deleteTree(dir);
}
