import path from 'node:path';
import { MbuildError } from '../../diagnostics/error';
import { ALL_CAPABILITIES, type Capability } from '../capabilities';
import type { Arg, Op } from './init/program';
import {
  AT_FDCWD,
  CLONE,
  FD_CLOEXEC,
  FS,
  F_SETFD,
  MS,
  O,
  PR,
  SIGCHLD,
  SIGKILL,
  WAIT,
} from './init/syscalls';
import type { FuseRootfs, ProcessSpec } from '../sandbox';

/*
 * A tree that fuse-overlayfs serves. Init opens /dev/fuse, makes the mount, which is nowhere yet, and the server, a sibling of the command that
 * stays in mbuild's own PID namespace: the command neither sees nor reaches it. The command's process puts the mount into its own mount namespace.
 * Init holds it too, so that it is there until the command has ended, and a server that ends before that was lost. The server ends when its mount
 * does, and all of them with init.
 */

/**
 * A server in the making, and the descriptors by which init, it and the command's process know one
 * another.
 */
export interface TreeServer {
  readonly rootfs: FuseRootfs;
  /** Top first. */
  readonly lowers: readonly string[];
  /** /dev/fuse, opened for this mount. */
  readonly connection: number;
  /** The mount. */
  readonly mount: number;
}

/** Descriptors of servers are from here on, two for each. */
const FIRST_FD = 60;
const MOST = 10;

/**
 * What a server that keeps files for others cannot do without; `SYS_ADMIN` for attributes of
 * overlay's.
 */
const KEPT: readonly Capability[] = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'MKNOD',
  'SETFCAP',
  'SYS_ADMIN',
];

/**
 * The servers of a process: of its root, below which `stubs` is the lower-most layer, and of trees
 * that are mounted in it.
 * @throws MbuildError UNSUPPORTED for more than ten.
 */
export function treeServers(
  { rootfs, mounts }: Pick<ProcessSpec, 'rootfs' | 'mounts'>,
  stubs: string,
): TreeServer[] {
  const trees = [
    rootfs,
    ...mounts.flatMap((mount) => (mount.kind === 'overlay' ? [mount.rootfs] : [])),
  ].filter((tree) => tree.kind === 'fuse');
  if (trees.length > MOST)
    throw new MbuildError(
      'UNSUPPORTED',
      `with fuse-overlayfs, a RUN can have ${MOST} trees, but this one has ${trees.length}`,
      { hint: 'use --snapshotter=copy' },
    );
  return trees.map((tree, i) => ({
    rootfs: tree,
    lowers: tree === rootfs ? [...tree.lowers, stubs] : tree.lowers,
    connection: FIRST_FD + 2 * i,
    mount: FIRST_FD + 2 * i + 1,
  }));
}

/**
 * In init: makes the mounts and the servers. To mount, it needs a mount namespace of its user
 * namespace.
 * @param inUserNamespace whether that is another one than the machine's.
 */
export function startServerOps(servers: readonly TreeServer[], inUserNamespace: boolean): Op[] {
  if (servers.length === 0) return [];
  return [
    { what: 'make a mount namespace', call: 'unshare', args: [CLONE.NEWNS] },
    {
      what: 'make mounts private',
      call: 'mount',
      args: [{ text: 'none' }, { text: '/' }, 0, MS.REC | MS.PRIVATE, 0],
    },
    ...closeDevicesOps(servers, inUserNamespace),
    ...servers.flatMap((server, i): Op[] => [
      {
        what: 'open /dev/fuse',
        call: 'openat',
        args: [AT_FDCWD, { text: '/dev/fuse' }, O.RDWR | O.CLOEXEC],
        save: `fuse${i}`,
      },
      {
        what: 'keep the connection',
        call: 'dup3',
        args: [{ saved: `fuse${i}` }, server.connection, O.CLOEXEC],
      },
      ...makeMountOps(server, i),
      {
        what: 'make a server for the tree',
        call: 'clone',
        args: [SIGCHLD, 0, 0, 0, 0],
        save: `server${i}`,
        onZero: { to: `server ${i}` },
      },
    ]),
  ];
}

/**
 * fuse-overlayfs opens what it copies up, be it a device of the host that a layer holds: where the
 * layers are, none can be opened. In a user namespace none can be anyway, and flags of the
 * surroundings may forbid to say so.
 */
