import { statSync } from 'node:fs';
import path from 'node:path';
import { MbuildError } from '../diagnostics/error';
import { toRaw } from '../linux/paths';
import { DEFAULT_PATH, envValue, withEnv } from '../oci/env';
import { hasLimits } from '../sandbox/cgroups/cgroup-limits';
import { resolvConf } from '../sandbox/resolver';
import type { Mount, MountPoint, ProcessSpec } from '../sandbox/sandbox';
import { LayeredView } from '../snapshot/merged-view';
import { resolveUser, type ResolvedUser } from '../snapshot/users';
import type { MergedView } from '../snapshot/view';
import { mountTarget } from '../solver/mount-target';
import type { ContainerRecord } from './container';
import { PRIVATE_ADDRESS, PRIVATE_RESOLVER } from './network';
import type { ContainerServices } from './services';
import type { ContainerStore } from './store';

/**
 * The sandbox that a container's record describes, on the tree as it is now.
 * @throws MbuildError USER_NOT_FOUND, SANDBOX_FAILED (a mount over the wrong kind of thing).
 */
export function processSpec(
  record: ContainerRecord,
  store: ContainerStore,
  services: ContainerServices,
): ProcessSpec {
  const view = containerView(record, store, services);
  const user = resolveUser(view, record.user);
  const mounts = [
    ...volumeMounts(record, view),
    ...tmpfsMounts(record, view),
    ...networkFiles(record, view),
  ];
  return {
    args: record.args,
    env: containerEnv(record, user),
    cwd: record.cwd,
    user: { uid: user.uid, gid: user.gid, groups: [user.gid, ...user.groups] },
    rootfs: services.snapshots.rootfs(store.writableLayer(record)),
    mounts: mounts.map(({ mount }) => mount),
    mountPoints: mounts.flatMap(({ points }) => points),
    network: record.network,
    hostname: record.hostname,
    capabilities: record.capabilities,
    confined: true,
    readonlyRoot: record.readonlyRoot,
    shmSize: record.shmSize,
    ulimits: record.ulimits,
    noNewPrivileges: record.noNewPrivileges,
    ...(hasLimits(record.limits) ? { limits: record.limits, group: record.id } : {}),
  };
}

/**
 * The container's tree with what it has written; without volumes. Not for a container that runs and
 * writes.
 */
export function containerView(
  record: ContainerRecord,
  store: ContainerStore,
  services: ContainerServices,
): MergedView {
  const below = record.image.stack.map((id) => toRaw(services.snapshots.layerDir(id))).reverse();
  return new LayeredView([toRaw(store.writableLayer(record).dir), ...below], services.xattrs);
}

/** Docker's order: what the container adds comes first and gives way. */
export function containerEnv(
  record: Pick<ContainerRecord, 'env' | 'hostname' | 'terminal'>,
  user: Pick<ResolvedUser, 'home'>,
): string[] {
  const added = [
    `PATH=${DEFAULT_PATH}`,
    `HOSTNAME=${record.hostname}`,
    ...(record.terminal ? ['TERM=xterm'] : []),
  ];
  const env = [
    ...added.filter(
      (entry) => envValue(record.env, entry.slice(0, entry.indexOf('='))) === undefined,
    ),
    ...record.env,
  ];
  return envValue(env, 'HOME') === undefined ? withEnv(env, 'HOME', user.home) : env;
}

/** A mount, and what it needs to be there. */
interface PlannedMount {
  readonly mount: Mount;
  readonly points: readonly MountPoint[];
}

function volumeMounts(record: ContainerRecord, view: MergedView): PlannedMount[] {
  return record.volumes.map(({ source, target: wanted, readonly }) => {
    const stats = statSync(source, { throwIfNoEntry: false });
    if (stats === undefined)
      throw new MbuildError('USAGE', `cannot mount ${source}: it no longer exists`);
    const { target, missing } = mountTarget(
      view,
      toRaw(wanted),
      stats.isDirectory() ? 'directory' : 'file',
    );
    const place = stats.isDirectory()
      ? { source: toRaw(source), subpath: '/' }
      : { source: toRaw(path.dirname(source)), subpath: toRaw(path.basename(source)) };
    return { mount: { kind: 'bind', ...place, target, readonly }, points: missing };
  });
}

function tmpfsMounts(record: ContainerRecord, view: MergedView): PlannedMount[] {
  return record.tmpfs.map(({ target: wanted, size, mode }) => {
    const { target, missing } = mountTarget(view, toRaw(wanted), 'directory');
    return { mount: { kind: 'tmpfs', target, size, mode }, points: missing };
  });
}

/** /etc/hosts, /etc/hostname and /etc/resolv.conf, unless a volume is mounted on them. */
function networkFiles(record: ContainerRecord, view: MergedView): PlannedMount[] {
  const hosts = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    `${record.network === 'private' ? PRIVATE_ADDRESS : '127.0.1.1'}\t${record.hostname}`,
    ...record.extraHosts.map(({ name, ip }) => `${ip}\t${name}`),
    '',
  ].join('\n');
  const files: readonly (readonly [string, Buffer])[] = [
    ['/etc/hosts', Buffer.from(hosts)],
    ['/etc/hostname', Buffer.from(`${record.hostname}\n`)],
    [
      '/etc/resolv.conf',
      resolvConf(record.network === 'private' ? { nameservers: [PRIVATE_RESOLVER] } : {}),
    ],
  ];
  return files
    .filter(([file]) => !record.volumes.some(({ target }) => target === file))
    .map(([file, content]) => {
      const { target, missing } = mountTarget(view, file, 'file');
      return {
        mount: { kind: 'file', target, content, mode: 0o644, uid: 0, gid: 0, readonly: false },
        points: missing,
      };
    });
}
