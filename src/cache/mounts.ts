import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  utimesSync,
} from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { namesIn, readJson, replaceFile, tempName } from '../content/files';
import { MbuildError } from '../diagnostics/error';
import { tarTree } from '../layer/diff';
import { tryLock } from '../linux/flock';
import { toRaw } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import { treeSize } from '../linux/tree-size';
import { hashValue } from './key';

/** A directory that outlives builds: `RUN --mount=type=cache`. */
export interface KeptMount {
  /** As the Dockerfile has it: `id=`, else the target. */
  readonly id: string;
  /** Where several steps had the id for themselves at the same time, the number of the copy. */
  readonly copy: number;
  /** `UID:GID MODE`, where the Dockerfile gave it any that are not the usual ones. */
  readonly owner?: string | undefined;
  /** It lies over files that an image or a stage gave (`from=`). */
  readonly seeded: boolean;
  /** RFC 3339. */
  readonly created: string;
  readonly used: string;
  readonly bytes: number;
  readonly files: number;
  readonly inUse: boolean;
  /** Its place in the store. */
  readonly folder: string;
}

/** What is written beside a cache's directory. */
interface About {
  readonly id: string;
  readonly created: string;
}

/**
 * Stands between an id and what else makes a cache another one: its owner, and what its content
 * started with.
 */
export const SEED_SEPARATOR = '\0';

const OWNER = 'owner ';

/** Who owns a cache's directory, and its permission bits. */
export interface MountOwner {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/**
 * What a cache is found by: its id, and an owner or a mode of its own, as BuildKit keeps caches
 * apart.
 */
export function ownedId(id: string, { uid, gid, mode }: MountOwner): string {
  if (uid === 0 && gid === 0 && mode === 0o755) return id;
  return `${id}${SEED_SEPARATOR}${OWNER}${uid}:${gid} ${mode.toString(8).padStart(4, '0')}`;
}

/** Where a cache is: `<root>/cache/mounts/<hash of the id>`, so that no id can name a path. */
export function mountFolder(root: string, id: string): string {
  return path.join(mountsFolder(root), hashValue(['cache mount', id]));
}

/** Says, beside a cache, what its id is and that it was used just now. */
export function noteMountUse(root: string, folder: string, id: string): void {
  const file = path.join(folder, 'about.json');
  const now = new Date();
  if (existsSync(file)) utimesSync(file, now, now);
  else replaceFile(root, file, JSON.stringify({ id, created: now.toISOString() } satisfies About));
}

/** All caches, by id. Their files are counted. */
export function listMounts(root: string): KeptMount[] {
  const folder = mountsFolder(root);
  return namesIn(folder)
    .flatMap((name): KeptMount[] => {
      const place = path.join(folder, name);
      const dir = path.join(place, 'fs');
      if (!existsSync(dir)) return [];
      const about = readJson<About>(path.join(place, 'about.json'));
      const [id = '', ...more] = (about?.id ?? `(${name.slice(0, 12)})`).split(SEED_SEPARATOR);
      const owner = more.find((part) => part.startsWith(OWNER))?.slice(OWNER.length);
      const used =
        statSync(path.join(place, 'about.json'), { throwIfNoEntry: false })?.mtime ??
        statSync(dir).mtime;
      return [
        {
          id,
          copy: Number(/-(\d+)$/.exec(name)?.[1] ?? 0),
          owner,
          seeded: more.some((part) => !part.startsWith(OWNER)),
          created: about?.created ?? used.toISOString(),
          used: used.toISOString(),
          ...treeSize(dir),
          inUse: !withLock(place, () => undefined),
          folder: place,
        },
      ];
    })
    .sort(byIdAndCopy);
}

function byIdAndCopy(a: KeptMount, b: KeptMount): number {
  if (a.id === b.id) return a.copy - b.copy;
  return a.id < b.id ? -1 : 1;
}

/** The content of a cache as a tar. @throws MbuildError USAGE when there is none of that id. */
export function exportMount(root: string, id: string): AsyncIterable<Buffer> {
  return tarTree(toRaw(mountContent(root, id)), { xattrs: 'trusted' });
}

/**
 * The directory that a cache's files are in: that of the usual owner, else the only one of another.
 * @throws MbuildError USAGE when there is none of that id, or when several owners have one.
 */
export function mountContent(root: string, id: string): string {
  const dir = path.join(mountFolder(root, id), 'fs');
  if (existsSync(dir)) return dir;
  const [only, ...others] = listMounts(root).filter(
    (mount) => mount.id === id && mount.copy === 0 && !mount.seeded,
  );
  if (only === undefined) throw noMount(id);
  if (others.length > 0)
    throw new MbuildError('USAGE', `several owners have a cache mount ${id}`, {
      hint: "list them with 'mbuild cache-mount ls', and give each its own id=",
    });
  return path.join(only.folder, 'fs');
}

/**
 * Puts the files of a tar (compressed or not) in the place of a cache's content. A cache of that id
 * is made if there is none.
 * @throws MbuildError ARCHIVE_INVALID, ARCHIVE_UNSAFE, STORE_LOCKED when a step uses it; it then is
 * as it was.
 */
export async function importMount(root: string, id: string, tar: Readable): Promise<void> {
  const [{ extractArchive }, { TreeWriter }, { EMPTY_VIEW }] = await Promise.all([
    import('../context/extract'),
    import('../snapshot/tree-writer'),
    import('../snapshot/merged-view'),
  ]);
  const folder = mountFolder(root, id);
  const temp = tempName(root, 'mount');
  mkdirSync(temp, { recursive: true, mode: 0o755 });
  try {
    const writer = new TreeWriter(EMPTY_VIEW, toRaw(temp));
    await extractArchive(tar, writer, writer.root);
    writer.finish();
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const done = withLock(folder, () => {
      removeTree(path.join(folder, 'fs'));
      renameSync(temp, path.join(folder, 'fs'));
    });
    if (!done) throw inUse(id);
    noteMountUse(root, folder, id);
  } finally {
    removeTree(temp);
  }
}

/** Deletes a cache. @throws MbuildError STORE_LOCKED when a step uses it. */
export function removeMount(mount: Pick<KeptMount, 'id' | 'folder'>): void {
  // The lock's file stays: a step that waits for it would else hold the lock of a file that nobody
  // sees any more.
  const done = withLock(mount.folder, () => {
    for (const name of readdirSync(mount.folder))
      if (name !== 'lock') removeTree(path.join(mount.folder, name));
  });
  if (!done) throw inUse(mount.id);
}

function mountsFolder(root: string): string {
  return path.join(root, 'cache', 'mounts');
}

/** Does something while no step has the cache; false when one has. */
function withLock(folder: string, work: () => void): boolean {
  const fd = openSync(path.join(folder, 'lock'), 'a', 0o600);
  try {
    if (!tryLock(fd, 'exclusive')) return false;
    work();
    return true;
  } finally {
    closeSync(fd);
  }
}

function noMount(id: string): MbuildError {
  return new MbuildError('USAGE', `the cache mount ${id} does not exist`, {
    hint: "list them with 'mbuild cache-mount ls'",
  });
}

function inUse(id: string): MbuildError {
  return new MbuildError('STORE_LOCKED', `the cache mount ${id} is in use by a step`, {
    hint: 'wait until its build has ended',
  });
}
