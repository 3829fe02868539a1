import { statfsSync } from 'node:fs';

/** With less room than this, a program that writes has met the end of it. */
const FULL_BYTES = 4 << 20;
const FULL_FILES = 16;

/** What programs say of ENOSPC and EDQUOT: glibc and musl, Go, Node.js. */
const SAYS_FULL = /no space left on device|disk quota exceeded|disc quota exceeded|ENOSPC|EDQUOT/i;

/** Whether the disk of a store has no room for anybody. @param root the store's directory. */
export function isDiskFull(root: string): boolean {
  const { bavail, bsize, ffree, files } = statfsSync(root);
  return bavail * bsize < FULL_BYTES || (files > 0 && ffree < FULL_FILES);
}

/**
 * What helps a command that failed because a disk is full; `undefined` where that was not so.
 * @param output the last that it has said.
 * @param root the store's directory.
 */
export function fullDiskHint(output: string, root: string): string | undefined {
  if (isDiskFull(root))
    return `the disk of the store (${root}) is full: free space with \`mbuild system prune\`, or use another disk with --root`;
  return SAYS_FULL.test(output)
    ? `a disk was full while the command ran. Perhaps it was the store's (${root}), and the command has deleted its files since; or a disk in memory: see --shm-size for /dev/shm, and size= for --mount=type=tmpfs`
    : undefined;
}
