import type { Capability } from './capabilities';
import type { RefusedLimit } from './cgroups/cgroup';
import type { CgroupLimits } from './cgroups/cgroup-limits';
import type { RawPath } from '../linux/paths';
import type { BuildScope, ResourceUsage } from '../progress/events';
import type { Supervision } from './seccomp/supervision';

/** The root file system that a process is given. */
export type Rootfs =
  | LayeredRootfs
  /** A plain directory that is written in place. */
  | { readonly kind: 'directory'; readonly path: string };

/** Layers under a directory that takes the writes, mounted inside the sandbox. */
export type LayeredRootfs = OverlayRootfs | FuseRootfs;

/**
 * An overlay that is mounted inside the sandbox. Directories are absolute; `lowers` are ordered top
 * first; `upper` takes the writes.
 */
export interface OverlayRootfs {
  readonly kind: 'overlay';
  readonly lowers: readonly string[];
  readonly upper: string;
  readonly work: string;
  readonly options: readonly string[];
}

/** The same by a process of the program fuse-overlayfs, which lives as long as the mount. */
export interface FuseRootfs {
  readonly kind: 'fuse';
  /** Absolute path of the program. */
  readonly program: string;
  readonly lowers: readonly string[];
  readonly upper: string;
  readonly work: string;
  /** The file for what the program says, which is about what went wrong. */
  readonly log: string;
}

/**
 * Something mounted into the sandbox besides the fixed set (/proc, /sys, /dev), in this order.
 * Targets are absolute paths inside the root without symlinks in them, which exist or are listed in
 * {@link ProcessSpec.mountPoints}.
 */
export type Mount =
  /**
   * A file or directory of the host; `subpath` is opened inside `source` and never leads out of it,
   * whatever links are there.
   */
  | {
      readonly kind: 'bind';
      readonly source: RawPath;
      readonly subpath: RawPath;
      readonly target: RawPath;
      readonly readonly: boolean;
    }
  /** A path of the host itself, by its absolute name; what is written there stays. */
  | {
      readonly kind: 'host';
      readonly source: RawPath;
      readonly target: RawPath;
      readonly readonly: boolean;
      /** Whether it is a device that may be opened. */ readonly device?: boolean | undefined;
    }
  /**
   * A tree that may be written but whose writes vanish: an overlay of its own over `lowers` (top
   * first).
   */
  | {
      readonly kind: 'overlay';
      readonly rootfs: LayeredRootfs;
      readonly subpath: RawPath;
      readonly target: RawPath;
      readonly readonly: boolean;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: RawPath;
      /** Bytes. */ readonly size?: number | undefined;
      readonly mode?: number | undefined;
      readonly readonly?: boolean | undefined;
    }
  /**
   * A file with the given bytes on a tmpfs, which is gone with the process: secrets, /etc/hosts,
   * /etc/resolv.conf.
   */
  | {
      readonly kind: 'file';
      readonly target: RawPath;
      readonly content: Uint8Array;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
      readonly readonly: boolean;
      readonly executable?: boolean | undefined;
      /**
       * Whether it matters that the process leaves other bytes there, which are lost: see
       * {@link ProcessIo.rewritten}.
       */
      readonly watched?: boolean | undefined;
    };

/**
 * A path that is made so that something can be mounted on it, and that is never part of the diff.
 */
export interface MountPoint {
  /** Absolute, inside the root, without symlinks. */
  readonly path: RawPath;
  readonly kind: 'directory' | 'file';
}

/** `host` shares the host's network, `none` has a loopback alone. */
export type NetworkMode = 'host' | 'none';

