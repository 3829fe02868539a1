import type { BuildScope } from '../progress/events';

/** The root file system that a process is given. */
export type Rootfs =
  /** An overlay made inside the sandbox. Directories are absolute; lowers are ordered top first; `upper` takes the writes. */
  | { readonly kind: 'overlay'; readonly lowers: readonly string[]; readonly upper: string; readonly work: string; readonly options: readonly string[] }
  /** A plain directory that is written in place. */
  | { readonly kind: 'directory'; readonly path: string };

/** Something mounted into the sandbox besides the fixed set (/proc, /sys, /dev, resolv.conf, hosts). */
export type Mount =
  /** A file or directory of the host at an absolute path, already resolved and held to be safe by the caller. */
  | { readonly kind: 'bind'; readonly source: string; readonly target: string; readonly readonly: boolean }
  /** A tree that may be written but whose writes vanish: an overlay of its own over `lowers` (top first). */
  | { readonly kind: 'overlay'; readonly lowers: readonly string[]; readonly upper: string; readonly work: string; readonly target: string; readonly subpath: string; readonly readonly: boolean }
  | { readonly kind: 'tmpfs'; readonly target: string; /** Bytes. */ readonly size?: number | undefined; readonly mode?: number | undefined }
  /** A file with the given bytes on a tmpfs: secrets. */
  | { readonly kind: 'file'; readonly target: string; readonly content: Uint8Array; readonly mode: number; readonly uid: number; readonly gid: number };

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
  readonly network: NetworkMode;
  readonly hostname: string;
  /** Capability names without `CAP_`. */
  readonly capabilities: readonly string[];
  /** False only for `--security=insecure`. */
  readonly confined: boolean;
  /** Lines of /etc/hosts after the fixed ones. */
  readonly extraHosts: readonly { readonly name: string; readonly ip: string }[];
  /** The whole root is read-only but for `mounts`. */
  readonly readonlyRoot?: boolean | undefined;
  /** Bytes of /dev/shm. */
  readonly shmSize?: number | undefined;
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[] | undefined;
}

/** Where a process's standard streams go. `stdin` absent means an empty one. */
export interface ProcessIo {
  readonly stdin?: NodeJS.ReadableStream | undefined;
  readonly output: (stream: 'stdout' | 'stderr', data: Uint8Array) => void;
}

/** How a process ended: `code` as the shell would show it (128 + signal when one killed it). */
export interface ExitStatus {
  readonly code: number;
  readonly signal?: string | undefined;
}

/**
 * Runs one process on given mounts. When `run` settles, the process and all of its descendants are gone,
 * everything that was mounted is unmounted, and no mount point of the sandbox's own stays in the root.
 */
export interface Sandbox {
  /**
   * Resolves with how the command ended; a non-zero exit is not an error here.
   * @throws MbuildError EXEC_NOT_FOUND, SANDBOX_FAILED, SANDBOX_UNAVAILABLE, CANCELED (when `scope.signal` is aborted).
   */
  run(spec: ProcessSpec, io: ProcessIo, scope: BuildScope): Promise<ExitStatus>;
}
