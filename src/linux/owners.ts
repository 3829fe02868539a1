import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lchownSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
} from 'node:fs';
import path from 'node:path';
import { encodeDevice, type DeviceNumber } from './device-number';
import { isInUserNamespace, mappedIds } from './id-map';
import { libc, once } from './libc';
import { linkOwner, setLinkOwner } from './link-owners';
import { makeNode, type NodeKind } from './mknod';
import type { Owner } from './owner';
import { markOwner, markedOwner } from './owner-mark';
import { fsPath, type RawPath } from './paths';
import { fstatOf, lstatOf, type FileStats } from './stat';
import {
  getFollowedXattr,
  getOpenXattr,
  getXattr,
  removeXattr,
  setOpenXattr,
  setXattr,
} from './xattr';

/*
 * An ordinary user without ids of other users can give no file away. What a file of a tree is said to be then stands beside it, in an
 * attribute of its own, which hard links, renames and the kernel's copy-up take along, and which changes at once or not at all:
 * owner, device, and the mode where the file itself must keep another one. Symlinks, named pipes and sockets can have no such
 * attribute; theirs is in their directory's (see link-owners.ts). What has none belongs to root.
 */

/** What stands beside a file. */
interface Note extends Owner {
  /** What its mode is said to be, for as long as the file's own is `real`. */
  readonly mode?: { readonly said: number; readonly real: number } | undefined;
  /** What the (empty) file stands for. */
  readonly device?: (DeviceNumber & { readonly kind: 'char' | 'block' }) | undefined;
}

const NOTE = 'user.mbuild.owner';
const PERMISSIONS = 0o7777;
const TYPES = 0o170000;
const TYPE_OF = { char: 0o020000, block: 0o060000 } as const;
/** Capabilities by number; linux/capability.h. */
const CAP_CHOWN = 0n;
const CAP_DAC_OVERRIDE = 1n;

const AT_EMPTY_PATH = 0x1000;
const fchownat = once(() =>
  libc().func(
    'int fchownat(int dir, const char *path, unsigned int uid, unsigned int gid, int flags)',
  ),
);

/** True where owners stand beside the files, because this process can give none away. */
export const keepsOwners: () => boolean = once(
  () => !holds(CAP_CHOWN) || (isInUserNamespace() && mappedIds() === 1),
);

/** True where this process is kept off its own files by their modes. */
const isBoundByModes: () => boolean = once(() => !holds(CAP_DAC_OVERRIDE));

/** True for an attribute in which this module keeps something: it is no part of any tree. */
export function isOwnerXattr(name: string): boolean {
  return name.startsWith('user.mbuild.');
}

/** Who a file belongs to that this process makes. */
export function bornOwner(): Owner {
  return keepsOwners() ? ROOT : { uid: process.geteuid?.() ?? -1, gid: process.getegid?.() ?? -1 };
}

const ROOT: Owner = { uid: 0, gid: 0 };

/**
 * What is at a path of a tree, a symlink itself included, as the tree says that it is; `undefined`
 * when nothing is.
 */
export function lstatOwned(file: RawPath): FileStats | undefined {
  const stats = lstatOf(file);
  if (stats === undefined || !keepsOwners()) return stats;
  const note = canHaveNote(stats)
    ? readNote(file)
    : linkOwner(path.posix.dirname(file), path.posix.basename(file));
  return new NotedStats(stats, note ?? ROOT);
}

/** A file as it is said to be. */
class NotedStats implements FileStats {
  constructor(
    private readonly real: FileStats,
    private readonly note: Note,
  ) {}

  get dev(): number {
    return this.real.dev;
  }
  get ino(): number {
    return this.real.ino;
  }
  get nlink(): number {
    return this.real.nlink;
  }
  get uid(): number {
    return this.note.uid;
  }
  get gid(): number {
    return this.note.gid;
  }
  get mode(): number {
    return modeOf(this.real, this.note);
  }
  get rdev(): number {
    return this.note.device === undefined
      ? this.real.rdev
      : encodeDevice(this.note.device.major, this.note.device.minor);
  }
  get size(): number {
    return this.note.device === undefined ? this.real.size : 0;
  }
  get atimeMs(): number {
    return this.real.atimeMs;
  }
  get mtimeMs(): number {
    return this.real.mtimeMs;
  }
  get ctimeMs(): number {
    return this.real.ctimeMs;
  }
  get birthtimeMs(): number {
    return this.real.birthtimeMs;
  }

