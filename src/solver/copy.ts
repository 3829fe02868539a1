import { readlinkSync, lstatSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { extractFile, isArchive } from '../context/extract';
import type { SelectedEntry, SelectedSource } from '../context/selected';
import type { FileContent } from '../context/hash-files';
import { contextTasks } from '../context/tasks';
import { MbuildError } from '../diagnostics/error';
import { batchesOf, eachAtOnce, type BatchLimits } from '../linux/batches';
import { decodeDevice } from '../linux/device-number';
import { fsPath, toRaw, toText, type RawPath } from '../linux/paths';
import type { FileStats } from '../linux/stat';
import { withStopFlag } from '../linux/stop-flag';
import type { Threads } from '../linux/threads';
import { linkSame, type FileCopy } from '../snapshot/copy-files';
import { readKeptXattrs } from '../snapshot/kept-xattrs';
import { splitPath } from '../snapshot/resolve';
import type { Attributes, ParentAttributes, TreeDirectory } from '../snapshot/tree-entry';
import { TreeWriter } from '../snapshot/tree-writer';
import type { OverlayXattrs } from '../snapshot/marks';
import type { MergedView } from '../snapshot/view';
import { applyChmod, changedMeanwhile, parentMode, type CopyInput, type CopyOp } from './copy-op';
import type { EarlierCopy } from './planned';

/** Where a copy goes: the tree below, and the upper directory that takes what is new. */
export interface CopyTarget {
  readonly parent: MergedView;
  readonly dir: RawPath;
  readonly xattrs: OverlayXattrs;
}

export interface CopyOptions {
  /** Stands for the present as the mtime of what is made, in seconds since the epoch. */
  readonly now?: number | undefined;
  /** Used where there is much to copy; without them everything is copied here. */
  readonly threads?: Threads | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * The layer of the same copy before an edit: of a large selection, files that are the same since
   * become further names of the files there.
   */
  readonly earlier?: EarlierCopy | undefined;
  /** Is told what is in each file that was copied. */
  readonly onContent?: ((file: SelectedEntry, content: FileContent) => void) | undefined;
}

type SelectionInput = Extract<CopyInput, { kind: 'selection' }>;

// Below this, a worker's message and start cost more than the copying.
const INLINE_FILES = 64;
const INLINE_BYTES = 4 * 1024 * 1024;
const BATCH: BatchLimits = { items: 400, bytes: 32 * 1024 * 1024 };

/**
 * Copies into a snapshot. The result, mounted over the parent, is what BuildKit leaves:
 * - a directory's contents merge into the destination; directories within take the source's mode,
 *   owner and mtime, the destination itself only the mtime;
 * - files replace files and symlinks, as new inodes; a file never replaces a directory, nor a
 *   directory anything else;
 * - symlinks in the destination path are followed inside the tree; missing parents are made;
 * - hard links within one source are kept, as are setuid, setgid, sticky, capabilities and `user.*`
 * attributes; other extended attributes are dropped. The snapshot is of no use when this throws.
 * @throws MbuildError COPY_FAILED (what is in the way is named; a file that changed since it was
 * selected), ARCHIVE_INVALID, ARCHIVE_UNSAFE, NO_SPACE, CANCELED.
 */
export async function runCopy(
  op: CopyOp,
  target: CopyTarget,
  options: CopyOptions = {},
): Promise<void> {
  const writer = new TreeWriter(target.parent, target.dir, {
    now: options.now,
    xattrs: target.xattrs,
  });
  const copier = new Copier(writer, op, options);
  try {
    for (const input of op.inputs) await copier.input(input);
  } catch (error) {
    throw writeError(error, op.dest);
  }
  writer.finish();
}

class Copier {
  readonly #dest: RawPath;
  /** Of directories that are made to lead somewhere. */
  readonly #parents: ParentAttributes;

  constructor(
    private readonly writer: TreeWriter,
    private readonly op: CopyOp,
    private readonly options: CopyOptions,
  ) {
    this.#dest = toRaw(op.dest);
    this.#parents = { mode: parentMode(op.chmod), ...op.owner };
  }

  async input(input: CopyInput): Promise<void> {
    switch (input.kind) {
      case 'selection':
        for (const source of input.selection.sources) await this.#source(source, input);
        break;
      case 'inline': {
        const { directory, name } = this.#filePlace(toRaw(input.name));
        this.writer.file(directory, name, input.content, this.#fileAttributes(0o644));
        break;
      }
      case 'download': {
        if (input.unpack && (await this.#unpack(input.hostPath))) break;
        const { directory, name } = this.#filePlace(toRaw(input.name));
        const stats = lstatSync(fsPath(input.hostPath));
        const {
          mode,
          uid,
          gid,
          mtime = this.writer.now,
        } = this.#fileAttributes(0o600, input.mtime);
        await this.#copyAll([{ path: name, hostPath: input.hostPath, stats }], () => ({
          from: input.hostPath,
          to: this.writer.place(directory, name),
          mode,
          uid,
          gid,
          mtime,
          seen: stats,
        }));
      }
    }
  }

  async #source(source: SelectedSource, input: SelectionInput): Promise<void> {
    this.options.signal?.throwIfAborted();
    switch (source.kind) {
      case 'file': {
        const [entry] = source.entries;
        if (input.unpack && entry.stats.isFile() && (await this.#unpack(entry.hostPath))) return;
        const { directory, name } = this.#filePlace(source.name);
        return this.#entries(new Map([['', directory]]), [{ ...entry, path: name }], input);
      }
      case 'contents': {
        const directory = this.#directoryPlace();
        await this.#entries(new Map([['', directory]]), source.entries, input);
        return this.writer.setMtime(directory, source.mtime);
      }
      case 'parents':
        if (source.entries.length > 0)
          await this.#entries(new Map([['', this.#directoryPlace()]]), source.entries, input);
    }
  }

  /**
   * Where a file goes: into the destination when that is a directory (or must be one), else it is
   * the destination.
   */
  #filePlace(name: RawPath): { readonly directory: TreeDirectory; readonly name: RawPath } {
    if (this.#dest.endsWith('/'))
      return { directory: this.writer.mkdirAll(this.#dest, this.#parents), name };
    const existing = this.writer.directory(this.#dest);
    if (existing !== undefined) return { directory: existing, name };
    const { dir, name: newName } = splitPath(this.writer.resolve(this.#dest));
    return { directory: this.writer.mkdirAll(dir, this.#parents), name: newName };
  }

  /** Where a directory's contents go. */
  #directoryPlace(): TreeDirectory {
    return this.writer.mkdirAll(this.#dest, this.#parents);
  }

  /**
   * Unpacks an archive into the destination; false when the file is none. --chmod does not apply to
   * what is in it.
   */
  async #unpack(hostPath: RawPath): Promise<boolean> {
    if (!(await isArchive(hostPath))) return false;
    const directory = this.writer.mkdirAll(this.#dest, { ...this.#parents, mode: 0o755 });
    await extractFile(hostPath, this.writer, directory, {
      owner: this.op.owner,
      signal: this.options.signal,
    });
    return true;
  }

  /**
   * Copies the entries of one source. Directories are made at once, files in bulk afterwards, links
   * when their files are there; directories get their final attributes at the end, for all of that
   * changes their mtimes.
   * @param directories by path below the destination: the one for `''`; those of the entries are
   * added.
   */
  async #entries(
    directories: Map<RawPath, TreeDirectory>,
    entries: readonly SelectedEntry[],
    input: SelectionInput,
  ): Promise<void> {
    const files: SelectedEntry[] = [];
    const links: SelectedEntry[] = [];
    const made: (readonly [TreeDirectory, Attributes])[] = [];
    const directoryOf = (path: RawPath): readonly [TreeDirectory, RawPath] => {
      const slash = path.lastIndexOf('/');
      const directory = directories.get(slash < 0 ? '' : path.slice(0, slash));
      if (directory === undefined)
        throw new MbuildError('INTERNAL', `${toText(path)} comes before its directory`);
      return [directory, path.slice(slash + 1)];
    };

    for (const entry of entries) {
      const { path, stats } = entry;
      if (entry.linkTo !== undefined || stats.isFile()) {
        (entry.linkTo === undefined ? files : links).push(entry);
        continue;
      }
      const [directory, name] = directoryOf(path);
      const attributes = this.#treeAttributes(entry, input);
      if (stats.isDirectory()) {
        const result = this.writer.makeDirectory(directory, name, attributes);
        directories.set(path, result.directory);
        if (result.made || entry.implied !== true) made.push([result.directory, attributes]);
      } else {
        this.#special([directory, name], entry, attributes);
      }
    }
    const plan = ({ path, hostPath, stats }: SelectedEntry): FileCopy => {
      const [directory, name] = directoryOf(path);
      const { mode, uid, gid } = this.#entryAttributes(stats, input);
      return {
        from: hostPath,
        to: this.writer.place(directory, name),
        mode,
        uid,
        gid,
        mtime: stats.mtimeMs / 1000,
        seen: stats,
      };
    };
    await this.#copyAll(await this.#linkUnchanged(files, plan), plan);
    for (const { path, linkTo = '' } of links) {
      const [directory, name] = directoryOf(path);
      const [targetDirectory, targetName] = directoryOf(linkTo);
      // What is linked to is a file that was just written: no symlink is on the way.
      this.writer.link(directory, name, `${targetDirectory.path}/${targetName}`);
    }
    for (const [directory, attributes] of made) this.writer.setAttributes(directory, attributes);
  }

  #special(
    [directory, name]: readonly [TreeDirectory, RawPath],
    { hostPath, stats }: SelectedEntry,
    attributes: Attributes,
  ): void {
    if (stats.isSymbolicLink()) {
      const target = readlinkSync(fsPath(hostPath), 'latin1');
      return this.writer.symlink(directory, name, target, attributes);
    }
    const kind = nodeKind(stats);
    // Sockets are somebody's while he runs, and nothing in an image.
    if (kind !== undefined)
      this.writer.node(directory, name, { kind, device: decodeDevice(stats.rdev) }, attributes);
  }

  #entryAttributes(stats: FileStats, { ownership }: SelectionInput): Attributes {
    const owner = ownership === 'root' ? { uid: 0, gid: 0 } : { uid: stats.uid, gid: stats.gid };
    const mode = applyChmod(this.op.chmod, stats.mode & 0o7777, stats.isDirectory());
    return { mode, ...owner, ...this.op.owner, mtime: stats.mtimeMs / 1000 };
  }

  /**
   * The same with the extended attributes, which a directory brings that is not only there to lead
   * somewhere.
   */
  #treeAttributes({ stats, hostPath, implied }: SelectedEntry, input: SelectionInput): Attributes {
    const attributes = this.#entryAttributes(stats, input);
    if (!stats.isDirectory() || implied === true) return attributes;
    return { ...attributes, xattrs: readKeptXattrs(hostPath) };
  }

  #fileAttributes(mode: number, mtime?: number): Attributes {
    return {
      mode: applyChmod(this.op.chmod, mode, false),
      uid: 0,
      gid: 0,
      ...this.op.owner,
      mtime,
    };
  }

  /** Takes over from the earlier copy what it can, and returns the rest. */
  async #linkUnchanged(
    entries: readonly SelectedEntry[],
    plan: (entry: SelectedEntry) => FileCopy,
  ): Promise<readonly SelectedEntry[]> {
    const { earlier, signal } = this.options;
    // What is copied fast anyway keeps files of its own.
    if (earlier === undefined || isSmall(entries)) return entries;
    const rest: SelectedEntry[] = [];
    for (const { items } of batchesOf(entries, () => 0, BATCH)) {
      // Whoever wants to stop this, or to do something else in this thread, has a turn.
      await setImmediate();
      signal?.throwIfAborted();
      rest.push(
        ...items.filter(
          (entry) => !earlier.isUnchanged(entry.path) || !this.#linkTo(earlier, plan(entry)),
        ),
      );
    }
    return rest;
  }

  #linkTo({ dir }: EarlierCopy, copy: FileCopy): boolean {
    return linkSame(`${dir}${copy.to.slice(this.writer.root.hostPath.length)}`, copy);
  }

  /** @param plan makes room for a file, and tells how it is to be copied there. */
  async #copyAll(
    entries: readonly SelectedEntry[],
    plan: (entry: SelectedEntry) => FileCopy,
  ): Promise<void> {
    const [first] = await this.#copyBatches(entries, plan);
    if (first === undefined) return;
    throw changedMeanwhile(first);
  }

  /** The sources that changed meanwhile. */
  async #copyBatches(
    entries: readonly SelectedEntry[],
    plan: (entry: SelectedEntry) => FileCopy,
  ): Promise<readonly RawPath[]> {
    const { threads, signal, onContent } = this.options;
    const tasks =
      threads === undefined || isSmall(entries)
        ? contextTasks
        : threads.remote<typeof contextTasks>('context');
    const changed: RawPath[] = [];
    // As many at a time as there are workers, so that giving up leaves nothing queued.
    await withStopFlag(signal, (stop) =>
      eachAtOnce(
        batchesOf(entries, ({ stats }) => stats.size, BATCH),
        threads?.size ?? 1,
        async ({ items }) => {
          signal?.throwIfAborted();
          // Nothing here holds the plans while they are carried out: of a large tree they are a
          // lot.
          const plans = (): FileCopy[] => items.map((entry) => plainCopy(plan(entry)));
          if (onContent === undefined) {
            changed.push(...(await tasks.copyFiles(plans(), undefined, stop)));
            return;
          }
          const copied = await tasks.copyAndHashFiles(plans(), stop);
          changed.push(...copied.changed);
          if (copied.changed.length > 0) return;
          copied.contents.forEach((content, i) => {
            const file = items[i];
            if (file !== undefined) onContent(file, content);
          });
        },
      ),
    );
    return changed;
  }
}

function nodeKind(stats: FileStats): 'fifo' | 'block' | 'char' | undefined {
  if (stats.isFIFO()) return 'fifo';
  if (stats.isBlockDevice()) return 'block';
  return stats.isCharacterDevice() ? 'char' : undefined;
}

/** True for what is sooner copied than said to a worker. */
function isSmall(entries: readonly SelectedEntry[]): boolean {
  return (
    entries.length <= INLINE_FILES &&
    entries.reduce((sum, { stats }) => sum + stats.size, 0) <= INLINE_BYTES
  );
}

/** Stats do not cross threads as they are. */
function plainCopy({ seen: { ino, size, mtimeMs, ctimeMs }, ...file }: FileCopy): FileCopy {
  return { ...file, seen: { ino, size, mtimeMs, ctimeMs } };
}

function writeError(error: unknown, dest: string): unknown {
  const code = (error as { code?: unknown }).code;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new MbuildError('NO_SPACE', `no space left to copy to ${dest}`, {
      cause: error,
      hint: 'free some space, or move the store with --root',
    });
  if (code === 'ABORT_ERR' || (error as Error).name === 'AbortError')
    return new MbuildError('CANCELED', 'canceled', { cause: error });
  return error;
}
