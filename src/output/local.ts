import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import { MbuildError, errnoOf } from '../diagnostics/error';
import { HUGE, copyPieces } from '../linux/copy-pieces';
import { makeDirectories } from '../linux/make-directories';
import { makeNode } from '../linux/mknod';
import { fsPath, toRaw, type RawPath } from '../linux/paths';
import { removeFile, removeTree } from '../linux/remove-tree';
import { setXattr } from '../linux/xattr';
import { setTimes } from '../linux/times';
import { outerUid } from '../sandbox/namespaces/outer-user';
import { outputError } from './destination';
import type { Exporter, ExportServices } from './exporter';
import { treeEntries, type TreeEntry } from './tree';

/** Entries that are written before other work gets its turn. */
const AT_ONCE = 256;

/**
 * `--output type=local`: the files of one image in a folder, which is made when it is not there.
 * Files of the same name are replaced, others stay. Modes, links, times and attributes are kept,
 * owners only by root, who alone may give files away: whoever is root in mbuild's own user
 * namespace alone could not delete them outside of it.
 * @param mtime of all entries, in seconds since the epoch; their own when absent.
 */
export function localExporter(
  folder: string,
  services: Pick<ExportServices, 'snapshots'>,
  mtime?: number,
): Exporter {
  return {
    async export(images, _vertex, scope) {
      const [only, ...others] = images;
      if (only === undefined || others.length > 0)
        throw new MbuildError('USAGE', 'a directory can hold the files of only one image');
      try {
        makeDirectories(folder);
        const view = services.snapshots.view(only.image.stack);
        await writeTree(withTimes(treeEntries(view), mtime), toRaw(folder), scope.signal);
      } catch (error) {
        throw outputError(error, folder, scope.signal);
      }
      return { descriptors: [] };
    },
  };
}

/** Writes a file in the place of whatever has its name; a link is not followed. */
export function replaceText(file: string, text: string, signal: AbortSignal): void {
  const temp = `${file}.${randomBytes(6).toString('hex')}.partial`;
  try {
    writeFileSync(temp, text, { flag: 'wx' });
    renameSync(temp, file);
  } catch (error) {
    removeFile(temp);
    throw outputError(error, file, signal);
  }
}

/** Empties a directory; one that is not there stays so. A link is not followed. */
export function emptyDirectory(directory: string): void {
  const there = lstatSync(directory, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isDirectory())
    throw new MbuildError('USAGE', `mode=delete: ${directory} is not a directory`);
  for (const name of readdirSync(directory)) removeTree(path.join(directory, name));
}

/** Entries with the same time all, where one is given: seconds since the epoch. */
function* withTimes(entries: Iterable<TreeEntry>, mtime: number | undefined): Generator<TreeEntry> {
  for (const item of entries)
    yield mtime === undefined ? item : { ...item, entry: { ...item.entry, mtime } };
}

async function writeTree(
  entries: Iterable<TreeEntry>,
  folder: RawPath,
  signal: AbortSignal,
): Promise<void> {
  const asRoot = process.getuid?.() === 0 && outerUid(process.env) === undefined;
  const directories: TreeEntry[] = [];
  let written = 0;
  for (const item of entries) {
    if (++written % AT_ONCE === 0) {
      await breathe();
      signal.throwIfAborted();
    }
    const target = `${folder}/${item.entry.path}`;
    if (item.entry.type === 'directory') {
      makeDirectory(target);
      directories.push(item);
      continue;
    }
    if (item.entry.type === 'file' && item.entry.size >= HUGE)
      await writeHuge(item.source, clear(target), signal);
    else writeNode(item, clear(target), folder);
    if (item.entry.type !== 'link') setAttributes(item, target, asRoot);
  }
  // Last, and the deepest first: a mode may forbid writing, and writing changes the time.
  for (const item of directories.reverse())
    setAttributes(item, `${folder}/${item.entry.path}`, asRoot);
}

/** A directory, never one that a symlink in the folder leads to. */
function makeDirectory(target: RawPath): void {
  const there = lstatSync(fsPath(target), { throwIfNoEntry: false });
  if (there?.isDirectory()) return;
  if (there !== undefined) unlinkSync(fsPath(target));
  mkdirSync(fsPath(target), { mode: 0o700 });
}

/** A place where nothing is. */
function clear(target: RawPath): RawPath {
  if (lstatSync(fsPath(target), { throwIfNoEntry: false }) !== undefined)
    removeTree(fsPath(target));
  return target;
}

/** Signals are heard meanwhile. */
async function writeHuge(source: RawPath, target: RawPath, signal: AbortSignal): Promise<void> {
  const from = openSync(fsPath(source), constants.O_RDONLY | constants.O_NOFOLLOW);
  const to = openSync(
    fsPath(target),
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    for (const pieces = copyPieces(from, to); pieces.next().done !== true;) {
      await breathe();
      signal.throwIfAborted();
    }
  } finally {
    closeSync(from);
    closeSync(to);
  }
}

function writeNode({ entry, source }: TreeEntry, target: RawPath, folder: RawPath): void {
  switch (entry.type) {
    case 'link':
      return linkSync(fsPath(`${folder}/${entry.linkPath}`), fsPath(target));
    case 'symlink':
      return symlinkSync(fsPath(entry.linkPath), fsPath(target));
    case 'file':
      return copyFileSync(
        fsPath(source),
        fsPath(target),
        constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL,
      );
    case 'directory':
      return;
    default:
      makeNode(target, entry.type, entry.mode, entry.device);
  }
}

/** Root of a container has not always all ids: what belongs to another stays root's. */
function setOwner(target: RawPath, { uid, gid }: TreeEntry['entry']): void {
  try {
    lchownSync(fsPath(target), uid, gid);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
  }
}

function setAttributes({ entry }: TreeEntry, target: RawPath, asRoot: boolean): void {
  if (asRoot) setOwner(target, entry);
  // From version 22 on, Node.js gives a copy the owner of what was copied, where it may.
  else if (entry.type === 'file')
    chownSync(fsPath(target), process.geteuid?.() ?? 0, process.getegid?.() ?? 0);
  // After chown, which takes setuid, setgid and security.capability away.
  if (entry.type !== 'symlink') chmodSync(fsPath(target), entry.mode);
  for (const [name, value] of entry.xattrs) {
    if (asRoot || name.startsWith('user.')) setXattr(target, name, value);
  }
  setTimes(target, entry.mtime, entry.mtime);
}
