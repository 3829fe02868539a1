import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import { makeWhiteout } from '../linux/mknod';
import { linkOwned, makeOwnedNode } from '../linux/owners';
import { fsPath, toText, type RawPath } from '../linux/paths';
import { removeTree } from '../linux/remove-tree';
import type { StopFlag } from '../linux/stop-flag';
import { setTimes } from '../linux/times';
import { writeAll } from '../linux/write-all';
import { invalid, partsOf, unsafe } from './entry-names';
import { Giver, type OpenFile } from './give';
import { checkEntries, checkSize, type ApplyLimits, type OverlayXattrs } from './layer';
import { MadeTable, OTHER, WHITEOUT, type MadeDirectory } from './made';
import { AUFS_PREFIX, OPAQUE_MARK, WHITEOUT_PREFIX, joinRaw, markOpaque, parentOf } from './marks';
import { ParentTree, copyAttributes, copyUp } from './parents';
import type { TarEntry } from './tar/entry';
import { explained } from './tar/explain';
import type { TarSink } from './tar/read';

/** How a layer is unpacked. */
export interface ApplyOptions {
  /** Which of overlay's two sets of marks to write. */
  readonly xattrs: OverlayXattrs;
  readonly limits: ApplyLimits;
  /**
   * The directories of the layers below, top first (`[]` for a first layer). Names lead through
   * their symlinks as in the merged tree, inside its root; a name that crosses a symlink of its own
   * layer is refused in any case.
   */
  readonly parents?: readonly string[] | undefined;
  /** Looked at between the pieces of the layer. */
  readonly stop?: StopFlag | undefined;
}

const MAX_SYMLINKS = 40;
const WHILE_UNPACKING = 0o700;
const FRESH_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Writes the entries of a layer's tar into an empty directory that nobody else writes to, in
 * overlay's form.
 *
 * What is written where never depends on what the disk says: a table holds all that this layer
 * made, every directory of a path is one that is in the table, and so no call can be led through a
 * symlink. Later entries replace earlier ones.
 */
export class Unpacker implements TarSink {
  entries = 0;
  contentSize = 0;
  readonly #made = new MadeTable();
  readonly #parents: ParentTree | undefined;
  readonly #give: Giver;
  #file: OpenFile | undefined;
  #holes = 0;

  constructor(
    private readonly dir: RawPath,
    private readonly options: ApplyOptions,
    umask: number,
  ) {
    this.#parents =
      options.parents === undefined ? undefined : new ParentTree(options.parents, options.xattrs);
    this.#give = new Giver(dir, options.xattrs, umask);
  }

  entry(entry: TarEntry): void {
    this.entries++;
    checkEntries('layer', this.entries, this.options.limits);
    const parts = partsOf(entry.path, entry);
    const name = parts.pop();
    explained(entry, () => {
      if (name === undefined) this.#setRoot(entry);
      else if (
        parts.some((part) => part.startsWith(WHITEOUT_PREFIX)) ||
        name.startsWith(WHITEOUT_PREFIX)
      )
        this.#mark(entry, parts, name);
      else this.#make(entry, joinRaw(this.#directory(parts, entry), name));
    });
  }

  data(bytes: Buffer): void {
    const file = this.#file;
    if (file === undefined) return;
    explained(file.entry, () => writeAll(file.fd, bytes, file.position));
    file.position += bytes.length;
  }

