import { chmodSync, lstatSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { fsPath, type RawPath } from '../linux/paths';
import {
  getOpenXattr,
  getXattr,
  listOpenXattrs,
  listXattrs,
  setXattr,
  type Xattrs,
} from '../linux/xattr';
import { isOverlayXattr } from './marks';

/** File capabilities. */
const CAPABILITY = 'security.capability';
const NONE: Xattrs = new Map();

/**
 * True for an attribute that COPY and ADD keep: capabilities, and what users set (`user.*`) but
 * overlay's and mbuild's own.
 */
export function isKeptXattr(name: string): boolean {
  return name === CAPABILITY || (name.startsWith('user.') && !isOverlayXattr(name));
}

/** What a copy of a file or directory keeps, sorted by name. */
export function readKeptXattrs(path: RawPath): Xattrs {
  return keptOf(listXattrs(path), (name) => getXattr(path, name));
}

/** The same of an open file. */
export function readOpenKeptXattrs(fd: number): Xattrs {
  return keptOf(listOpenXattrs(fd), (name) => getOpenXattr(fd, name));
}

/** Those of an archive's entry that are kept; `undefined` where there are none. */
export function keptXattrs(xattrs: Xattrs): Xattrs | undefined {
  const kept = [...xattrs].filter(([name]) => isKeptXattr(name));
  return kept.length === 0 ? undefined : new Map(kept);
}

/**
 * Sets kept attributes. As with base images, those of users are left out on a file system that has
 * none.
 */
export function setKeptXattrs(path: RawPath, xattrs: Xattrs): void {
  for (const [name, value] of xattrs) {
    try {
      setXattr(path, name, value);
    } catch (error) {
      if (!name.startsWith('user.')) throw error;
      const code = errnoOf(error) ?? '';
      if (code === 'EACCES') setOnReadOnly(path, name, value);
      else if (!['ENOTSUP', 'EOPNOTSUPP', 'EPERM'].includes(code)) throw error;
    }
  }
}

/** Whoever is not root needs the right to write a file, also of his own, to set an attribute. */
function setOnReadOnly(path: RawPath, name: string, value: Buffer): void {
  const { mode } = lstatSync(fsPath(path));
  chmodSync(fsPath(path), (mode & 0o7777) | 0o200);
  try {
    setXattr(path, name, value);
  } finally {
    chmodSync(fsPath(path), mode & 0o7777);
  }
}

/**
 * Kept attributes as a text that is the same for the same attributes, of hex digits, `;` and `=`
 * alone; `undefined` for none. The capability comes first, without a name: keys of files that have
 * no other are what they were before others were kept.
 */
export function xattrsText(xattrs: Xattrs): string | undefined {
  if (xattrs.size === 0) return undefined;
  const capability = xattrs.get(CAPABILITY)?.toString('hex') ?? '';
  const others = [...xattrs]
    .filter(([name]) => name !== CAPABILITY)
    .map(
      ([name, value]) => `;${Buffer.from(name, 'latin1').toString('hex')}=${value.toString('hex')}`,
    );
  return capability + others.join('');
}

function keptOf(names: readonly string[], read: (name: string) => Buffer | undefined): Xattrs {
  if (names.length === 0) return NONE;
  const kept = new Map<string, Buffer>();
  for (const name of names) {
    const value = isKeptXattr(name) ? read(name) : undefined;
    if (value !== undefined) kept.set(name, value);
  }
  return kept;
}
