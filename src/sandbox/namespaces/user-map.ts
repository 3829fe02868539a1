import type { Op } from './init/program';
import { AT_FDCWD, O } from './init/syscalls';

/**
 * In a user namespace that was made just now: says whom its ids stand for, as user_namespaces(7)
 * has the lines.
 */
export function mapIdsOps(uids: string, gids: string): Op[] {
  return [
    ...writeOps('setgroups', 'deny', 'next'),
    ...writeOps('gid_map', gids, 'fail'),
    ...writeOps('uid_map', uids, 'fail'),
  ];
}

function writeOps(file: string, text: string, onError: 'next' | 'fail'): Op[] {
  return [
    {
      what: `open /proc/self/${file}`,
      call: 'openat',
      args: [AT_FDCWD, { text: `/proc/self/${file}` }, O.WRONLY | O.CLOEXEC],
      save: file,
      onError,
    },
    {
      what: `write /proc/self/${file}`,
      call: 'write',
      args: [{ saved: file }, { bytes: Buffer.from(text) }, text.length],
      onError,
    },
  ];
}