  hole(length: number): void {
    this.#holes += length;
    checkSize('layer', this.#holes, this.options.limits);
    if (this.#file !== undefined) this.#file.position += length;
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    explained(file.entry, () => {
      try {
        this.#give.file(file, this.#holes > 0);
      } finally {
        closeSync(file.fd);
      }
    });
  }

  /**
   * Gives directories their attributes, deepest first: before, writing into them would have changed
   * their times.
   */
  finish(): {
    readonly implied: readonly RawPath[];
    readonly foreignLinks: readonly (readonly [RawPath, RawPath])[];
  } {
    if (this.#made.root.opaque) this.#hideAll();
    const implied: RawPath[] = [];
    const foreignLinks: (readonly [RawPath, RawPath])[] = [];
    const directories: (readonly [RawPath, MadeDirectory])[] = [];
    for (const [path, made] of this.#made) {
      if (made.kind === 'foreign') foreignLinks.push([path, made.target]);
      if (made.kind !== 'directory') continue;
      directories.push([path, made]);
      if (made.attributes === undefined) implied.push(path);
    }
    for (const [path, made] of directories.sort(([a], [b]) => (a < b ? 1 : -1)))
      this.#finishDirectory(path, made);
    return { implied: implied.sort(), foreignLinks };
  }

  /** Closes what is open; for when unpacking ends early. */
  abort(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #setRoot(entry: TarEntry): void {
    if (entry.type !== 'directory') throw unsafe(entry, 'it would replace the root');
    this.#made.root.attributes = entry;
  }

  /** A whiteout, an opaque mark, or one of aufs's leftovers. */
  #mark(entry: TarEntry, parts: readonly string[], name: RawPath): void {
    const isLeftover = [...parts, name].some(
      (part) => part.startsWith(AUFS_PREFIX) && part !== OPAQUE_MARK,
    );
    if (isLeftover) return;
    if (parts.some((part) => part.startsWith(WHITEOUT_PREFIX)))
      throw unsafe(entry, 'it is inside a deletion mark');
    const directory = this.#directory(parts, entry);
    if (name === OPAQUE_MARK) {
      const made = this.#made.get(directory);
      if (made?.kind === 'directory') made.opaque = made.cut = true;
      return;
    }
    const hidden = name.slice(WHITEOUT_PREFIX.length);
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw unsafe(entry, 'it does not name what it deletes');
    const path = joinRaw(directory, hidden);
    const made = this.#made.get(path);
    // A mark is about the layers below: what this one has at the name stays (OCI image-spec,
    // layer.md).
    if (made?.kind === 'directory') made.opaque = made.cut = true;
    if (made !== undefined) return;
    this.#whiteOut(path);
  }

  #whiteOut(path: RawPath): void {
    makeWhiteout(this.#host(path), this.options.xattrs === 'files' ? 'socket' : 'device');
    this.#made.note(path, WHITEOUT);
  }

  #make(entry: TarEntry, path: RawPath): void {
    const host = this.#host(path);
    switch (entry.type) {
      case 'directory':
        this.#makeDirectory(path, entry);
        return;
      case 'file':
        this.#clear(path);
        this.#file = {
          fd: openSync(fsPath(host), FRESH_FILE, entry.mode & 0o777),
          host,
          entry,
          position: 0,
        };
        this.#made.note(path, OTHER);
        this.contentSize += entry.size;
        return;
      case 'symlink':
        if (entry.linkPath === '') throw invalid(entry, 'its target is empty');
        this.#clear(path);
        symlinkSync(fsPath(entry.linkPath), fsPath(host));
        this.#made.note(path, { kind: 'symlink', target: entry.linkPath });
        break;
      case 'link':
        this.#link(entry, path);
        return;
      case 'char':
      case 'block':
      case 'fifo':
        if (entry.type === 'char' && entry.device.major === 0 && entry.device.minor === 0)
          throw unsafe(entry, 'a device 0:0 means a deletion in an overlay');
        this.#clear(path);
        if (!this.#makeNode(entry, entry.type, host)) return;
        this.#made.note(path, OTHER);
        break;
    }
    this.#give.other(host, entry);
  }

  /**
   * False where devices cannot be made: in a user namespace they are left out, as other builders
   * do.
   */
  #makeNode(entry: TarEntry, kind: 'char' | 'block' | 'fifo', host: RawPath): boolean {
    try {
      makeOwnedNode(host, kind, entry.mode, entry.device);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'EPERM' && this.options.xattrs !== 'trusted') return false;
      throw error;
    }
  }

  #makeDirectory(path: RawPath, entry: TarEntry): void {
    const before = this.#made.get(path);
    if (before?.kind === 'directory') {
      before.attributes = entry;
      return;
    }
    this.#clear(path);
    // What stood at the name hid what the layers below have there, and so must the directory.
    this.#newDirectory(path, entry, before !== undefined);
  }

  #newDirectory(path: RawPath, attributes: TarEntry | undefined, opaque: boolean): MadeDirectory {
    mkdirSync(fsPath(this.#host(path)), WHILE_UNPACKING);
    const made: MadeDirectory = {
      kind: 'directory',
      attributes,
      opaque,
      cut: opaque || this.#made.directory(parentOf(path))?.cut === true,
      children: [],
    };
    this.#made.note(path, made);
    return made;
  }

  #link(entry: TarEntry, path: RawPath): void {
    const parts = partsOf(entry.linkPath, entry);
    const name = parts.pop();
    if (name === undefined) throw invalid(entry, 'its target is the root');
    const target = joinRaw(this.#directory(parts, entry, false), name);
    const made = this.#made.get(target);
    if (made?.kind === 'directory') throw invalid(entry, 'its target is a directory');
    if (made?.kind === 'whiteout') throw invalid(entry, 'its target is deleted');
    if (target === path && made !== undefined) return;
    if (made?.kind === 'foreign' || (made === undefined && this.#parents === undefined)) {
      this.#clear(path);
      this.#made.note(path, {
        kind: 'foreign',
        target: made?.kind === 'foreign' ? made.target : target,
      });
      return;
    }
    if (made === undefined) this.#copyUp(entry, parts, target);
    if (target === path) return;
    this.#clear(path);
    linkOwned(this.#host(target), this.#host(path));
    this.#made.note(path, this.#made.get(target) ?? OTHER);
  }

  /**
   * Brings the target of a hard link up from the layers below, so that both names are one file in
   * this layer.
   */
  #copyUp(entry: TarEntry, parts: readonly string[], target: RawPath): void {
    const below = this.#below(this.#directory(parts, entry), target);
    if (below === undefined)
      throw invalid(entry, `its target ${toText(entry.linkPath)} does not exist`);
    if (!below.stats.isFile())
      throw invalid(entry, `its target ${toText(entry.linkPath)} is not a regular file`);
    copyUp(below, this.#host(target));
    this.#made.note(target, OTHER);
    this.contentSize += below.stats.size;
  }

  /**
   * The directory that a path's leading parts name, made where it is missing. Symlinks of the
   * layers below are followed inside the root, those of this layer refused.
   * @param make false to leave missing directories unmade: the result is then where they would be.
   */
  #directory(parts: readonly string[], entry: TarEntry, make = true): RawPath {
    const direct = parts.join('/');
    if (this.#made.get(direct)?.kind === 'directory') return direct;

    const rest = [...parts];
    let path: RawPath = '';
    let links = 0;
    const follow = (target: RawPath): void => {
      links++;
      if (links > MAX_SYMLINKS) throw invalid(entry, 'it leads through too many symbolic links');
      if (target.startsWith('/')) path = '';
      rest.unshift(...target.split('/'));
    };
    for (let part = rest.shift(); part !== undefined; part = rest.shift()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        path = parentOf(path);
        continue;
      }
      const next = joinRaw(path, part);
      const made = this.#made.get(next);
      if (made?.kind === 'directory') path = next;
      else if (made?.kind === 'symlink') {
        // No file system gives such a tar: what lies behind a link is stored under its own name.
        throw unsafe(entry, `it leads through the symbolic link ${toText(next)} of the same layer`);
      } else if (made === undefined || made.kind === 'whiteout') {
        const below = made === undefined ? this.#below(path, next) : undefined;
        if (below?.stats.isSymbolicLink() === true) follow(this.#parents?.readlink(below) ?? '');
        else {
          if (make) this.#implyDirectory(next, made === WHITEOUT);
          path = next;
        }
      } else throw invalid(entry, `${toText(next)} is not a directory`);
    }
    return path;
  }

  #below(directory: RawPath, path: RawPath): ReturnType<ParentTree['lstat']> {
    return this.#made.directory(directory)?.cut === true ? undefined : this.#parents?.lstat(path);
  }

  #implyDirectory(path: RawPath, opaque: boolean): void {
    if (opaque) unlinkSync(fsPath(this.#host(path)));
    this.#newDirectory(path, undefined, opaque);
  }

  /** Takes away what this layer has at a path. */
  #clear(path: RawPath): void {
    const made = this.#made.get(path);
    if (made === undefined) return;
    if (made.kind === 'directory') removeTree(fsPath(this.#host(path)));
    else if (made.kind !== 'foreign') unlinkSync(fsPath(this.#host(path)));
    this.#made.forget(path);
  }

  /**
   * Overlay merges the roots of all layers whatever their marks, so an opaque root hides name by
   * name.
   */
  #hideAll(): void {
    for (const name of this.#parents?.names('') ?? []) {
      const made = this.#made.get(name);
      if (made?.kind === 'directory') made.opaque = made.cut = true;
      if (made !== undefined) continue;
      this.#whiteOut(name);
    }
  }

  #finishDirectory(path: RawPath, made: MadeDirectory): void {
    const host = this.#host(path);
    const { attributes } = made;
    if (made.opaque) markOpaque(host, this.options.xattrs);
    if (attributes === undefined) {
      const below = this.#below(parentOf(path), path);
      if (below?.stats.isDirectory() === true) copyAttributes(below, host);
      else {
        chmodSync(fsPath(host), 0o755);
        setTimes(host, 0, 0);
      }
      return;
    }
    this.#give.directory(host, attributes);
  }

  #host(path: RawPath): RawPath {
    return path === '' ? this.dir : `${this.dir}/${path}`;
  }
}