  isFile(): boolean {
    return this.note.device === undefined && this.real.isFile();
  }
  isDirectory(): boolean {
    return this.real.isDirectory();
  }
  isSymbolicLink(): boolean {
    return this.real.isSymbolicLink();
  }
  isFIFO(): boolean {
    return this.real.isFIFO();
  }
  isSocket(): boolean {
    return this.real.isSocket();
  }
  isCharacterDevice(): boolean {
    return this.note.device?.kind === 'char' || this.real.isCharacterDevice();
  }
  isBlockDevice(): boolean {
    return this.note.device?.kind === 'block' || this.real.isBlockDevice();
  }
}

function modeOf({ mode: own }: FileStats, { mode, device }: Note): number {
  const said =
    mode !== undefined && mode.real === (own & PERMISSIONS) ? mode.said : own & PERMISSIONS;
  return said | (device === undefined ? own & TYPES : TYPE_OF[device.kind]);
}

/** Gives what is at a path to somebody; a symlink is not followed. */
export function own(file: RawPath, uid: number, gid: number): void {
  if (!keepsOwners()) {
    lchownSync(fsPath(file), uid, gid);
    return;
  }
  if (canHaveNote(lstatSync(fsPath(file)))) change(file, { uid, gid });
  else setLinkOwner(path.posix.dirname(file), path.posix.basename(file), { uid, gid });
}

/** The same for an open file, which is at `file`. */
export function ownOpen(fd: number, file: RawPath, uid: number, gid: number): void {
  if (keepsOwners()) change(file, { uid, gid });
  else fchownSync(fd, uid, gid);
}

/**
 * What chown(2) would do to a file if its new owner were there: that stands beside it, said also
 * where it is root, so that it is told from what nobody gave away; setuid, setgid and capabilities
 * go as they do. What can have no attribute is marked, for {@link takeMark}.
 * @param fd may be one that only names the file (O_PATH).
 * @param to who is left away stays.
 * @param ownerBefore asked what was said of a file that can have no attribute.
 * @throws the errors of fchownat(2) and fsetxattr(2); EOVERFLOW for an id that no mark can hold.
 */
export function giveAway(
  fd: number,
  to: Partial<Owner>,
  ownerBefore: () => Owner | undefined,
): void {
  const id = (wanted: number | undefined): number => (wanted === undefined ? -1 : 0);
  if (fchownat()(fd, '', id(to.uid), id(to.gid), AT_EMPTY_PATH) < 0) throw libc().error('fchownat');
  if (!canHaveNote(fstatOf(fd))) {
    const known =
      to.uid === undefined || to.gid === undefined ? givenOwner(fd, ownerBefore) : undefined;
    markOwner(fd, { ...(known ?? ROOT), ...to });
    return;
  }
  const open = openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    setOpenXattr(
      open,
      NOTE,
      Buffer.from(
        formatNote({ ...(parseNote(getOpenXattr(open, NOTE)) ?? ROOT), ...to }),
        'latin1',
      ),
    );
  } finally {
    closeSync(open);
  }
}

/**
 * Whom an open file is said to belong to, be it by a note or by a mark.
 * @param fd may be one that only names the file (O_PATH).
 * @param linkOwner asked what is said of a file that can have no attribute.
 */
export function givenOwner(fd: number, linkOwner: () => Owner | undefined): Owner | undefined {
  const file = `/proc/self/fd/${fd}`;
  if (!canHaveNote(fstatOf(fd))) return markedOwner(file, true) ?? linkOwner();
  return parseNote(getFollowedXattr(file, NOTE));
}

/** Sets the permission bits of what is at a path, which is no symlink. */
export function setMode(file: RawPath, mode: number): void {
  chmodSync(fsPath(file), realMode(file, mode));
}

