import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { posix } from 'node:path';
import { errnoOf } from '../../diagnostics/error';
import { linkOwner } from '../../linux/link-owners';
import { giveAway, givenOwner } from '../../linux/owners';
import type { RawPath } from '../../linux/paths';
import type { Tasks } from '../../linux/threads';
import type { Arch } from '../namespaces/init/interpreter';
import { AT_EMPTY_PATH, AT_FDCWD } from '../namespaces/init/syscalls';
import { ALWAYS_ALLOWED } from './calls';
import {
  answer,
  isWaiting,
  receive,
  takeTurns,
  waitForCall,
  type Notification,
} from './notification';
import { ABIS_OF, AUDIT_ARCH, BECOMING, GIVING, SHOWING, numberOf } from './profile';
import { SHOWN_AT, statOf, statxOf } from './shown';
import type { Supervision } from './supervision';
import { Tracee, failure, type FileName } from './tracee';

/** A supervised call. */
interface Call {
  readonly name: string;
  /** 16 in the oldest calls of 32-bit programs. */
  readonly idBits: 16 | 32;
}

const AT_SYMLINK_NOFOLLOW = 0x100;
/** As the kernel has it. */
const MAX_LINKS = 40;
/**
 * Milliseconds after which a thread that waits is in JavaScript again for a moment, where it can be
 * ended.
 */
const BREATH = 500;
const { EOVERFLOW, ENOSPC, E2BIG, ERANGE, ENOTSUP } = constants.errno;
/** The errors of an attribute or mark that cannot be; chown(2) has none of them. */
const CANNOT_KEEP: ReadonlySet<number> = new Set([EOVERFLOW, ENOSPC, E2BIG, ERANGE, ENOTSUP]);

/** Tasks of a thread that is given to one supervisor at a time. */
export const supervisorTasks = { supervise } satisfies Tasks;

/**
 * Answers what a filter asks on its listener, until `stop` says something or its other end is
 * closed. Whom files are given to is kept beside them (linux/owners.ts), for what is on the mount
 * of the process's root, and shown; elsewhere, and for becoming another user, success is pretended.
 */
function supervise(listener: number, stop: number, arch: Arch): Supervision {
  const calls = supervisedCalls(arch);
  const users = new Set<number>();
  let lost = 0;
  takeTurns(listener);
  for (;;) {
    const event = waitForCall(listener, stop, BREATH);
    if (event === 'end') return { users: [...users], lost };
    const notification = event === 'call' ? receive(listener) : undefined;
    if (notification === undefined) continue;
    const call = calls.get(`${notification.arch} ${notification.nr}`);
    const user = call === undefined ? undefined : newUser(call, notification.args);
    if (user !== undefined) users.add(user);
    const result = call === undefined ? 'continue' : answerOf(listener, notification, call);
    const cannotKeep = typeof result === 'number' && CANNOT_KEEP.has(result);
    if (cannotKeep) lost++;
    answer(listener, notification, cannotKeep ? 0 : result);
  }
}

/** @returns the errno that the call is to fail with, 0 for success, or that it is to be made. */
function answerOf(listener: number, notification: Notification, call: Call): number | 'continue' {
  if (isBecoming(call.name)) return 0;
  return isShowing(call.name)
    ? show(listener, notification, call.name)
    : give(listener, notification, call);
}

/** @returns the errno that the call is to fail with; 0 for success. */
function give(listener: number, notification: Notification, call: Call): number {
  const { args } = notification;
  const tracee = new Tracee(notification.tid);
  let name: FileName | undefined;
  try {
    name = fileOf(call.name, args, tracee);
    const fd = tracee.open(name);
    try {
      if (!isWaiting(listener, notification) || !tracee.isOnRoot(fd)) return 0;
      const [uid, gid] = idsOf(call, args);
      giveAway(
        fd,
        { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) },
        () => tracee.inDirectoryOf(fd, linkOwner),
      );
      return 0;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const errno = -((error as NodeJS.ErrnoException).errno ?? 0);
    if (errno <= 0) throw error;
    return name !== undefined && isOfProc(error, name, tracee) ? 0 : errno;
  }
}

/**
 * Shows whose a file is said to be; where that is root, or nothing is known, the kernel may do it.
 */
function show(
  listener: number,
  notification: Notification,
  name: keyof typeof SHOWN_AT,
): 'continue' | 0 {
  const { args, arch } = notification;
  const tracee = new Tracee(notification.tid);
  try {
    const fd = tracee.open(shownFile(name, args, tracee));
    try {
      const owner = givenOwner(fd, () => tracee.inDirectoryOf(fd, linkOwner));
      if (owner === undefined || (owner.uid === 0 && owner.gid === 0)) return 'continue';
      const shown = name === 'statx' ? statxOf(fd, int(args[2]), int(args[3])) : statOf(fd, arch);
      if (shown === undefined) return 'continue';
      shown.bytes.writeUInt32LE(owner.uid, shown.uid);
      shown.bytes.writeUInt32LE(owner.gid, shown.uid + 4);
      tracee.write(args[SHOWN_AT[name]] ?? 0n, shown.bytes, () =>
        isWaiting(listener, notification),
      );
      return 0;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno === undefined) throw error;
    return 'continue';
  }
}