function closeDevicesOps(servers: readonly TreeServer[], inUserNamespace: boolean): Op[] {
  const store = {
    path: commonFolder(
      servers.flatMap(({ rootfs, lowers }) => [...lowers, rootfs.upper, rootfs.work]),
    ),
  };
  return [
    { what: 'hold the layers', call: 'mount', args: [store, store, 0, MS.BIND | MS.REC, 0] },
    {
      what: 'close devices',
      call: 'mount',
      args: [0, store, 0, MS.REMOUNT | MS.BIND | MS.NODEV, 0],
      onError: inUserNamespace ? 'next' : 'fail',
    },
  ];
}

function commonFolder(dirs: readonly string[]): string {
  return dirs
    .map((dir) => path.dirname(dir))
    .reduce((one, other) => {
      let common = one;
      while (common !== '/' && common !== other && !other.startsWith(`${common}/`))
        common = path.dirname(common);
      return common;
    });
}

/**
 * fsopen(2), fsconfig(2), fsmount(2); the file system's own descriptor gives way to that of the
 * mount.
 */
function makeMountOps({ connection, mount }: TreeServer, i: number): Op[] {
  const what = 'make a FUSE mount';
  const configure = (command: number, key: Arg, value: Arg): Op => ({
    what,
    call: 'fsconfig',
    args: [mount, command, key, value, 0],
  });
  const options = {
    source: 'fuse-overlayfs',
    subtype: 'fuse-overlayfs',
    fd: String(connection),
    rootmode: '40000',
    user_id: '0',
    group_id: '0',
  };
  return [
    { what, call: 'fsopen', args: [{ text: 'fuse' }, FS.OPEN_CLOEXEC], save: `fs${i}` },
    { what, call: 'dup3', args: [{ saved: `fs${i}` }, mount, O.CLOEXEC] },
    ...Object.entries(options).map(([key, value]) =>
      configure(FS.SET_STRING, { text: key }, { text: value }),
    ),
    ...['default_permissions', 'allow_other'].map((key) =>
      configure(FS.SET_FLAG, { text: key }, 0),
    ),
    configure(FS.CMD_CREATE, 0, 0),
    { what, call: 'fsmount', args: [mount, FS.MOUNT_CLOEXEC, FS.ATTR_NODEV], save: `mount${i}` },
    { what, call: 'dup3', args: [{ saved: `mount${i}` }, mount, O.CLOEXEC] },
  ];
}

/** In init and in the command's process: a connection that the server alone holds ends with it. */
export function leaveConnectionOps(servers: readonly TreeServer[], firstUnused: number): Op[] {
  if (servers.length === 0) return [];
  return [
    {
      what: 'leave the connections to the servers',
      call: 'close_range',
      args: [firstUnused, FIRST_FD - 1, 0],
    },
    ...servers.map(({ connection }): Op => ({
      what: 'leave the connection to the server',
      call: 'close',
      args: [connection],
    })),
  ];
}

/** In init: waits for whoever ends first, and goes to `lost` when that is a server. */
export function watchServerOps(servers: readonly TreeServer[], lost: string): Op[] {
  if (servers.length === 0) return [];
  return [
    {
      what: 'wait for the first to end',
      call: 'waitid',
      args: [WAIT.P_ALL, 0, 0, WAIT.EXITED | WAIT.NOWAIT, 0],
    },
    ...servers.map((_, i): Op => ({
      what: 'look after the server',
      call: 'wait4',
      args: [{ saved: `server${i}` }, SERVER_STATUS, WAIT.NOHANG, 0],
      onPositive: { to: lost },
      onError: 'next',
    })),
  ];
}

/** Where init finds how a server ended. */
export const SERVER_STATUS: Arg = { buffer: 'server status', size: 8 };

/**
 * In init, when the command has ended: makes sure that its trees were served until now, and goes to
 * `lost` otherwise.
 */
export function checkServerOps(servers: readonly TreeServer[], lost: string): Op[] {
  return servers.map(({ mount }): Op => ({
    what: 'ask the server',
    call: 'fstatfs',
    args: [mount, { buffer: 'statfs', size: 128 }],
    onError: { to: lost },
  }));
}

