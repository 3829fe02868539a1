import { readFileSync } from 'node:fs';
import type { CreateRequest } from '../containers/create';
import type { PortMapping, TmpfsMount } from '../containers/container';
import { parseSignal } from '../containers/signals';
import { errnoOf } from '../diagnostics/error';
import type { Image } from '../images/store/image-store';
import { DEFAULT_CAPABILITIES } from '../sandbox/capabilities';
import type { FlagValues } from './args';
import { readHost, readUlimit } from './build-options';
import { pairsOf } from './pairs';
import { readSecurityOptions } from './security-options';
import { readBytes, readCapabilities, readHostname, readLimits } from './limit-options';
import type { CREATE_FLAGS } from './run-flags';
import { readMount } from './mount-option';
import { usage } from './usage';
import { readVolume } from './volume-options';

type CreateFlags = FlagValues<typeof CREATE_FLAGS>;
type Environment = Readonly<Record<string, string | undefined>>;

/** A port to be published; without `hostPort` a free one of the host. */
export type PortRequest = Omit<PortMapping, 'hostPort'> & {
  readonly hostPort?: number | undefined;
};

/** What is to be run: an image, as it was named, and the words behind it. */
export interface RunTarget {
  readonly image: Image;
  readonly name: string;
  readonly command: readonly string[];
}

/**
 * What the flags of `run` ask for; ports are still to be found.
 * @throws MbuildError USAGE naming the flag.
 */
export function createRequest(
  flags: CreateFlags,
  { image, name, command }: RunTarget,
  env: Environment,
): Omit<CreateRequest, 'ports'> & { readonly ports: readonly PortRequest[] } {
  const ports = [
    ...flags.publish.flatMap(readPublish),
    ...(flags['publish-all'] ? exposedPorts(image) : []),
  ];
  if (ports.length > 0 && (flags.network === 'none' || flags.network === 'host')) {
    throw usage(
      `--publish cannot be used with --network ${flags.network}`,
      'only a private network needs published ports; with --network host every port is reachable already',
    );
  }
  if (flags.workdir?.startsWith('/') === false)
    throw usage(
      `invalid --workdir ${JSON.stringify(flags.workdir)}`,
      'write an absolute path in the container',
    );
  if (flags['stop-signal'] !== undefined) readSignal(flags['stop-signal']);
  const mounts = flags.mount.map(readMount);
  return {
    image,
    imageName: name,
    command,
    entrypoint: flags.entrypoint === undefined ? undefined : [flags.entrypoint],
    name: flags.name,
    env: readEnvironment(flags, env),
    cwd: flags.workdir,
    user: flags.user,
    hostname: readHostname(flags.hostname),
    network:
      (flags.network as CreateRequest['network'] | undefined) ??
      (ports.length > 0 ? 'private' : 'host'),
    ports,
    extraHosts: flags['add-host'].map(readHost),
    volumes: [
      ...flags.volume.map(readVolume),
      ...mounts.flatMap((mount) => (mount.kind === 'volume' ? [mount.request] : [])),
    ],
    tmpfs: [
      ...flags.tmpfs.map(readTmpfs),
      ...mounts.flatMap((mount) => (mount.kind === 'tmpfs' ? [mount.mount] : [])),
    ],
    capabilities: readCapabilities(flags) ?? DEFAULT_CAPABILITIES,
    noNewPrivileges:
      flags['no-new-privileges'] ||
      readSecurityOptions(flags['security-opt']).noNewPrivileges === true,
    readonlyRoot: flags['read-only'],
    shmSize: flags['shm-size'] === undefined ? undefined : readBytes('shm-size', flags['shm-size']),
    ulimits: flags.ulimit.map(readUlimit),
    limits: readLimits(flags),
    terminal: flags.tty,
    labels: pairsOf('label', flags.label, true),
    stopSignal: flags['stop-signal'],
    stopTimeout: flags['stop-timeout'],
    autoRemove: flags.rm,
  };
}

/** A signal as users write it. @throws MbuildError USAGE. */
export function readSignal(text: string): number {
  const signal = parseSignal(text);
  if (signal === undefined)
    throw usage(
      `invalid signal ${JSON.stringify(text)}`,
      'write a number, or a name such as SIGTERM',
    );
  return signal;
}

/**
 * Variables of `-e` and `--env-file`; a name alone takes the caller's value, and takes the image's
 * away where there is none.
 */
export function readEnvironment(
  flags: { readonly env: readonly string[]; readonly 'env-file'?: readonly string[] },
  env: Environment,
): string[] {
  const lines = (flags['env-file'] ?? [])
    .flatMap((file) => readLines(file))
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return [...lines.map((line) => line.trimStart()), ...flags.env].map((entry) => {
    if (entry === '' || entry.startsWith('='))
      throw usage(`invalid variable ${JSON.stringify(entry)}`, 'write NAME=VALUE, or NAME');
    const value = entry.includes('=') ? undefined : env[entry];
    return value === undefined ? entry : `${entry}=${value}`;
  });
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/);
  } catch (error) {
    throw usage(`cannot read --env-file ${file} (${errnoOf(error) ?? 'error'})`);
  }
}

/** `PATH[:OPTIONS]`. */
function readTmpfs(text: string): TmpfsMount {
  const colon = text.indexOf(':');
  const target = colon < 0 ? text : text.slice(0, colon);
  if (!target.startsWith('/'))
    throw usage(
      `invalid --tmpfs ${JSON.stringify(text)}`,
      'begin with an absolute path in the container',
    );
  const options = colon < 0 ? [] : text.slice(colon + 1).split(',');
  return options.reduce<TmpfsMount>(
    (mount, option) => {
      const [key = '', value = ''] = option.split('=');
      if (key === 'size') return { ...mount, size: readBytes('tmpfs', value) };
      if (key === 'mode' && /^[0-7]{3,4}$/.test(value))
        return { ...mount, mode: parseInt(value, 8) };
      if (['rw', 'nosuid', 'nodev', 'noexec', 'exec', ''].includes(key)) return mount;
      throw usage(
        `invalid --tmpfs ${JSON.stringify(text)}: unknown option ${option}`,
        'options are size=BYTES and mode=OCTAL',
      );
    },
    { target },
  );
}

/** `[[IP:]HOSTPORT:]PORT[/PROTOCOL]`, with ranges of the same length on both sides. */
function readPublish(text: string): PortRequest[] {
  const match =
    /^(?:(?:(\[[0-9a-fA-F:]+\]|[0-9.]+):)?(\d*(?:-\d+)?):)?(\d+(?:-\d+)?)(?:\/(tcp|udp))?$/.exec(
      text,
    );
  const range = (part: string): number[] => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return from > 0 && from <= to && to <= 65535
      ? Array.from({ length: to - from + 1 }, (_, i) => from + i)
      : [];
  };
  const container = range(match?.[3] ?? '');
  const host =
    match?.[2] === undefined || match[2] === '' ? container.map(() => undefined) : range(match[2]);
  if (match === null || container.length === 0 || host.length !== container.length) {
    throw usage(
      `invalid --publish ${JSON.stringify(text)}`,
      'write [[IP:]HOSTPORT:]PORT[/tcp|/udp], e.g. 8080:80',
    );
  }
  const hostIp = match[1]?.replace(/[[\]]/g, '');
  return container.map((containerPort, i) => ({
    hostIp,
    hostPort: host[i],
    containerPort,
    protocol: match[4] === 'udp' ? 'udp' : 'tcp',
  }));
}

function exposedPorts(image: Image): PortRequest[] {
  return Object.keys(image.config.config?.ExposedPorts ?? {}).flatMap((port) => readPublish(port));
}
