import path from 'node:path';
import type { RawPath } from '../../linux/paths';
import type { Arg, Op } from './init/program';
import { AT_FDCWD, MS, O, RESOLVE, S } from './init/syscalls';
import type {
  LayeredRootfs,
  Mount,
  MountPoint,
  OverlayRootfs,
  ProcessSpec,
  Rootfs,
} from '../sandbox';
import { placeTreeOp, treeOptions, type TreeServer } from './tree-server';

/**
 * Directories of the host that a sandbox uses; they may be shared by all sandboxes of a store, for
 * each mounts in its own namespace.
 */
export interface SandboxPlaces {
  /** An empty directory: the root is mounted here. */
  readonly root: string;
  /** An empty directory: the tmpfs for files. */
  readonly files: string;
  /** An empty directory: overlays that are mounted as a part of the root. */
  readonly aside: string;
  /** In a user namespace, what cannot be made there is taken from the surroundings. */
  readonly ids?: 'ranges' | 'one' | undefined;
  /**
   * Lower-most layer of every root: `proc`, `sys` and `dev`, so that there is always something to
   * mount on.
   */
  readonly stubs: string;
  /** Files that are on the host already, with the bytes of their mounts. */
  readonly kept?: ReadonlyMap<Mount, RawPath> | undefined;
}

/** Mount sources are opened before the root is switched and kept from this file descriptor on. */
export const FIRST_SOURCE_FD = 100;

export const NULL = 0;

/** What kind of mount it is. */
export interface MountKind {
  /** The file system's type; missing where there is one already. */
  readonly type?: string | undefined;
  readonly flags: number;
  /** Options of the file system. */
  readonly data?: string | undefined;
}

/** One call of mount(2). @param source `NULL` where an existing mount is changed. */
export function mountOp(
  what: string,
  source: string | typeof NULL,
  target: string,
  { type, flags, data }: MountKind,
): Op {
  const text = (value: string | undefined): Arg => (value === undefined ? NULL : { path: value });
  return {
    what,
    call: 'mount',
    args: [
      source === NULL ? NULL : { path: source },
      { path: target },
      text(type),
      flags,
      text(data),
    ],
  };
}

/**
 * Mounts the root at its place. `nodev` everywhere: a device that a layer holds cannot be opened.
 */
export function rootOps(
  rootfs: Rootfs,
  places: SandboxPlaces,
  servers: readonly TreeServer[],
): Op[] {
  if (rootfs.kind !== 'directory') return layersOps(rootfs, places.root, [places.stubs], servers);
  return [mountOp('mount the root', rootfs.path, places.root, { flags: MS.BIND | MS.REC })];
}

/** @param below layers under those of the tree; a server knows them already. */
function layersOps(
  rootfs: LayeredRootfs,
  target: string,
  below: readonly string[],
  servers: readonly TreeServer[],
): Op[] {
  if (rootfs.kind === 'overlay') return overlayOps(rootfs, target, below);
  const server = servers.find((candidate) => candidate.rootfs === rootfs);
  if (server === undefined) throw new Error('a tree without its server');
  return [placeTreeOp(server, target)];
}

/**
 * Directories are named relative to the top one's parent: mount options end at one page (4,096
 * bytes).
 */
function overlayOps(rootfs: OverlayRootfs, target: string, below: readonly string[]): Op[] {
  const lowers = [...rootfs.lowers, ...below];
  const base = path.dirname(lowers[0] ?? rootfs.upper);
  const data = treeOptions(base, { ...rootfs, lowers }, rootfs.options);
  return [
    { what: 'enter the layers', call: 'chdir', args: [{ path: base }] },
    mountOp(`mount ${rootfs.lowers.length} layers`, 'overlay', target, {
      type: 'overlay',
      flags: MS.NODEV,
      data,
    }),
  ];
}

/**
 * Opens what will be mounted while the host's tree is still in sight; from then on it is known by
 * descriptor alone.
 */
export function sourceOps(
  mounts: readonly Mount[],
  places: SandboxPlaces,
  servers: readonly TreeServer[],
): Op[] {
  const ops: Op[] = [];
  if (mounts.some((mount) => mount.kind === 'file')) {
    ops.push(
      mountOp('make a place for files', 'tmpfs', places.files, {
        type: 'tmpfs',
        flags: MS.NOSUID | MS.NODEV,
        data: 'mode=0700',
      }),
    );
  }
  mounts.forEach((mount, i) => {
    if (mount.kind === 'bind') ops.push(...keepSource(mount.source, mount.subpath, i));
    if (mount.kind === 'host')
      ops.push(
        ...keepSource(path.posix.dirname(mount.source), path.posix.basename(mount.source), i),
      );
    if (mount.kind === 'overlay') {
      ops.push(
        ...layersOps(mount.rootfs, places.aside, [], servers),
        ...keepSource(places.aside, mount.subpath, i),
      );
    }
    if (mount.kind !== 'file') return;
    const kept = places.kept?.get(mount);
    ops.push(
      ...(kept === undefined
        ? fileOps(mount, places, i)
        : keepSource(path.posix.dirname(kept), path.posix.basename(kept), i)),
    );
  });
  return ops;
}