/** A process to run, fully decided: nothing in here is looked up in the image any more. */
export interface ProcessSpec {
  /** argv; `args[0]` is looked up in the PATH of `env` inside the root. */
  readonly args: readonly string[];
  /** `NAME=value`. */
  readonly env: readonly string[];
  /** Absolute, inside the root. */
  readonly cwd: string;
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };
  readonly rootfs: Rootfs;
  readonly mounts: readonly Mount[];
  /** Missing directories (parents first) and files that `mounts` need. */
  readonly mountPoints: readonly MountPoint[];
  /** `private` has a loopback alone until somebody connects it: see {@link ProcessIo.prepare}. */
  readonly network: NetworkMode | 'private';
  readonly hostname: string;
  /** What the process may do as root; an ordinary user has none. */
  readonly capabilities: readonly Capability[];
  /** False only for `--security=insecure`. */
  readonly confined: boolean;
  /** The whole root is read-only but for `mounts`. */
  readonly readonlyRoot?: boolean | undefined;
  /** Bytes of /dev/shm. */
  readonly shmSize?: number | undefined;
  readonly ulimits?:
    readonly { readonly name: string; readonly soft: number; readonly hard: number }[] | undefined;
  /**
   * Nothing that it executes gives it rights: neither setuid programs nor capabilities of files.
   */
  readonly noNewPrivileges?: boolean | undefined;
  /**
   * How much of the machine the process and its descendants may use, as far as that can be set
   * here: see {@link ProcessIo.refused}.
   */
  readonly limits?: CgroupLimits | undefined;
  /**
   * What the group with these limits is called, by which others find it; unique on this machine,
   * made up when absent.
   */
  readonly group?: string | undefined;
  /**
   * Most processes and threads at a time, roughly: a limit of the PID namespace, which costs
   * nothing and needs Linux 6.14. Where there is none of the two, nothing limits them.
   */
  readonly maxProcesses?: number | undefined;
  /** Milliseconds, after which all of it is killed. */
  readonly timeout?: number | undefined;
}

/** A process of a running container, whose namespaces another process enters. */
export interface EnterSpec extends Pick<
  ProcessSpec,
  'args' | 'env' | 'cwd' | 'user' | 'capabilities' | 'ulimits' | 'noNewPrivileges'
> {
  /** Its id on the host. */
  readonly pid: number;
}

/** Columns and rows. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** A sandbox whose mounts and namespaces are there, and whose command has not begun. */
export interface PreparedProcess {
  /**
   * On the host. It is the first process of its PID namespace, but for one that entered another's.
   */
  readonly pid: number;
  /** Tells the terminal its size; nothing happens where there is none. */
  resize(size: TerminalSize): void;
}

/** Where a process's standard streams go. `stdin` absent means an empty one. */
export interface ProcessIo {
  readonly stdin?: NodeJS.ReadableStream | undefined;
  /**
   * No more is read of a stream until what is returned resolves; when it rejects, the stream is
   * closed.
   */
  readonly output: (stream: 'stdout' | 'stderr', data: Uint8Array) => void | Promise<void>;
  /**
   * A terminal of the sandbox's own instead of three streams; all that is written to it comes as
   * `stdout`.
   */
  readonly terminal?: TerminalSize | undefined;
  /** The command begins when this has resolved, and never when it rejects. */
  readonly prepare?: ((process: PreparedProcess) => void | Promise<void>) | undefined;
  /** Told that the command was executed, where it had to wait for `prepare`. */
  readonly executed?: (() => void) | undefined;
  /** Told, at the end, of each watched file that the process left with other bytes, or deleted. */
  readonly rewritten?: ((target: RawPath) => void) | undefined;
  /** Told which limits cannot be set on this machine. */
  readonly refused?: ((limits: readonly RefusedLimit[]) => void) | undefined;
}

/** How a process ended: `code` as the shell would show it (128 + signal when one killed it). */
export interface ExitStatus {
  readonly code: number;
  readonly signal?: string | undefined;
  readonly usage?: ResourceUsage | undefined;
  /** True when a process of it was killed because the memory that `limits` give was used up. */
  readonly outOfMemory?: boolean | undefined;
  /**
   * Where there is one id: what was seen of processes that served other users, if that could be
   * supervised.
   */
  readonly supervision?: Supervision | undefined;
}

/**
 * Runs one process on given mounts. When `run` settles, the process and all of its descendants are
 * gone, everything that was mounted is unmounted, and no mount point of the sandbox's own stays in
 * the root.
 */
export interface Sandbox {
  /**
   * Resolves with how the command ended; a non-zero exit is not an error here.
   * @throws MbuildError EXEC_NOT_FOUND, EXEC_FAILED, STEP_TIMEOUT, SANDBOX_FAILED,
   * SANDBOX_UNAVAILABLE, CANCELED (when `scope.signal` is aborted).
   */
  run(spec: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus>;
}

/** A sandbox that other processes can enter while it runs. */
export interface ContainerSandbox extends Sandbox {
  /**
   * Runs one more process in the namespaces of a running one. When it settles, that process is
   * gone; what it started and left behind stays with the container.
   * @throws MbuildError as {@link Sandbox.run}.
   */
  enter(spec: EnterSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus>;
}
