import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { getSystemErrorName } from 'node:util';
import { isInUserNamespace } from '../../linux/id-map';
import { toRaw } from '../../linux/paths';
import { removeTree } from '../../linux/remove-tree';
import { memoryFile, sealedFile } from '../../linux/sealed-file';
import { interpreterFile } from '../namespaces/init/interpreter';
import { assemble, type Op } from '../namespaces/init/program';
import { AT_FDCWD, CLONE, MS, SIGCHLD } from '../namespaces/init/syscalls';
import { mapIdsOps } from '../namespaces/user-map';
import {
  leaveConnectionOps,
  placeTreeOp,
  serverOps,
  startServerOps,
  treeServers,
} from '../namespaces/tree-server';

/** Whether something can be done here: `undefined`, or what failed and how. */
export type Obstacle = { readonly what: string; readonly errno: string } | undefined;

/**
 * Makes the namespaces of a step, mounts in them and switches the root, as this process is.
 * Docker's filter forbids the last even with CAP_SYS_ADMIN.
 */
export function probeNamespaces(state: string): Obstacle {
  return probeIn(state, (dir) =>
    inChild(CLONE.NEWNS | CLONE.NEWPID | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP, [
      {
        what: 'make mounts private',
        call: 'mount',
        args: [{ text: 'none' }, { text: '/' }, 0, MS.REC | MS.PRIVATE, 0],
      },
      {
        what: 'mount proc',
        call: 'mount',
        args: [
          { text: 'proc' },
          { path: dir },
          { text: 'proc' },
          MS.NOSUID | MS.NODEV | MS.NOEXEC,
          0,
        ],
      },
      {
        what: 'mount tmpfs',
        call: 'mount',
        args: [{ text: 'tmpfs' }, { path: dir }, { text: 'tmpfs' }, MS.NOSUID | MS.NODEV, 0],
      },
      { what: 'enter the tmpfs', call: 'chdir', args: [{ path: dir }] },
      { what: 'switch the root', call: 'pivot_root', args: [{ text: '.' }, { text: '.' }] },
    ]),
  );
}

/** Mounts an overlay whose directories are in a folder, and deletes a name in it. */
export function probeOverlay(state: string, options: string): Obstacle {
  return probeIn(state, (dir) => {
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(path.join(dir, name));
    mkdirSync(path.join(dir, 'lower', 'gone'));
    // `volatile`, as steps have it: without, the end of the mount waits until all of the file
    // system is on the disk.
    const data = `lowerdir=lower,upperdir=upper,workdir=work,volatile${options === '' ? '' : `,${options}`}`;
    return inChild(CLONE.NEWNS, [
      {
        what: 'make mounts private',
        call: 'mount',
        args: [{ text: 'none' }, { text: '/' }, 0, MS.REC | MS.PRIVATE, 0],
      },
      { what: 'enter the directory', call: 'chdir', args: [{ path: dir }] },
      {
        what: 'mount overlay',
        call: 'mount',
        args: [{ text: 'overlay' }, { text: 'merged' }, { text: 'overlay' }, 0, { text: data }],
      },
      {
        what: 'delete in the overlay',
        call: 'unlinkat',
        args: [AT_FDCWD, { text: 'merged/gone' }, AT_REMOVEDIR],
      },
    ]);
  });
}

/**
 * Mounts a tree by fuse-overlayfs, and changes and deletes a file in it.
 * @param isRoot false makes a user namespace for it.
 */
export function probeFuse(state: string, program: string, isRoot: boolean): Obstacle {
  return probeIn(state, (dir) => {
    for (const name of ['lower', 'stubs', 'upper', 'work', 'merged'])
      mkdirSync(path.join(dir, name));
    writeFileSync(path.join(dir, 'lower', 'gone'), '');
    const rootfs = {
      kind: 'fuse' as const,
      program,
      lowers: [path.join(dir, 'lower')],
      upper: path.join(dir, 'upper'),
      work: path.join(dir, 'work'),
      log: path.join(dir, 'log'),
    };
    const servers = treeServers({ rootfs, mounts: [] }, path.join(dir, 'stubs'));
    const leave = leaveConnectionOps(servers, FIRST_UNUSED_FD);
    const ops = inChild(
      CLONE.NEWNS,
      [
        ...leave,
        {
          what: 'make mounts private',
          call: 'mount',
          args: [{ text: 'none' }, { text: '/' }, 0, MS.REC | MS.PRIVATE, 0],
        },
        ...servers.map((server) => placeTreeOp(server, path.join(dir, 'merged'))),
        {
          what: 'change a file of a tree',
          call: 'fchmodat',
          args: [AT_FDCWD, { path: path.join(dir, 'merged', 'gone') }, 0o600],
        },
        {
          what: 'delete in its tree',
          call: 'unlinkat',
          args: [AT_FDCWD, { path: path.join(dir, 'merged', 'gone') }, 0],
        },
      ],
      leave,
    );
    return [
      ...(isRoot ? [] : ownUserNamespaceOps()),
      ...startServerOps(servers, !isRoot || isInUserNamespace()),
      ...ops,
      ...serverOps(servers, FIRST_UNUSED_FD),
    ];
  });
}

