import { constants } from 'node:os';
import { libc, once } from '../../linux/libc';

/*
 * The listener of a filter that has `notify` among its verdicts: a descriptor on which the kernel tells of such calls, and on which they are
 * answered, while who made them waits. seccomp_unotify(2), linux/seccomp.h.
 */

/** A call that waits for an answer. */
export interface Notification {
  readonly id: bigint;
  /** Of the thread, as this process sees it. */
  readonly tid: number;
  readonly nr: number;
  /** AUDIT_ARCH_*. */
  readonly arch: number;
  readonly args: readonly bigint[];
}

/**
 * struct seccomp_notif: id, pid, flags, and struct seccomp_data with number, architecture,
 * instruction pointer and six arguments.
 */
const NOTIFICATION = { size: 80, pid: 8, nr: 16, arch: 20, args: 32 } as const;
/** struct seccomp_notif_resp: id, value, error, flags. */
const RESPONSE = { size: 24, error: 16, flags: 20 } as const;
const FLAG_CONTINUE = 1;
/** SECCOMP_IOCTL_NOTIF_*. */
const REQUEST = {
  RECV: 0xc0502100,
  SEND: 0xc0182101,
  ID_VALID: 0x40082102,
  SET_FLAGS: 0x40082104,
} as const;
const FD_SYNC_WAKE_UP = 1;

const ioctl = once(() => libc().func('int ioctl(int fd, unsigned long request, void *argument)'));
const setFlags = once(() =>
  libc().func('int ioctl(int fd, unsigned long request, unsigned long flags)'),
);
const poll = once(() => libc().func('int poll(void *fds, unsigned long count, int timeout)'));

/** linux/poll.h */
const POLLIN = 1;

/**
 * Waits until a call waits on a listener, or nobody is left who could make one, or `stop` has
 * something to say or its other end is closed.
 * @param timeout milliseconds.
 */
export function waitForCall(
  listener: number,
  stop: number,
  timeout: number,
): 'call' | 'end' | 'nothing' {
  const polls = Buffer.alloc(16); // two struct pollfd: descriptor, events, what happened
  [listener, stop].forEach((fd, i) => {
    polls.writeInt32LE(fd, i * 8);
    polls.writeInt16LE(POLLIN, i * 8 + 4);
  });
  if (poll()(polls, 2, timeout) < 0 && libc().errno() !== constants.errno.EINTR)
    throw libc().error('poll');
  const [onListener, onStop] = [polls.readInt16LE(6), polls.readInt16LE(14)];
  if ((onListener & POLLIN) !== 0) return 'call';
  return onListener !== 0 || onStop !== 0 ? 'end' : 'nothing';
}

/**
 * Lets the two sides take turns on one processor, which waits for no other to wake up; from Linux
 * 6.6 on.
 */
export function takeTurns(listener: number): void {
  setFlags()(listener, REQUEST.SET_FLAGS, FD_SYNC_WAKE_UP);
}

/** The next call that waits; `undefined` when who made it was gone just now. */
export function receive(listener: number): Notification | undefined {
  const bytes = Buffer.alloc(NOTIFICATION.size); // zeros, which the kernel asks for
  if (ioctl()(listener, REQUEST.RECV, bytes) < 0) {
    if ([constants.errno.ENOENT, constants.errno.EINTR].includes(libc().errno())) return undefined;
    throw libc().error('ioctl');
  }
  return {
    id: bytes.readBigUInt64LE(0),
    tid: bytes.readUInt32LE(NOTIFICATION.pid),
    nr: bytes.readInt32LE(NOTIFICATION.nr),
    arch: bytes.readUInt32LE(NOTIFICATION.arch),
    args: Array.from({ length: 6 }, (_, i) => bytes.readBigUInt64LE(NOTIFICATION.args + i * 8)),
  };
}

/**
 * False when who made the call is gone: what was found under its thread's number may be another
 * one's.
 */
export function isWaiting(listener: number, { id }: Notification): boolean {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(id);
  return ioctl()(listener, REQUEST.ID_VALID, bytes) === 0;
}

/**
 * Lets the call return zero, fail with an errno (as in `os.constants.errno`), or be made after all.
 */
export function answer(listener: number, { id }: Notification, result: number | 'continue'): void {
  const bytes = Buffer.alloc(RESPONSE.size);
  bytes.writeBigUInt64LE(id);
  if (result === 'continue') bytes.writeUInt32LE(FLAG_CONTINUE, RESPONSE.flags);
  else bytes.writeInt32LE(-result, RESPONSE.error);
  if (ioctl()(listener, REQUEST.SEND, bytes) < 0 && libc().errno() !== constants.errno.ENOENT)
    throw libc().error('ioctl');
}
