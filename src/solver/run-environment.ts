import { envValue, withEnv, DEFAULT_PATH } from '../oci/env';
import { resolvConf, type ResolverOptions } from '../sandbox/resolver';
import type { MountPoint, Mount } from '../sandbox/sandbox';
import { keepsOwners } from '../linux/owners';
import type { RawPath } from '../linux/paths';
import type { MergedView } from '../snapshot/view';
import { mountTarget } from './mount-target';

/**
 * The host name that every step sees, so that what it writes down does not depend on the machine.
 * It is BuildKit's.
 */
export const SANDBOX_HOSTNAME = 'buildkitsandbox';

/**
 * Variables that reach the network in every step, but are no part of keys and history. Dockerfile
 * reference, "Predefined ARGs".
 */
export const PROXY_VARIABLES: readonly string[] = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'FTP_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
].flatMap((name) => [name, name.toLowerCase()]);

/**
 * The environment of a step: what the Dockerfile sets, with PATH and a HOME of the user's where it
 * has none, and proxies in both
 * spellings, which win over what the Dockerfile says, as in BuildKit.
 */
export function stepEnvironment(
  env: readonly string[],
  home: string,
  proxies: Readonly<Record<string, string>>,
): string[] {
  let complete =
    envValue(env, 'PATH') === undefined ? withEnv(env, 'PATH', DEFAULT_PATH) : [...env];
  if (!envValue(complete, 'HOME')) complete = withEnv(complete, 'HOME', home);
  for (const [name, value] of Object.entries(proxies)) {
    for (const spelling of [name.toUpperCase(), name.toLowerCase()])
      complete = withEnv(complete, spelling, value);
  }
  return complete;
}

/** /etc/hosts and /etc/resolv.conf, which every step has and no layer holds. */
export function networkFiles(
  view: MergedView,
  hostname: string,
  extraHosts: readonly { readonly name: string; readonly ip: string }[],
  resolver: ResolverOptions,
): { mounts: Mount[]; mountPoints: MountPoint[] } {
  const hosts = [
    `127.0.0.1\tlocalhost ${hostname}`,
    '::1\tlocalhost ip6-localhost ip6-loopback',
    ...extraHosts.map(({ name, ip }) => `${ip}\t${name}`),
    '',
  ].join('\n');
  const files: [RawPath, Buffer][] = [
    ['/etc/hosts', Buffer.from(hosts)],
    ['/etc/resolv.conf', resolvConf(resolver)],
  ];
  const targets = files.map(([file, content]) => ({ ...mountTarget(view, file, 'file'), content }));
  return {
    mounts: targets.map(({ target, content }) => ({
      kind: 'file',
      target,
      content,
      mode: 0o644,
      uid: 0,
      gid: 0,
      readonly: false,
      watched: true,
    })),
    mountPoints: targets.flatMap(({ missing }) => missing),
  };
}

/**
 * Where users are pretended, apt would find that it has not become the one that it downloads as,
 * and stop: it is told to stay root. apt.conf(5), "APT::Sandbox::User".
 */
export function packageManagerFiles(view: MergedView): {
  mounts: readonly Mount[];
  mountPoints: readonly MountPoint[];
} {
  const folder = '/etc/apt/apt.conf.d';
  if (!keepsOwners() || view.stat(folder)?.stats.isDirectory() !== true)
    return { mounts: [], mountPoints: [] };
  const { target, missing } = mountTarget(view, `${folder}/zz-mbuild`, 'file');
  const content = Buffer.from('APT::Sandbox::User "root";\n');
  return {
    mounts: [{ kind: 'file', target, content, mode: 0o644, uid: 0, gid: 0, readonly: true }],
    mountPoints: missing,
  };
}
