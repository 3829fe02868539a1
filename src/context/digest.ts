import { createHash } from 'node:crypto';
import { readlinkSync, type Stats } from 'node:fs';
import { decodeDevice } from '../linux/mknod';
import { fsPath, type RawPath } from '../linux/paths';
import type { Threads } from '../linux/threads';
import { toDigest, type Digest } from '../oci/digest';
import { hashFiles, type FileContent, type FileToHash, type HashedFile } from './hash-files';
import type { SelectedEntry, Selection } from './selection';
import type { KnownContents, SourceTree } from './source-tree';
import type { contextTasks } from './tasks';

/** One entry of a selection as the cache key sees it: everything that shows in the result but mtimes. */
export interface EntryRecord {
  /** Index of the source in the selection that brings it. */
  readonly source: number;
  readonly path: RawPath;
  readonly type: 'file' | 'directory' | 'symlink' | 'link' | 'fifo' | 'char' | 'block';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** A file's bytes. */
  readonly size?: number | undefined;
  /** A file's sha256, hex. */
  readonly content?: string | undefined;
  readonly capability?: string | undefined;
  /** Target of a symlink; for a hard link the path of the first name. */
  readonly target?: RawPath | undefined;
  /** `major:minor`. */
  readonly device?: string | undefined;
}

export interface SelectionDigest {
  readonly digest: Digest;
  /** What was hashed, in order: to be stored with the result, so that a later miss can be explained. */
  readonly entries: readonly EntryRecord[];
}

// Below this, a worker's message and start cost more than the hashing.
const INLINE_FILES = 64;
const INLINE_BYTES = 4 * 1024 * 1024;
const BATCH_FILES = 500;
const BATCH_BYTES = 16 * 1024 * 1024;

/**
 * The digest of all that a selection brings from its tree. Two selections with one digest leave the same tree at the same
 * destination, but for mtimes. What was hashed of a context is remembered for the next build.
 * @param threads used when there is much to hash; without them everything is hashed at once, here.
 */
export async function digestSelection(selection: Selection, tree: Pick<SourceTree, 'ownership' | 'known'>, threads?: Threads): Promise<SelectionDigest> {
  const contents = await contentsOf(selection, tree.known, threads);
  const entries = selection.sources.flatMap((source, index) => source.entries.map((entry) => recordOf(entry, index, tree.ownership, contents)));
  const hash = createHash('sha256').update(frame('selection 1', String(selection.sources.length)), 'latin1');
  let text = '';
  selection.sources.forEach((source, index) => (text += frame('source', String(index), source.kind, String(source.entries.length))));
  for (const entry of entries) text += frameRecord(entry);
  return { digest: toDigest(hash.update(text, 'latin1')), entries };
}

/** Each field with its length before it, so that no two lists of fields are the same text. */
function frame(...fields: readonly (string | undefined)[]): string {
  let text = '';
  for (const field of fields) text += field === undefined ? '-' : `${field.length}:${field}`;
  return text;
}

function frameRecord(entry: EntryRecord): string {
  return frame(String(entry.source), entry.path, entry.type, entry.mode.toString(8), `${entry.uid}:${entry.gid}`,
    entry.size === undefined ? undefined : String(entry.size), entry.content, entry.capability, entry.target, entry.device);
}

function recordOf({ path, hostPath, stats, linkTo }: SelectedEntry, source: number, ownership: SourceTree['ownership'], contents: ReadonlyMap<RawPath, FileContent>): EntryRecord {
  const type: EntryRecord['type'] = linkTo === undefined ? typeOf(stats) : 'link';
  const owner = ownership === 'root' ? { uid: 0, gid: 0 } : { uid: stats.uid, gid: stats.gid };
  const base: EntryRecord = { source, path, type, mode: type === 'symlink' ? 0o777 : stats.mode & 0o7777, ...owner };
  switch (type) {
    case 'link':
      return { ...base, target: linkTo };
    case 'symlink':
      return { ...base, target: readlinkSync(fsPath(hostPath), 'latin1') };
    case 'char':
    case 'block': {
      const { major, minor } = decodeDevice(stats.rdev);
      return { ...base, device: `${major}:${minor}` };
    }
    case 'file': {
      const content = contents.get(hostPath);
      return { ...base, size: stats.size, content: content?.hash, capability: content?.capability };
    }
    default:
      return base;
  }
}

function typeOf(stats: Stats): Exclude<EntryRecord['type'], 'link'> {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  return stats.isBlockDevice() ? 'block' : 'char';
}

/** Contents by path on the host: from the cache where a file is unchanged, else by reading it. */
async function contentsOf(selection: Selection, known: KnownContents | undefined, threads: Threads | undefined): Promise<ReadonlyMap<RawPath, FileContent>> {
  const contents = new Map<RawPath, FileContent>();
  const unknown = new Map<RawPath, SelectedEntry>();
  const nameOf = (hostPath: RawPath): RawPath => hostPath.slice((known?.root.length ?? 0) + 1);
  for (const entry of selection.sources.flatMap((source) => source.entries)) {
    const { hostPath, stats, linkTo } = entry;
    if (linkTo !== undefined || !stats.isFile() || contents.has(hostPath)) continue;
    const content = known?.cache.get(nameOf(hostPath), stats);
    if (content === undefined) unknown.set(hostPath, entry);
    else contents.set(hostPath, content);
  }
  const hashedAt = Date.now();
  const entries = [...unknown.values()];
  const hashed = await hashAll(entries.map(({ hostPath, stats: { ino, size, mtimeMs, ctimeMs } }) => ({ hostPath, ino, size, mtimeMs, ctimeMs })), threads);
  entries.forEach(({ hostPath, stats }, i) => {
    const file = hashed[i];
    if (file === undefined) return;
    contents.set(hostPath, file);
    if (file.steady) known?.cache.put(nameOf(hostPath), stats, file, hashedAt);
  });
  known?.cache.save();
  return contents;
}

async function hashAll(files: readonly FileToHash[], threads: Threads | undefined): Promise<HashedFile[]> {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  if (threads === undefined || (files.length <= INLINE_FILES && bytes <= INLINE_BYTES)) return hashFiles(files);
  const batches: FileToHash[][] = [];
  let room = 0;
  for (const file of files) {
    const last = batches.at(-1);
    if (last === undefined || last.length >= BATCH_FILES || room < file.size) {
      batches.push([file]);
      room = BATCH_BYTES - file.size;
    } else {
      last.push(file);
      room -= file.size;
    }
  }
  const remote = threads.remote<typeof contextTasks>('context');
  return (await Promise.all(batches.map((batch) => remote.hashFiles(batch)))).flat();
}
