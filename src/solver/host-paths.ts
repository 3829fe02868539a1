import { realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { MbuildError, errnoOf } from '../diagnostics/error';
import type { HostVolume } from '../graph/graph';
import { toRaw } from '../linux/paths';
import type { Mount, MountPoint } from '../sandbox/sandbox';
import type { MergedView } from '../snapshot/view';
import { mountTarget } from './mount-target';

/** Mounts, and what has to be made for them. */
export interface HostMounts {
  readonly mounts: readonly Mount[];
  readonly mountPoints: readonly MountPoint[];
}

/**
 * Paths of the host at their places in a step's tree.
 * @throws MbuildError HOST_PATH_NOT_FOUND
 */
export function mountHostPaths(volumes: readonly HostVolume[], view: MergedView): HostMounts {
  const placed = volumes.map(({ source, target, readonly }) =>
    placeHostPath({ source, target, readonly }, view),
  );
  return {
    mounts: placed.flatMap(({ mounts }) => mounts),
    mountPoints: placed.flatMap(({ mountPoints }) => mountPoints),
  };
}

/** One of them; a device may be opened when it says so. */
export function placeHostPath(
  { source, target: wanted, readonly, device }: HostVolume & { readonly device?: boolean },
  view: MergedView,
): HostMounts {
  const real = existing(source);
  const kind = statSync(real).isDirectory() ? 'directory' : 'file';
  const normal = path.posix.normalize(wanted);
  // /dev is the sandbox's own, and has nothing of the tree.
  const { target, missing } = normal.startsWith('/dev/')
    ? { target: toRaw(normal), missing: placesInDev(normal, kind) }
    : mountTarget(view, toRaw(normal), kind);
  return {
    mounts: [
      {
        kind: 'host',
        source: toRaw(real),
        target,
        readonly,
        ...(device === true ? { device } : {}),
      },
    ],
    mountPoints: missing,
  };
}

/** Without links, for whoever opens it follows none. */
function existing(source: string): string {
  try {
    return realpathSync(source);
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw new MbuildError(
      'HOST_PATH_NOT_FOUND',
      `cannot mount ${source} in a step: ${errnoOf(cause)}`,
      { cause },
    );
  }
}

function placesInDev(target: string, kind: MountPoint['kind']): MountPoint[] {
  const names = target.split('/').filter(Boolean).slice(1);
  return names.map((_, i) => ({
    path: toRaw(['/dev', ...names.slice(0, i + 1)].join('/')),
    kind: i < names.length - 1 ? 'directory' : kind,
  }));
}