/** Writes a file that is mounted, on the tmpfs for files. */
function fileOps(mount: Extract<Mount, { kind: 'file' }>, places: SandboxPlaces, i: number): Op[] {
  const file = `${places.files}/${i}`;
  return [
    {
      what: `make ${mount.target}`,
      call: 'openat',
      args: [AT_FDCWD, { path: file }, O.WRONLY | O.CREAT | O.EXCL | O.CLOEXEC, 0o600],
      save: `file${i}`,
    },
    {
      what: `write ${mount.target}`,
      call: 'write',
      args: [{ saved: `file${i}` }, { bytes: mount.content }, mount.content.length],
    },
    {
      what: `own ${mount.target}`,
      call: 'fchownat',
      args: [AT_FDCWD, { path: file }, mount.uid, mount.gid, 0],
      onError: places.ids === 'one' ? 'next' : 'fail',
    },
    {
      what: `set the mode of ${mount.target}`,
      call: 'fchmodat',
      args: [AT_FDCWD, { path: file }, mount.mode],
    },
    ...keepSource(places.files, String(i), i),
  ];
}

/**
 * Opens a path inside a directory; links in it resolve inside that directory, even when somebody
 * changes them right now.
 */
function keepSource(dir: RawPath, subpath: RawPath, index: number): Op[] {
  const how = Buffer.alloc(24); // struct open_how: flags, mode, resolve
  how.writeBigUInt64LE(BigInt(O.PATH | O.CLOEXEC), 0);
  how.writeBigUInt64LE(BigInt(RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS), 16);
  const what = path.posix.join(dir, subpath);
  return [
    {
      what: `open ${dir}`,
      call: 'openat',
      args: [AT_FDCWD, { path: dir }, O.PATH | O.CLOEXEC],
      save: `dir${index}`,
    },
    {
      what: `open ${what}`,
      call: 'openat2',
      args: [
        { saved: `dir${index}` },
        { path: subpath.replace(/^\/*/, '') || '.' },
        { bytes: how },
        how.length,
      ],
      save: `source${index}`,
    },
    {
      what: `keep ${what}`,
      call: 'dup3',
      args: [{ saved: `source${index}` }, FIRST_SOURCE_FD + index, O.CLOEXEC],
    },
  ];
}

/** Mounts inside the new root, where a link can lead nowhere else. */
export function targetOps(spec: ProcessSpec): Op[] {
  const points = spec.mountPoints.map(pointOp);
  const mounts = spec.mounts.flatMap((mount, i): Op[] => {
    const covered = coveredPoints(mount, spec.mounts.slice(0, i), spec).map(pointOp);
    if (mount.kind === 'tmpfs') {
      const size = mount.size === undefined ? '' : `,size=${mount.size}`;
      const flags = MS.NOSUID | MS.NODEV | (mount.readonly === true ? MS.RDONLY : 0);
      return [
        ...covered,
        mountOp(`mount a tmpfs on ${mount.target}`, 'tmpfs', mount.target, {
          type: 'tmpfs',
          flags,
          data: `mode=${(mount.mode ?? 0o1777).toString(8)}${size}`,
        }),
      ];
    }
    // Overlays are mounted on one directory, each on the one before: what lies on top of one is no
    // part of it.
    const bind = mountOp(
      `mount ${mount.target}`,
      `/proc/self/fd/${FIRST_SOURCE_FD + i}`,
      mount.target,
      { flags: mount.kind === 'bind' || mount.kind === 'host' ? MS.BIND | MS.REC : MS.BIND },
    );
    // What `nodev` would forbid is what it is for.
    if (mount.kind === 'host' && mount.device === true) return [...covered, bind];
    const flags =
      MS.NODEV |
      (mount.readonly ? MS.RDONLY : 0) |
      (mount.kind === 'file' ? MS.NOSUID | (mount.executable === true ? 0 : MS.NOEXEC) : 0);
    return [...covered, bind, ...restrictOps(mount.target, flags, `restricted ${i}`)];
  });
  return [...points, ...mounts];
}

/**
 * Adds flags to a mount. mount_setattr(2), where the flags have the same numbers, leaves those that
 * it has: a user namespace may not take away what the surroundings gave, such as `nosuid`. Before
 * Linux 5.12 they are set anew.
 * @param label for what follows; used once.
 */
function restrictOps(target: RawPath, flags: number, label: string): Op[] {
  const what = `restrict ${target}`;
  // struct mount_attr: to set, to clear, propagation, user namespace
  const attributes: Arg = { words: [flags, 0, 0, 0] };
  return [
    {
      what,
      call: 'mount_setattr',
      args: [AT_FDCWD, { path: target }, 0, attributes, 32],
      onZero: { to: label },
      onError: 'next',
    },
    mountOp(what, NULL, target, { flags: MS.REMOUNT | MS.BIND | flags }),
    { what: 'go on', label, call: 'umask', args: [0] },
  ];
}

/** A place to mount on; where it is there already, that is well. */
function pointOp({ path, kind }: MountPoint): Op {
  return kind === 'directory'
    ? { what: `make ${path}`, call: 'mkdirat', args: [AT_FDCWD, { path }, 0o755], onError: 'next' }
    : {
        what: `make ${path}`,
        call: 'mknodat',
        args: [AT_FDCWD, { path }, S.IFREG | 0o644, 0],
        onError: 'next',
      };
}

/** The places of a mount inside an earlier one, which hides those of the root. */
function coveredPoints(
  { target, kind }: Mount,
  earlier: readonly Mount[],
  spec: ProcessSpec,
): MountPoint[] {
  const covering = earlier.findLast((mount) => target.startsWith(`${mount.target}/`));
  if (covering === undefined) return [];
  const names = target.slice(covering.target.length + 1).split('/');
  const own =
    kind === 'file'
      ? 'file'
      : (spec.mountPoints.find((point) => point.path === target)?.kind ?? 'directory');
  return names.map((_, i) => ({
    path: [covering.target, ...names.slice(0, i + 1)].join('/'),
    kind: i === names.length - 1 ? own : 'directory',
  }));
}
