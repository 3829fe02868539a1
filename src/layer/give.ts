import { ftruncateSync, lstatSync } from 'node:fs';
import { errnoOf } from '../diagnostics/error';
import type { Owner } from '../linux/owner';
import { bornOwner, keepsOwners, own, ownOpen, setMode, setOpenMode } from '../linux/owners';
import { fsPath, type RawPath } from '../linux/paths';
import { setOpenTimes, setTimes } from '../linux/times';
import { setXattr, type Xattrs } from '../linux/xattr';
import type { OverlayXattrs } from './layer';
import { isOverlayXattr } from './marks';
import { NO_XATTRS, type TarEntry } from './tar/entry';

/** A file that is being written. */
export interface OpenFile {
  readonly fd: number;
  readonly host: RawPath;
  readonly entry: TarEntry;
  /** Where its next bytes go. */
  position: number;
}

/** Gives what was unpacked the attributes that its entries have. */
export class Giver {
  /** Whom files are born with; `undefined` where the directory decides that. */
  readonly #born: Owner | undefined;

  /**
   * @param dir the directory that is unpacked into.
   * @param umask of this process.
   */
  constructor(
    dir: RawPath,
    private readonly xattrs: OverlayXattrs,
    private readonly umask: number,
  ) {
    // In a directory with the setgid bit, files are not born with this process's group.
    const inherits = (lstatSync(fsPath(dir)).mode & 0o2000) !== 0;
    this.#born = inherits ? undefined : bornOwner();
  }

  /** @param hasHoles whether a part of it may have been skipped. */
  file({ fd, host, entry, position }: OpenFile, hasHoles: boolean): void {
    // A hole at the end was skipped, not written.
    if (entry.size > 0 && position === entry.size && hasHoles) ftruncateSync(fd, entry.size);
    if (this.#needsOwner(entry)) ownOpen(fd, host, entry.uid, entry.gid);
    if (keepsOwners() || entry.mode !== (entry.mode & 0o777 & ~this.umask))
      setOpenMode(fd, host, entry.mode);
    // Writing and changing the owner drop capabilities, so they come after.
    if (entry.xattrs !== NO_XATTRS) this.#setXattrs(host, entry.xattrs);
    setOpenTimes(fd, entry.mtime, entry.mtime);
  }

  directory(host: RawPath, entry: TarEntry): void {
    if (this.#needsOwner(entry)) own(host, entry.uid, entry.gid);
    setMode(host, entry.mode);
    this.#setXattrs(host, entry.xattrs);
    setTimes(host, entry.mtime, entry.mtime);
  }

  /** For symlinks and nodes, which were made with the mode as far as the umask lets it. */
  other(host: RawPath, entry: TarEntry): void {
    const hasMode = entry.type !== 'symlink';
    if (hasMode && (entry.mode & ~this.umask) !== entry.mode) setMode(host, entry.mode);
    // What was here before may have had an owner that stands in the directory.
    if (keepsOwners() || this.#needsOwner(entry)) {
      own(host, entry.uid, entry.gid);
      // A change of owner takes setuid and setgid away.
      if (hasMode && entry.mode > 0o777) setMode(host, entry.mode);
    }
    this.#setXattrs(host, entry.xattrs);
    setTimes(host, entry.mtime, entry.mtime);
  }

  #needsOwner(entry: TarEntry): boolean {
    return this.#born === undefined || entry.uid !== this.#born.uid || entry.gid !== this.#born.gid;
  }

  /**
   * Attributes that the file system or the kind of file cannot have are left out, as other builders
   * do.
   */
  #setXattrs(host: RawPath, xattrs: Xattrs): void {
    for (const [name, value] of xattrs) {
      if (isOverlayXattr(name)) continue;
      try {
        setXattr(host, name, value);
      } catch (error) {
        const code = errnoOf(error);
        const mayFail =
          code === 'ENOTSUP' ||
          code === 'EOPNOTSUPP' ||
          (code === 'EPERM' && (name.startsWith('user.') || this.xattrs !== 'trusted'));
        if (!mayFail) throw error;
      }
    }
  }
}
