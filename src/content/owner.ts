import type { ProcessIdentity } from '../linux/process';

/**
 * A process as part of a file name, so that what it leaves behind when killed is known as garbage.
 */
export function formatOwner(owner: ProcessIdentity): string {
  return `${owner.pid}-${owner.startTime}-${owner.boot}-${owner.pidNamespace}`;
}

/** Reads what {@link formatOwner} wrote; `undefined` for anything else. */
export function parseOwner(text: string): ProcessIdentity | undefined {
  const [, pid, startTime, boot, pidNamespace] =
    /^(\d+)-(\d+)-([0-9a-f-]{36})-(\d+)$/.exec(text) ?? [];
  return boot === undefined
    ? undefined
    : { pid: Number(pid), startTime: Number(startTime), boot, pidNamespace: Number(pidNamespace) };
}
