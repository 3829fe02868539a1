import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { toText, type RawPath } from '../linux/paths';
import type { MountPoint } from '../sandbox/sandbox';
import type { MergedView } from '../snapshot/view';

/** Where a mount goes in a tree. */
export interface MountTarget {
  /** Free of symlinks. */
  readonly target: RawPath;
  /** What has to be made for it, parents first. */
  readonly missing: readonly MountPoint[];
}

/**
 * What may be hidden in /proc: what programs are told of the machine. As in runc,
 * libcontainer/rootfs_linux.go, "checkProcMount".
 */
const TOLD = [
  'cpuinfo',
  'diskstats',
  'meminfo',
  'stat',
  'swaps',
  'uptime',
  'loadavg',
  'slabinfo',
  'net/dev',
  'sys/kernel/ns_last_pid',
  'sys/crypto/fips_enabled',
].map((name) => `/proc/${name}`);

/**
 * Who could put his own files in the place of the kernel's, or of all others, would decide what a
 * process with more rights reads and writes there.
 */
function checkPlace(target: RawPath, wanted: RawPath): void {
  if (
    target !== '/' &&
    target !== '/proc' &&
    (!target.startsWith('/proc/') || TOLD.includes(target))
  )
    return;
  const leads = target === wanted ? '' : `, which leads to ${toText(target)}`;
  throw new MbuildError(
    'SANDBOX_FAILED',
    `cannot mount on ${toText(wanted)}${leads}: ${target === '/' ? 'that is the root' : "/proc is the kernel's"}`,
    { hint: 'mount on another path' },
  );
}

/**
 * Finds the place of a mount in a tree, links followed inside the root.
 * @throws MbuildError SANDBOX_FAILED when a file is where a directory must be, or the other way
 * round, and for the root and what is in /proc.
 */
export function mountTarget(
  view: MergedView,
  wanted: RawPath,
  kind: MountPoint['kind'],
): MountTarget {
  const target = view.resolve(wanted);
  checkPlace(path.posix.normalize(target), wanted);
  const missing: MountPoint[] = [];
  let at = '';
  const parts = target.split('/').filter(Boolean);
  parts.forEach((part, i) => {
    at = `${at}/${part}`;
    const isLast = i === parts.length - 1;
    const expected = isLast ? kind : 'directory';
    const found = missing.length > 0 ? undefined : view.lstat(at);
    if (found === undefined) missing.push({ path: at, kind: expected });
    else if (found.stats.isDirectory() !== (expected === 'directory')) {
      throw new MbuildError(
        'SANDBOX_FAILED',
        `cannot mount on ${toText(wanted)}: ${toText(at)} is ${found.stats.isDirectory() ? 'a directory' : 'not a directory'} in the image`,
        {
          hint: found.stats.isDirectory()
            ? 'choose a file as the target of a file'
            : 'choose a directory as the target, or a path that does not exist yet',
        },
      );
    }
  });
  return { target: path.posix.normalize(target), missing };
}