/** In init, at its end: ends the mounts, and waits for the servers to see it. */
export function endServerOps(servers: readonly TreeServer[]): Op[] {
  if (servers.length === 0) return [];
  return [
    ...servers.map(({ mount }): Op => ({
      what: 'end the mount',
      call: 'close',
      args: [mount],
      onError: 'next',
    })),
    {
      what: 'wait for the servers',
      label: 'await servers',
      call: 'wait4',
      args: [-1, 0, 0, 0],
      onPositive: { to: 'await servers' },
      onError: 'next',
    },
  ];
}

/**
 * The servers themselves.
 * @param report the descriptor on which a failure is reported, if it is open.
 */
export function serverOps(servers: readonly TreeServer[], report: number): Op[] {
  return servers.flatMap(({ rootfs, lowers, connection }, i): Op[] => {
    const base = path.dirname(lowers[0] ?? rootfs.upper);
    const options = treeOptions(base, { ...rootfs, lowers }, ['volatile']);
    return [
      {
        what: 'tie the server to init',
        label: `server ${i}`,
        call: 'prctl',
        args: [PR.SET_PDEATHSIG, SIGKILL],
      },
      ...serverStreamOps(rootfs.log, i),
      ...serverFileOps(connection, report),
      ...dropOps(),
      { what: 'enter the layers', call: 'chdir', args: [{ path: base }] },
      {
        what: `execute ${rootfs.program}`,
        call: 'execve',
        args: [
          { text: rootfs.program },
          { strings: [rootfs.program, '-f', '-o', options, `/dev/fd/${connection}`] },
          { strings: [] },
        ],
      },
    ];
  });
}

/** Nothing to read, and a log to write to. */
function serverStreamOps(log: string, i: number): Op[] {
  return [
    {
      what: 'open the log of the server',
      call: 'openat',
      args: [AT_FDCWD, { path: log }, O.WRONLY | O.CREAT | O.TRUNC | O.CLOEXEC, 0o600],
      save: `log${i}`,
    },
    { what: 'give the server its log', call: 'dup3', args: [{ saved: `log${i}` }, 2, 0] },
    {
      what: 'open /dev/null',
      call: 'openat',
      args: [AT_FDCWD, { text: '/dev/null' }, O.RDWR | O.CLOEXEC],
      save: `null${i}`,
    },
    {
      what: 'give the server nothing to read',
      call: 'dup3',
      args: [{ saved: `null${i}` }, 0, 0],
    },
    { what: 'give the server nowhere to write', call: 'dup3', args: [0, 1, 0] },
  ];
}

/** Its connection stays open, and nothing else of mbuild's. */
function serverFileOps(connection: number, report: number): Op[] {
  return [
    { what: 'give the server its connection', call: 'fcntl', args: [connection, F_SETFD, 0] },
    {
      what: 'report no more when it runs',
      call: 'fcntl',
      args: [report, F_SETFD, FD_CLOEXEC],
      onError: 'next',
    },
    { what: 'close files', call: 'close_range', args: [report + 1, connection - 1, 0] },
    { what: 'close files', call: 'close_range', args: [connection + 1, 0xffffffff, 0] },
    { what: 'close the program', call: 'close', args: [3], onError: 'next' },
  ];
}

function dropOps(): Op[] {
  return ALL_CAPABILITIES.flatMap((name, number): Op[] =>
    KEPT.includes(name)
      ? []
      : [
          {
            what: `drop ${name}`,
            call: 'prctl',
            args: [PR.CAPBSET_DROP, number, 0, 0, 0],
            onError: 'next',
          },
        ],
  );
}

/** In the command's process: puts the mount in its place. */
export function placeTreeOp({ rootfs, mount }: TreeServer, target: string): Op {
  return {
    what: `mount ${rootfs.lowers.length} layers by FUSE`,
    call: 'move_mount',
    args: [mount, { text: '' }, AT_FDCWD, { path: target }, FS.MOVE_EMPTY_PATH],
  };
}

/**
 * Overlay's mount options, with directories relative to `base`: so they are short, whatever the
 * store is called.
 */
export function treeOptions(
  base: string,
  {
    lowers,
    upper,
    work,
  }: { readonly lowers: readonly string[]; readonly upper: string; readonly work: string },
  more: readonly string[],
): string {
  const near = (dir: string): string => path.relative(base, dir).replace(/[\\:,]/g, '\\$&');
  return [
    `lowerdir=${lowers.map(near).join(':')}`,
    `upperdir=${near(upper)}`,
    `workdir=${near(work)}`,
    ...more,
  ].join(',');
}
