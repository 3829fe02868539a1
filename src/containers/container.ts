import { MbuildError } from '../diagnostics/error';
import { isOfHere, type ProcessIdentity } from '../linux/process';
import type { Digest } from '../oci/digest';
import type { ContainerConfig, ImageConfig } from '../oci/image';
import type { Capability } from '../sandbox/capabilities';
import type { CgroupLimits } from '../sandbox/cgroups/cgroup-limits';
import type { Stack } from '../snapshot/snapshotter';

/** 64 hex characters. */
export type ContainerId = string & { readonly __brand: 'ContainerId' };

/** What a container was made of: it needs the image no more, but its layers. */
export interface ContainerImage {
  readonly id: Digest;
  /** As the user wrote it. */
  readonly name: string;
  readonly config: ImageConfig;
  readonly stack: Stack;
}

/** A part of the host that the container sees. */
export interface VolumeMount {
  /** A directory or file of the host. */
  readonly source: string;
  /** Absolute, in the container. */
  readonly target: string;
  readonly readonly: boolean;
  /** The volume's name; absent for a path of the host. */
  readonly volume?: string | undefined;
  /** True for a volume that was made for this container alone: `rm -v` deletes it. */
  readonly anonymous?: boolean | undefined;
}

/** Mount a file system in memory. */
export interface TmpfsMount {
  readonly target: string;
  /** Bytes. */
  readonly size?: number | undefined;
  readonly mode?: number | undefined;
}

/** A port of the container that is reached through one of the host. */
export interface PortMapping {
  /** Every address when absent. */
  readonly hostIp?: string | undefined;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp';
}

/**
 * `host` shares the host's network, `none` has a loopback alone, `private` is behind pasta or
 * slirp4netns.
 */
export type ContainerNetwork = 'host' | 'none' | 'private';

/**
 * `<root>/containers/<id>/config.json`: what a container runs; decided when it is made, and never
 * changed.
 */
export interface ContainerRecord {
  readonly id: ContainerId;
  readonly name: string;
  /** RFC 3339. */
  readonly created: string;
  readonly image: ContainerImage;
  /**
   * The image's config with what the container was asked for: what an image made of it runs with.
   */
  readonly config: ContainerConfig;
  /** What is executed; at least one word. */
  readonly args: readonly string[];
  /** `NAME=value`, without what the container adds: PATH, HOME, HOSTNAME, TERM. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** As USER has it; looked up in the container's own passwd when it starts. */
  readonly user: string;
  readonly hostname: string;
  readonly network: ContainerNetwork;
  readonly ports: readonly PortMapping[];
  readonly extraHosts: readonly { readonly name: string; readonly ip: string }[];
  readonly volumes: readonly VolumeMount[];
  readonly tmpfs: readonly TmpfsMount[];
  readonly capabilities: readonly Capability[];
  readonly readonlyRoot: boolean;
  readonly shmSize?: number | undefined;
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly limits: CgroupLimits;
  readonly noNewPrivileges?: boolean | undefined;
  /** Whether the process has a terminal instead of three streams. */
  readonly terminal: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal: string;
  /** Seconds from the stop signal to SIGKILL. */
  readonly stopTimeout: number;
  /** Removed when its process has ended. */
  readonly autoRemove: boolean;
}

/** `<root>/containers/<id>/state.json`. */
export interface ContainerState {
  readonly status: 'created' | 'running' | 'exited';
  /** The first process, while it runs. */
  readonly process?: ProcessIdentity | undefined;
  /** The mbuild that watches it. */
  readonly supervisor?: ProcessIdentity | undefined;
  /** RFC 3339. */
  readonly started?: string | undefined;
  readonly finished?: string | undefined;
  /** 128 + signal when one ended it. */
  readonly exitCode?: number | undefined;
  /** Why the process could not be started. */
  readonly error?: string | undefined;
}

/** A container as it is now. */
export interface Container {
  readonly record: ContainerRecord;
  readonly state: ContainerState;
}

/**
 * The first process of a container that runs, to be signalled or entered.
 * @param remedy said of one that does not run.
 * @throws MbuildError CONTAINER_CONFLICT when it does not run, or where its pid means nothing here.
 */
export function firstProcess(
  { record, state }: Container,
  remedy = "list the running containers with 'mbuild ps'",
): ProcessIdentity {
  if (state.status !== 'running' || state.process === undefined)
    throw new MbuildError('CONTAINER_CONFLICT', `the container ${record.name} is not running`, {
      hint: remedy,
    });
  if (isOfHere(state.process)) return state.process;
  throw new MbuildError(
    'CONTAINER_CONFLICT',
    `the container ${record.name} runs in another PID namespace`,
    {
      hint: 'run this command where the container was started: on the host, or in the same outer container',
    },
  );
}

/** The twelve characters that are shown, and the default host name. */
export function shortContainerId(id: ContainerId): string {
  return id.slice(0, 12);
}
