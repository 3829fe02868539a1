import { createHash } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { batchesOf, eachAtOnce, type BatchLimits } from '../linux/batches';
import { decodeDevice } from '../linux/device-number';
import { fsPath, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { withStopFlag } from '../linux/stop-flag';
import type { Threads } from '../linux/threads';
import { toDigest, type Digest } from '../oci/digest';
import { readKeptXattrs, xattrsText } from '../snapshot/kept-xattrs';
import { hashFiles, type FileContent, type FileToHash, type HashedFile } from './hash-files';
import type { SelectedEntry, Selection } from './selected';
import { isSelectionSettled, selectionSignature } from './selection-memo';
import type { KnownContents, SourceTree } from './source-tree';
import type { contextTasks } from './tasks';

/**
 * One entry of a selection as the cache key sees it: everything that shows in the result but
 * mtimes.
 */
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
  /** Kept attributes of a file or directory, as {@link xattrsText} has them. */
  readonly xattrs?: string | undefined;
  /** Target of a symlink; for a hard link the path of the first name. */
  readonly target?: RawPath | undefined;
  /** `major:minor`. */
  readonly device?: string | undefined;
}

export interface SelectionDigest {
  readonly digest: Digest;
  /**
   * What was hashed, in order: to be stored with the result, so that a later miss can be explained.
   * Made when it is asked for.
   */
  readonly entries: () => Promise<Iterable<EntryRecord>>;
}

/** What is read of an entry. */
interface Content extends Partial<FileContent> {
  /** Where that is not what the stats say. */
  readonly size?: number | undefined;
  /** Of a symlink. */
  readonly target?: RawPath | undefined;
}

/** Reads files, in their order. */
export type ReadFiles = (
  files: readonly SelectedEntry[],
) => Promise<readonly (HashedFile | undefined)[]>;

// Below this, a worker's message and start cost more than the hashing.
const INLINE_FILES = 64;
const INLINE_BYTES = 4 * 1024 * 1024;
const BATCH: BatchLimits = { items: 500, bytes: 16 * 1024 * 1024 };
/** Characters that are hashed at a time. */
const TEXT = 64 * 1024;

/**
 * The digest of all that a selection brings from its tree. Two selections with one digest leave the
 * same tree at the same destination, but for mtimes. What was hashed of a context is remembered for
 * the next build.
 * @param threads used when there is much to hash; without them everything is hashed at once, here.
 * @param read reads what is not known, where it has to be read for something else, too.
 */
export async function digestSelection(
  selection: Selection,
  tree: Pick<SourceTree, 'ownership' | 'known' | 'describe'>,
  threads?: Threads,
  read: ReadFiles = (files) => readFiles(files, threads),
): Promise<SelectionDigest> {
  const { known } = tree;
  const signature = known === undefined ? undefined : selectionSignature(selection);
  const remembered = signature === undefined ? undefined : known?.selections.get(signature);
  if (remembered !== undefined)
    return {
      digest: remembered,
      entries: () => describe(selection, tree, read).then(({ entries }) => entries),
    };
  // What is new is copied next, as a rule: the workers for that start while this thread finds out.
  // After an edit there is little to read or to copy.
  const isNew = known === undefined || known.cache.isEmpty;
  if (
    isNew &&
    selection.sources.reduce((sum, source) => sum + source.entries.length, 0) > INLINE_FILES
  )
    threads?.start();
  const lookedAt = Date.now();
  const { entries, digest, isAsSeen } = await describe(selection, tree, read);
  if (signature !== undefined && isAsSeen && isSelectionSettled(selection, lookedAt))
    known?.selections.put(signature, digest);
  return { digest, entries: () => Promise.resolve(entries) };
}

interface Description {
  readonly digest: Digest;
  readonly entries: Iterable<EntryRecord>;
  /** No file changed between the look at it and the end of its reading, as far as that is known. */
  readonly isAsSeen: boolean;
}

/** Reads what is not known, and hashes all that shows in the result. */
async function describe(
  selection: Selection,
  tree: Pick<SourceTree, 'ownership' | 'known' | 'describe'>,
  read: ReadFiles,
): Promise<Description> {
  const { sources } = selection;
  const all = sources.flatMap((source) => source.entries);
  const { contents, isAsSeen } =
    tree.describe === undefined
      ? await contentsOf(all, tree.known, read)
      : { contents: await tree.describe(all), isAsSeen: false };
  const entries = { [Symbol.iterator]: () => recordsOf(selection, tree.ownership, contents) };
  const hash = createHash('sha256');
  let text = `selection 1|${sources.length}\n`;
  let begun = 0;
  const begin = (until: number): void => {
    for (const source of sources.slice(begun, until))
      text += `${source.kind}|${source.entries.length}\n`;
    begun = until;
  };
  for (const record of entries) {
    if (record.source >= begun) begin(record.source + 1);
    text += frameRecord(record);
    if (text.length < TEXT) continue;
    hash.update(text, 'latin1');
    text = '';
  }
  begin(sources.length);
  return { digest: toDigest(hash.update(text, 'latin1')), entries, isAsSeen };
}

