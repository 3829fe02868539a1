import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../../diagnostics/error';
import { makeNode } from '../../linux/mknod';
import { own, setMode } from '../../linux/owners';
import { fsPath, toRaw, toText, type RawPath } from '../../linux/paths';
import { removeTree } from '../../linux/remove-tree';
import { BorrowedTree, pathWithoutLinks } from '../borrowed-tree';
import type { Mount, ProcessSpec } from '../sandbox';
import { isRewritten } from '../watched-files';

/** Something that stands in the tree for the time of a command. */
interface Placed {
  readonly target: RawPath;
  /** Where the tree's own entry of that name is meanwhile. */
  readonly original?: RawPath | undefined;
  /** A directory that was moved in and goes back. */
  readonly source?: RawPath | undefined;
  /** The bytes of a file that is watched. */
  readonly content?: Uint8Array | undefined;
}

const DEVICES: readonly (readonly [name: string, major: number, minor: number])[] = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
];

/**
 * What would be mounted where mounts can be made, put into the tree itself: files are written,
 * directories moved there. The tree's own entries are kept aside. Afterwards all is as it was but
 * for what the command changed; nothing that it may have turned into a link is followed.
 */
export class Placements {
  readonly #aside: RawPath;
  readonly #placed: Placed[] = [];
  readonly #tree: BorrowedTree;
  readonly #rewritten: RawPath[] = [];

  /** @param state a directory on the tree's file system. */
  constructor(
    private readonly root: RawPath,
    state: string,
  ) {
    this.#tree = new BorrowedTree(root);
    this.#aside = toRaw(mkdtempSync(path.join(state, 'aside-')));
  }

  put({ mounts, mountPoints }: Pick<ProcessSpec, 'mounts' | 'mountPoints'>): void {
    this.#devices();
    this.#tree.make(mountPoints.filter(({ kind }) => kind === 'directory'));
    for (const mount of mounts) this.#mount(mount);
    this.#tree.ready();
  }

  /** Puts all back. @returns the watched files that the command left with other bytes. */
  undo(): readonly RawPath[] {
    this.#tree.restore(() => {
      for (const placed of this.#placed.splice(0).reverse()) this.#takeBack(placed);
    });
    removeTree(fsPath(this.#aside));
    return this.#rewritten;
  }

  #mount(mount: Mount): void {
    switch (mount.kind) {
      case 'file': {
        const content = mount.watched === true ? mount.content : undefined;
        const host = this.#clear({ target: mount.target, content });
        writeFileSync(fsPath(host), mount.content, { mode: 0o600, flag: 'wx' });
        own(host, mount.uid, mount.gid);
        setMode(host, mount.mode);
        return;
      }
      case 'tmpfs': {
        const host = this.#clear({ target: mount.target });
        mkdirSync(fsPath(host), { mode: 0o700 });
        chmodSync(fsPath(host), mount.mode ?? 0o1777);
        return;
      }
      case 'bind':
        this.#bind(mount.source, mount.subpath, mount.target);
        return;
      case 'host':
        throw new MbuildError(
          'UNSUPPORTED',
          `cannot mount ${toText(mount.source)} of the host in a step: mounts are not possible here`,
          { hint: 'to learn why, run `mbuild doctor`' },
        );
      case 'overlay':
        throw new MbuildError(
          'UNSUPPORTED',
          `cannot mount on ${toText(mount.target)}: overlay mounts are not possible here`,
        );
    }
  }

  #bind(dir: RawPath, subpath: RawPath, target: RawPath): void {
    const source = pathWithoutLinks(dir, subpath);
    if (source === undefined)
      throw new MbuildError(
        'SANDBOX_FAILED',
        `cannot mount ${toText(subpath)} of ${toText(dir)}: it does not exist, or leads through a symbolic link`,
      );
    const isDirectory = lstatSync(fsPath(source)).isDirectory();
    const host = this.#clear({ target, source: isDirectory ? source : undefined });
    try {
      if (isDirectory) renameSync(fsPath(source), fsPath(host));
      else linkSync(fsPath(source), fsPath(host));
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT')
        throw new MbuildError('SANDBOX_FAILED', `${toText(source)} is in use by another step`, {
          cause,
        });
      if (errnoOf(cause) !== 'EXDEV') throw cause;
      throw new MbuildError(
        'UNSUPPORTED',
        `cannot mount ${toText(source)}: it is on a different file system than the store, and mounts are not possible here`,
        { cause },
      );
    }
  }

  /**
   * A /dev with the devices that every program expects; what cannot be made is left out, but
   * /dev/null is a file then.
   */
  #devices(): void {
    if (lstatSync(fsPath(`${this.root}/dev`), { throwIfNoEntry: false })?.isSymbolicLink() === true)
      return;
    const dev = this.#clear({ target: '/dev' });
    mkdirSync(fsPath(dev), { mode: 0o755 });
    for (const [name, major, minor] of DEVICES) {
      try {
        makeNode(`${dev}/${name}`, 'char', 0o666, { major, minor });
      } catch (error) {
        if (errnoOf(error) !== 'EPERM') throw error;
        if (name === 'null') writeFileSync(fsPath(`${dev}/${name}`), '');
        else continue;
      }
      chmodSync(fsPath(`${dev}/${name}`), 0o666);
    }
    mkdirSync(fsPath(`${dev}/shm`));
    chmodSync(fsPath(`${dev}/shm`), 0o1777);
    for (const [to, name] of [
      ['/proc/self/fd', 'fd'],
      ['/proc/self/fd/0', 'stdin'],
      ['/proc/self/fd/1', 'stdout'],
      ['/proc/self/fd/2', 'stderr'],
    ] as const) {
      symlinkSync(to, fsPath(`${dev}/${name}`));
      own(`${dev}/${name}`, 0, 0);
    }
  }

  /** Makes room at a target; returns its path on the host. */
  #clear(placed: Placed): RawPath {
    const host = `${this.root}${placed.target}`;
    this.#tree.touch(placed.target);
    const isThere = lstatSync(fsPath(host), { throwIfNoEntry: false }) !== undefined;
    const original = isThere ? `${this.#aside}/${this.#placed.length}` : undefined;
    if (original !== undefined) renameSync(fsPath(host), fsPath(original));
    this.#placed.push({ ...placed, original });
    return host;
  }

  #takeBack({ target, original, source, content }: Placed): void {
    const parent = pathWithoutLinks(this.root, path.posix.dirname(target));
    const isThere = parent !== undefined && lstatSync(fsPath(parent)).isDirectory();
    const host = isThere ? `${parent}/${path.posix.basename(target)}` : undefined;
    const stats =
      host === undefined ? undefined : lstatSync(fsPath(host), { throwIfNoEntry: false });
    if (content !== undefined && (host === undefined || isRewritten(host, content)))
      this.#rewritten.push(target);
    if (source !== undefined) {
      if (host !== undefined && stats?.isDirectory() === true)
        renameSync(fsPath(host), fsPath(source));
      else if (lstatSync(fsPath(source), { throwIfNoEntry: false }) === undefined)
        mkdirSync(fsPath(source), { mode: 0o755 });
    } else if (host !== undefined && stats !== undefined) {
      removeTree(fsPath(host));
    }
    if (original !== undefined && host !== undefined) renameSync(fsPath(original), fsPath(host));
  }
}
