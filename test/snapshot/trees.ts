import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  lchownSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { makeNode } from '../../src/linux/mknod';
import { readXattrs, setXattr } from '../../src/linux/xattr';

/** True where overlay can be mounted: as root, outside a default container. */
export const canMount: boolean = probeMount();

/** A fresh folder, deleted with `removeFolder`. */
export function makeFolder(): string {
  return mkdtempSync(path.join(tmpdir(), 'mbuild-tree-'));
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/** Runs `body` with the overlay of some layer directories (top first) mounted, and unmounts it. */
export function withOverlay<T>(layers: readonly string[], body: (root: string) => T): T {
  const root = makeFolder();
  const lowers = layers.length === 1 ? [...layers, mkdirp(path.join(root, 'none'))] : layers;
  const target = mkdirp(path.join(root, 'merged'));
  try {
    execFileSync(
      'mount',
      ['-t', 'overlay', 'overlay', '-o', `lowerdir=${lowers.join(':')}`, target],
      { stdio: 'pipe' },
    );
    try {
      return body(target);
    } finally {
      execFileSync('umount', [target]);
    }
  } finally {
    removeFolder(root);
  }
}

/**
 * Makes a tree. Keys are paths; a value is `d`, `f:content`, `l:target`, `h:first name`, `p`,
 * `c:major,minor`, then, optional and in any order, ` 0755`, ` uid:gid`, ` @mtime` and
 * ` name=value` for extended attributes.
 */
export function makeTree(root: string, spec: Readonly<Record<string, string>>): void {
  const times: [string, number][] = [];
  for (const [name, text] of Object.entries(spec)) {
    const [what = '', ...rest] = text.split(' ');
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    const value = what.slice(2);
    switch (what[0]) {
      case 'd':
        mkdirSync(file, { recursive: true });
        break;
      case 'f':
        writeFileSync(file, value);
        break;
      case 'l':
        symlinkSync(value, file);
        break;
      case 'h':
        linkSync(path.join(root, value), file);
        break;
      case 'p':
        makeNode(file, 'fifo', 0o644);
        break;
      case 'c':
        makeNode(file, 'char', 0o644, {
          major: Number(value.split(',')[0]),
          minor: Number(value.split(',')[1]),
        });
        break;
      default:
        throw new Error(`what is ${text}?`);
    }
    for (const fact of rest) {
      if (fact.startsWith('@')) times.push([file, Number(fact.slice(1))]);
      else if (fact.includes('='))
        setXattr(
          file,
          fact.slice(0, fact.indexOf('=')),
          Buffer.from(fact.slice(fact.indexOf('=') + 1)),
        );
      else if (fact.includes(':'))
        lchownSync(file, Number(fact.split(':')[0]), Number(fact.split(':')[1]));
    }
    for (const fact of rest) if (/^[0-7]{4}$/.test(fact)) chmodSync(file, parseInt(fact, 8));
  }
  for (const [file, time] of times.reverse()) lutimesSync(file, time, time);
}

/**
 * A tree as `makeTree` takes it, sorted, every fact given; mtimes in seconds, and only those before
 * `since`. Hard links show on later names.
 */
export function readTree(
  root: string,
  options: { readonly times?: boolean; readonly under?: string } = {},
): Record<string, string> {
  const tree: Record<string, string> = {};
  const links = new Map<string, string>();
  const visit = (name: string): void => {
    const file = path.join(root, name);
    const stats = lstatSync(file);
    const inode = `${stats.dev}:${stats.ino}`;
    const first = stats.isDirectory() || stats.nlink === 1 ? undefined : links.get(inode);
    links.set(inode, first ?? name);
    const what =
      first !== undefined
        ? `h:${first}`
        : stats.isDirectory()
          ? 'd'
          : stats.isSymbolicLink()
            ? `l:${readlinkSync(file)}`
            : stats.isFIFO()
              ? 'p'
              : stats.isCharacterDevice()
                ? `c:${stats.rdev >> 8},${stats.rdev & 255}`
                : `f:${readFileSync(file, 'latin1').slice(0, 40)}`;
    const xattrs = [...readXattrs(file)]
      .filter(([key]) => !key.includes('.overlay.'))
      .map(([key, value]) => ` ${key}=${value.toString('latin1')}`)
      .join('');
    const mode = stats.isSymbolicLink()
      ? ''
      : ` ${(stats.mode & 0o7777).toString(8).padStart(4, '0')}`;
    const time = options.times === true ? ` @${Math.floor(stats.mtimeMs / 1000)}` : '';
    if (options.under === undefined || name.startsWith(options.under))
      tree[name] = `${what}${mode} ${stats.uid}:${stats.gid}${time}${xattrs}`;
    if (!stats.isDirectory()) return;
    for (const child of readdirSync(file).sort())
      visit(name === '/' ? `/${child}` : `${name}/${child}`);
  };
  visit('/');
  return tree;
}

function mkdirp(dir: string): string {
  mkdirSync(dir, { recursive: true });
  chownSync(dir, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
  return dir;
}

function probeMount(): boolean {
  if (process.getuid?.() !== 0) return false;
  const folder = makeFolder();
  try {
    const lower = mkdirp(path.join(folder, 'a'));
    return withOverlay([lower, mkdirp(path.join(folder, 'b'))], (root) => existsSync(root));
  } catch {
    return false;
  } finally {
    removeFolder(folder);
  }
}