/** One after the other, for the records of a large selection take more room than the selection. */
function* recordsOf(
  { sources }: Selection,
  ownership: SourceTree['ownership'],
  contents: readonly (Content | undefined)[],
): Generator<EntryRecord, void> {
  let at = 0;
  for (const [source, { entries }] of sources.entries()) {
    for (const entry of entries) yield recordOf(entry, source, ownership, contents[at++]);
  }
}

/**
 * No two records are the same text: what may hold any character comes with its length, the rest
 * holds no `|`.
 */
function frameRecord({
  path,
  type,
  mode,
  uid,
  gid,
  size,
  content,
  xattrs,
  target,
  device,
}: EntryRecord): string {
  const facts = `${type}|${mode}|${uid}|${gid}|${size ?? ''}|${content ?? ''}|${xattrs ?? ''}|${device ?? ''}`;
  return target === undefined
    ? `${path.length}:${path}|${facts}\n`
    : `${path.length}:${path}|${facts}|${target.length}:${target}\n`;
}

function recordOf(
  { path, stats, linkTo }: SelectedEntry,
  source: number,
  ownership: SourceTree['ownership'],
  { hash, xattrs, size, target }: Content = {},
): EntryRecord {
  const type = linkTo === undefined ? typeOf(stats) : 'link';
  const isFile = type === 'file';
  return {
    source,
    path,
    type,
    mode: type === 'symlink' ? 0o777 : stats.mode & 0o7777,
    uid: ownership === 'root' ? 0 : stats.uid,
    gid: ownership === 'root' ? 0 : stats.gid,
    size: isFile ? (size ?? stats.size) : undefined,
    content: isFile ? hash : undefined,
    xattrs: isFile || type === 'directory' ? xattrs : undefined,
    target: type === 'symlink' ? target : linkTo,
    device: type === 'char' || type === 'block' ? deviceOf(stats) : undefined,
  };
}

function deviceOf(stats: FileStats): string {
  const { major, minor } = decodeDevice(stats.rdev);
  return `${major}:${minor}`;
}

function typeOf(stats: FileStats): Exclude<EntryRecord['type'], 'link'> {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'symlink';
  if (stats.isFIFO()) return 'fifo';
  return stats.isBlockDevice() ? 'block' : 'char';
}

/**
 * The contents of the files and symlinks among entries, each at its entry's index: from the cache
 * where a file is unchanged, else by reading it.
 */
async function contentsOf(
  entries: readonly SelectedEntry[],
  known: KnownContents | undefined,
  read: ReadFiles,
): Promise<{ contents: readonly (Content | undefined)[]; isAsSeen: boolean }> {
  // A part of a string that is kept anyway.
  const nameOf = ({ treePath, hostPath }: SelectedEntry): RawPath =>
    treePath === undefined ? hostPath.slice((known?.root.length ?? 0) + 1) : treePath.slice(1);
  const unknown: number[] = [];
  const contents = entries.map((entry, index): Content | undefined => {
    const { stats, linkTo } = entry;
    if (stats.isSymbolicLink()) return { target: readlinkSync(fsPath(entry.hostPath), 'latin1') };
    if (stats.isDirectory()) return directoryContent(entry);
    if (linkTo !== undefined || !stats.isFile()) return undefined;
    const content = known?.cache.get(nameOf(entry), stats);
    if (content === undefined) unknown.push(index);
    return content;
  });
  if (unknown.length === 0) return { contents, isAsSeen: true };

  const hashedAt = Date.now();
  const files = unknown.flatMap((index) => entries[index] ?? []);
  const hashed = await read(files);
  hashed.forEach((content, i) => {
    const [index, file] = [unknown[i], files[i]];
    if (index === undefined || file === undefined || content === undefined) return;
    contents[index] = content;
    if (content.changed !== true) known?.cache.put(nameOf(file), file.stats, content, hashedAt);
  });
  known?.cache.save();
  return {
    contents,
    isAsSeen: hashed.every((content) => content !== undefined && content.changed !== true),
  };
}

/** A directory has no content but its attributes, as a rule none. */
function directoryContent({ hostPath, implied }: SelectedEntry): Content | undefined {
  const xattrs = implied === true ? undefined : xattrsText(readKeptXattrs(hostPath));
  return xattrs === undefined ? undefined : { xattrs };
}

/** Reads files for nothing but their content. */
export async function readFiles(
  files: readonly SelectedEntry[],
  threads: Threads | undefined,
  signal?: AbortSignal,
): Promise<readonly (HashedFile | undefined)[]> {
  const bytes = files.reduce((sum, { stats }) => sum + stats.size, 0);
  if (threads === undefined || (files.length <= INLINE_FILES && bytes <= INLINE_BYTES))
    return hashFiles(files.map(fileToHash));
  const remote = threads.remote<typeof contextTasks>('context');
  const hashed = Array.from<HashedFile | undefined>({ length: files.length });
  await withStopFlag(signal, (stop) =>
    eachAtOnce(
      batchesOf(files, ({ stats }) => stats.size, BATCH),
      2 * threads.size,
      async ({ from, items }) => {
        (await remote.hashFiles(items.map(fileToHash), stop)).forEach((file, i) => {
          hashed[from + i] = file;
        });
      },
    ),
  );
  return hashed;
}

function fileToHash({
  hostPath,
  stats: { ino, size, mtimeMs, ctimeMs },
}: SelectedEntry): FileToHash {
  return { hostPath, ino, size, mtimeMs, ctimeMs };
}