/** The same for an open file, which is at `file`. */
export function setOpenMode(fd: number, file: RawPath, mode: number): void {
  fchmodSync(fd, realMode(file, mode));
}

/** The mode that the file itself gets; what it is said to be is noted where that is another one. */
function realMode(file: RawPath, mode: number): number {
  if (!keepsOwners() || !isBoundByModes()) return mode;
  const stats = lstatSync(fsPath(file));
  const real = mode | (stats.isDirectory() ? 0o700 : 0o600);
  if (canHaveNote(stats)) change(file, { mode: real === mode ? undefined : { said: mode, real } });
  return real;
}

/**
 * Makes a node; where devices cannot be made, an empty file that stands for one. The process's
 * umask applies.
 */
export function makeOwnedNode(
  file: RawPath,
  kind: NodeKind,
  mode: number,
  device: DeviceNumber,
): void {
  if (!keepsOwners() || (kind !== 'char' && kind !== 'block')) {
    makeNode(file, kind, mode, device);
    return;
  }
  closeSync(openSync(fsPath(file), 'wx', mode));
  change(file, { device: { ...device, kind } });
}

/** A further name of a file, which belongs to whom the file does. */
export function linkOwned(from: RawPath, to: RawPath): void {
  linkSync(fsPath(from), fsPath(to));
  if (!keepsOwners() || canHaveNote(lstatSync(fsPath(from)))) return;
  const { uid, gid } = linkOwner(path.posix.dirname(from), path.posix.basename(from)) ?? ROOT;
  own(to, uid, gid);
}

/**
 * True for a file beside which something stands already: what a step without ids of others made has
 * nothing.
 */
export function hasNote(file: RawPath): boolean {
  return readNote(file) !== undefined;
}

/** user.* attributes are for files and directories alone; xattr(7). */
function canHaveNote(stats: Pick<FileStats, 'isFile' | 'isDirectory'>): boolean {
  return stats.isFile() || stats.isDirectory();
}

function change(file: RawPath, changed: Partial<Note>): void {
  const note = { ...(readNote(file) ?? ROOT), ...changed };
  if (note.uid === 0 && note.gid === 0 && note.mode === undefined && note.device === undefined)
    removeXattr(file, NOTE);
  else setXattr(file, NOTE, Buffer.from(formatNote(note), 'latin1'));
}

function formatNote({ uid, gid, mode, device }: Note): string {
  const modes = mode === undefined ? '' : ` mode=${mode.said.toString(8)}/${mode.real.toString(8)}`;
  return `${uid}:${gid}${modes}${device === undefined ? '' : ` ${device.kind}=${device.major}:${device.minor}`}`;
}

function readNote(file: RawPath): Note | undefined {
  return parseNote(getXattr(file, NOTE));
}

/** A step may have written what it likes there: what is not valid counts as nothing. */
function parseNote(bytes: Buffer | undefined): Note | undefined {
  const text = bytes?.toString('latin1');
  const found =
    text === undefined
      ? null
      : /^(\d{1,10}):(\d{1,10})(?: mode=([0-7]{1,4})\/([0-7]{1,4}))?(?: (char|block)=(\d{1,5}):(\d{1,7}))?$/.exec(
          text,
        );
  if (found === null) return undefined;
  const [, uid, gid, said, real, kind, major, minor] = found;
  return {
    uid: Number(uid),
    gid: Number(gid),
    mode:
      said === undefined || real === undefined
        ? undefined
        : { said: parseInt(said, 8), real: parseInt(real, 8) },
    // 0:0 would be a deletion.
    device:
      (kind === 'char' || kind === 'block') && (Number(major) > 0 || Number(minor) > 0)
        ? { kind, major: Number(major), minor: Number(minor) }
        : undefined,
  };
}

/** Whether this process may now do what a capability allows; proc_pid_status(5). */
function holds(capability: bigint): boolean {
  const [, hex = '0'] =
    /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
  return ((BigInt(`0x${hex}`) >> capability) & 1n) === 1n;
}