/**
 * Makes a user namespace and changes mounts in it: some kernels let one be made, and nothing be
 * done in it.
 */
export function probeUserNamespace(): Obstacle {
  return probe(() =>
    inChild(CLONE.NEWUSER | CLONE.NEWNS, [
      {
        what: 'mount in a user namespace',
        call: 'mount',
        args: [{ text: 'none' }, { text: '/' }, 0, MS.REC | MS.PRIVATE, 0],
      },
    ]),
  );
}

/**
 * Mounts a /proc in a user namespace, which the kernel refuses where the surroundings' is partly
 * hidden.
 */
export function probeOwnProc(state: string): Obstacle {
  return probeIn(state, (dir) =>
    inChild(CLONE.NEWUSER | CLONE.NEWNS | CLONE.NEWPID, [
      {
        what: 'mount proc',
        call: 'mount',
        args: [
          { text: 'proc' },
          { path: dir },
          { text: 'proc' },
          MS.NOSUID | MS.NODEV | MS.NOEXEC,
          0,
        ],
      },
    ]),
  );
}

/** Changes the root. */
export function probeChroot(state: string): Obstacle {
  return probeIn(state, (dir) =>
    inChild(0, [{ what: 'change the root', call: 'chroot', args: [{ path: dir }] }]),
  );
}

/** An obstacle in words. */
export function obstacleText({ what, errno }: NonNullable<Obstacle>): string {
  return `cannot ${what} (${errno})`;
}

const AT_REMOVEDIR = 0x200;

/** A user namespace in which this user is root. */
function ownUserNamespaceOps(): Op[] {
  return [
    { what: 'make a user namespace', call: 'unshare', args: [CLONE.NEWUSER] },
    ...mapIdsOps(`0 ${process.geteuid?.()} 1\n`, `0 ${process.getegid?.()} 1\n`),
  ];
}

/** Behind the streams and the program; nothing is reported there. */
const FIRST_UNUSED_FD = 4;

/** @param then what the parent does before it waits. */
function inChild(flags: number, ops: readonly Op[], then: readonly Op[] = []): Op[] {
  return [
    {
      what: 'make namespaces',
      call: 'clone',
      args: [flags | SIGCHLD, 0, 0, 0, 0],
      save: 'child',
      onZero: { to: 'child' },
    },
    ...then,
    {
      what: 'wait',
      call: 'wait4',
      args: [{ saved: 'child' }, { buffer: 'status', size: 8 }, 0, 0],
    },
    { what: 'end', call: 'exit_group', args: [0] },
    { what: 'report', label: 'fail', call: 'write', args: [1, 0x10000000, 16], onError: 'next' },
    { what: 'end', call: 'exit_group', args: [125] },
    { what: 'begin', label: 'child', call: 'umask', args: [0o22] },
    ...ops,
    { what: 'end', call: 'exit_group', args: [0] },
  ];
}

/** Runs a program of init's to its end, with a folder of its own. */
function probeIn(state: string, program: (dir: string) => readonly Op[]): Obstacle {
  const dir = mkdtempSync(path.join(state, 'probe-'));
  try {
    return probe(() => program(toRaw(dir)));
  } finally {
    removeTree(dir);
  }
}

/** Runs a program of init's to its end. */
function probe(ops: () => readonly Op[]): Obstacle {
  const { arch } = process;
  if (arch !== 'x64' && arch !== 'arm64') return { what: `run on ${arch}`, errno: 'ENOSYS' };
  const { image, opAt } = assemble(ops(), arch);
  const init = sealedFile('mbuild-probe', interpreterFile(arch));
  const program = memoryFile('mbuild-program', image);
  try {
    const { stdout } = spawnSync(`/proc/self/fd/${init}`, [], {
      stdio: ['ignore', 'pipe', 'ignore', program],
      env: {},
    });
    if (stdout.length < 16) return undefined;
    return {
      what: opAt(stdout.readBigUInt64LE(0))?.what ?? 'run',
      errno: getSystemErrorName(Number(stdout.readBigInt64LE(8))),
    };
  } finally {
    closeSync(program);
    closeSync(init);
  }
}
