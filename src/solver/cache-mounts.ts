import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { mountFolder, noteMountUse, ownedId } from '../cache/mounts';
import { lock, tryLock } from '../linux/flock';
import { own } from '../linux/owners';
import { toRaw } from '../linux/paths';

/** A cache directory that a step has for its own while it runs. */
export interface CacheMount {
  /** The directory that is mounted. */
  readonly dir: string;
  /** True when it was made just now, and is empty. */
  readonly isNew: boolean;
  readonly release: () => void;
}

/** What identifies a cache, and how its directory is made. */
export interface CacheMountSpec {
  readonly id: string;
  readonly sharing: 'shared' | 'private' | 'locked';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

const MOST_PRIVATE = 1000;

/**
 * Opens the directory of a cache: `<root>/cache/mounts/<hash of the id and its owner>`, so that no
 * id can name a path. `shared` hands it to any number of steps, `locked` to one after the other,
 * `private` gives each step at a time one of its own. The locks are the kernel's and go with the
 * process.
 */
export async function openCacheMount(
  root: string,
  spec: CacheMountSpec,
  signal: AbortSignal,
): Promise<CacheMount> {
  const id = ownedId(spec.id, spec);
  const base = mountFolder(root, id);
  const owned = { ...spec, id };
  if (spec.sharing === 'private') return openPrivate(root, base, owned);
  const fd = openLock(base);
  try {
    await lock(fd, spec.sharing === 'locked' ? 'exclusive' : 'shared', signal);
    return makeDirectory(root, base, owned, fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openPrivate(root: string, base: string, spec: CacheMountSpec): CacheMount {
  for (let i = 0; i < MOST_PRIVATE; i++) {
    const candidate = i === 0 ? base : `${base}-${i}`;
    const fd = openLock(candidate);
    if (tryLock(fd, 'exclusive')) return makeDirectory(root, candidate, spec, fd);
    closeSync(fd);
  }
  throw new Error(`${MOST_PRIVATE} steps use the private cache ${spec.id}`);
}

function openLock(base: string): number {
  mkdirSync(base, { recursive: true, mode: 0o700 });
  return openSync(path.join(base, 'lock'), 'a', 0o600);
}

function makeDirectory(root: string, base: string, spec: CacheMountSpec, fd: number): CacheMount {
  const dir = path.join(base, 'fs');
  const isNew = !existsSync(dir);
  if (isNew) {
    mkdirSync(dir, { mode: 0o755 });
    own(toRaw(dir), spec.uid, spec.gid);
    chmodSync(dir, spec.mode);
  }
  noteMountUse(root, base, spec.id);
  return { dir, isNew, release: () => closeSync(fd) };
}
