import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cleanEnv } from './command';

/** One entry of a tree; see tree.py. */
export interface TreeEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'character' | 'block' | 'fifo' | 'socket';
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  readonly size?: number;
  readonly sha256?: string;
  readonly link?: string;
  readonly device?: string;
  /** Whole seconds. */
  readonly mtime?: number;
  /** Values in base64. */
  readonly xattrs?: Readonly<Record<string, string>>;
  /** The first entry of the same inode. */
  readonly same?: string;
}

// A Python that is a shell script (pyenv's shim) takes ten times as long to start.
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/**
 * Everything in a directory, sorted by path, listed by a program that shares nothing with mbuild.
 * Mtimes on request only.
 */
export function listTree(dir: string, options: { readonly mtime?: boolean } = {}): TreeEntry[] {
  const args = [join(__dirname, 'tree.py'), dir, ...(options.mtime === true ? [] : ['--no-mtime'])];
  const out = execFileSync(PYTHON, args, { env: cleanEnv(), maxBuffer: 1 << 29 }).toString();
  return out
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as TreeEntry);
}

/** The same by path, for looking at single entries. */
export function treeOf(
  dir: string,
  options: { readonly mtime?: boolean } = {},
): Map<string, TreeEntry> {
  return new Map(listTree(dir, options).map((entry) => [entry.path, entry]));
}

/**
 * Lines that say how two trees differ, `-` only in the first, `+` only in the second; empty for
 * equal trees.
 */
export function treeDifference(a: readonly TreeEntry[], b: readonly TreeEntry[]): string[] {
  const first = new Map(a.map((entry) => [entry.path, JSON.stringify(entry)]));
  const second = new Map(b.map((entry) => [entry.path, JSON.stringify(entry)]));
  const paths = [...new Set([...first.keys(), ...second.keys()])].sort();
  return paths.flatMap((path) => {
    const [one, two] = [first.get(path), second.get(path)];
    if (one === two) return [];
    return [...(one === undefined ? [] : [`- ${one}`]), ...(two === undefined ? [] : [`+ ${two}`])];
  });
}