/**
 * True where a path was lost on its way through the thread's own /proc, which only the thread sees:
 * /dev/stdout. Its streams are no files of a tree.
 */
function isOfProc(error: unknown, name: FileName, tracee: Tracee): boolean {
  const code = errnoOf(error);
  if (code === 'ELOOP' || code === 'EXDEV') return true; // a magic link
  return code === 'ENOENT' && leadsToProc(name, tracee);
}

function leadsToProc({ dir, path, follows }: FileName, tracee: Tracee, links = 0): boolean {
  if (/^\/(proc|dev)\//.test(path)) return true;
  const target =
    follows && path !== '' && links < MAX_LINKS
      ? tracee.readLink({ dir, path, follows: false })
      : undefined;
  return (
    target !== undefined &&
    leadsToProc(
      {
        dir,
        path: target.startsWith('/') ? target : posix.join(posix.dirname(path), target),
        follows,
      },
      tracee,
      links + 1,
    )
  );
}

function fileOf(name: string, args: readonly bigint[], tracee: Tracee): FileName {
  const path = (argument: number): string => tracee.readPath(args[argument] ?? 0n);
  if (name.startsWith('fchown') && name !== 'fchownat')
    return { dir: int(args[0]), path: '', follows: true };
  if (name !== 'fchownat') {
    return { dir: AT_FDCWD, path: nonEmpty(path(0)), follows: !name.startsWith('lchown') };
  }
  const flags = int(args[4]);
  return {
    dir: int(args[0]),
    path: (flags & AT_EMPTY_PATH) === 0 ? nonEmpty(path(1)) : path(1),
    follows: (flags & AT_SYMLINK_NOFOLLOW) === 0,
  };
}

function shownFile(name: keyof typeof SHOWN_AT, args: readonly bigint[], tracee: Tracee): FileName {
  const path = (argument: number): RawPath => nonEmpty(tracee.readPath(args[argument] ?? 0n));
  if (name === 'stat' || name === 'lstat')
    return { dir: AT_FDCWD, path: path(0), follows: name === 'stat' };
  const flags = int(name === 'statx' ? args[2] : args[3]);
  return { dir: int(args[0]), path: path(1), follows: (flags & AT_SYMLINK_NOFOLLOW) === 0 };
}

function nonEmpty(path: RawPath): RawPath {
  if (path === '') throw failure('ENOENT');
  return path;
}

/** Whom a call gives a file to; `undefined` for -1, which leaves as it is. */
function idsOf(
  { name, idBits }: Call,
  args: readonly bigint[],
): readonly [uid: number | undefined, gid: number | undefined] {
  const first = name === 'fchownat' ? 2 : 1;
  return [idOf(args[first], idBits), idOf(args[first + 1], idBits)];
}

function newUser({ name, idBits }: Call, args: readonly bigint[]): number | undefined {
  const user = isBecoming(name) ? idOf(args[BECOMING[name]], idBits) : undefined;
  return user === 0 ? undefined : user;
}

function isShowing(name: string): name is keyof typeof SHOWN_AT {
  return name in SHOWN_AT;
}

function isBecoming(name: string): name is keyof typeof BECOMING {
  return name in BECOMING;
}

function idOf(argument: bigint | undefined, bits: 16 | 32): number | undefined {
  const id = Number(BigInt.asUintN(bits, argument ?? -1n));
  return id === 2 ** bits - 1 ? undefined : id;
}

function int(argument: bigint | undefined): number {
  return Number(BigInt.asIntN(32, argument ?? 0n));
}

/** What {@link stepFilter} asks a supervisor, by architecture and number. */
function supervisedCalls(arch: Arch): ReadonlyMap<string, Call> {
  const names = new Set<string>([...GIVING, ...SHOWING, ...Object.keys(BECOMING)]);
  return new Map(
    ABIS_OF[arch].flatMap((abi) =>
      ALWAYS_ALLOWED.filter(([name]) => names.has(name)).map((call): [string, Call] => {
        const [name] = call;
        const isOld =
          (abi === 'x86' || abi === 'arm') && name !== 'fchownat' && !name.endsWith('32');
        return [
          `${AUDIT_ARCH[abi]} ${numberOf(call, abi)}`,
          { name: name.replace(/32$/, ''), idBits: isOld ? 16 : 32 },
        ];
      }),
    ),
  );
}
