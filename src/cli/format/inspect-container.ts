import type { Container, ContainerRecord } from '../../containers/container';
import { DEFAULT_CAPABILITIES, type Capability } from '../../sandbox/capabilities';
import { configView } from './inspect';

/** What Go prints for a time that has not come. */
const ZERO_TIME = '0001-01-01T00:00:00Z';

type View = Readonly<Record<string, unknown>>;

/**
 * A container in the shape of `docker inspect` (API 1.51, ContainerInspectResponse), as far as it
 * means something here.
 */
export function inspectContainer(container: Container, logFile: string): View {
  const { record, state } = container;
  const [program = '', ...args] = record.args;
  const ports = portBindings(record);
  return {
    Id: record.id,
    Created: record.created,
    Path: program,
    Args: args,
    State: stateView(container),
    Image: record.image.id,
    LogPath: logFile,
    Name: `/${record.name}`,
    RestartCount: 0,
    Driver: 'mbuild',
    Platform: record.image.config.os,
    HostConfig: hostConfig(record),
    Mounts: record.volumes.map(({ source, volume, target, readonly }) => ({
      Type: volume === undefined ? 'bind' : 'volume',
      Name: volume ?? '',
      Source: source,
      Destination: target,
      RW: !readonly,
    })),
    Config: {
      ...configView(record.config),
      Hostname: record.hostname,
      User: record.user,
      Tty: record.terminal,
      Image: record.image.name,
      WorkingDir: record.cwd,
    },
    NetworkSettings: { Ports: state.status === 'running' ? ports : new Map() },
  };
}

function stateView({ state }: Container): View {
  return {
    Status: state.status,
    Running: state.status === 'running',
    Paused: false,
    Restarting: false,
    OOMKilled: false,
    Dead: false,
    Pid: state.process?.pid ?? 0,
    ExitCode: state.exitCode ?? 0,
    Error: state.error ?? '',
    StartedAt: state.started ?? ZERO_TIME,
    FinishedAt: state.finished ?? ZERO_TIME,
  };
}

function hostConfig(record: ContainerRecord): View {
  const { limits } = record;
  return {
    NetworkMode: record.network,
    PortBindings: portBindings(record),
    AutoRemove: record.autoRemove,
    ReadonlyRootfs: record.readonlyRoot,
    Privileged: false,
    CapAdd: capabilitiesBeyond(record.capabilities, DEFAULT_CAPABILITIES),
    CapDrop: capabilitiesBeyond(DEFAULT_CAPABILITIES, record.capabilities),
    SecurityOpt: record.noNewPrivileges === true ? ['no-new-privileges'] : [],
    Memory: limits.memory ?? 0,
    MemorySwap: limits.memorySwap ?? 0,
    CpuShares: limits.cpuShares ?? 0,
    CpuPeriod: limits.cpuPeriod ?? 0,
    CpuQuota: limits.cpuQuota ?? 0,
    CpusetCpus: limits.cpusetCpus ?? '',
    CpusetMems: limits.cpusetMems ?? '',
    NanoCpus: Math.round((limits.cpus ?? 0) * 1e9),
    PidsLimit: limits.pids ?? 0,
    Binds: record.volumes
      .filter(({ anonymous }) => anonymous !== true)
      .map(
        ({ source, volume, target, readonly }) =>
          `${volume ?? source}:${target}${readonly ? ':ro' : ''}`,
      ),
  };
}

function portBindings(record: ContainerRecord): ReadonlyMap<string, View[]> {
  return new Map(
    record.ports.map(({ hostIp = '0.0.0.0', hostPort, containerPort, protocol }) => [
      `${containerPort}/${protocol}`,
      [{ HostIp: hostIp, HostPort: String(hostPort) }],
    ]),
  );
}

/** The capabilities of one set that the other lacks, with their full names. */
function capabilitiesBeyond(set: readonly Capability[], other: readonly Capability[]): string[] {
  return set.filter((name) => !other.includes(name)).map((name) => `CAP_${name}`);
}
