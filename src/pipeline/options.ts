import type { AttestationOptions } from '../attest/options';
import type { CacheSource, CacheTarget } from '../cache/remote/place';
import type { ContextModes } from '../context/local';
import type { ContextSource, DockerfileSource } from '../context/open';
import type { Diagnostic } from '../diagnostics/error';
import type { Descriptor } from '../oci/image';
import type { Digest } from '../oci/digest';
import type { CacheSummary } from '../history/build-record';
import type { Platform } from '../oci/platform';
import type { Annotation } from '../oci/annotations';
import type { OutputSpec } from '../output/kinds/kinds';
import type { RunSettings } from '../graph/graph';
import type { CgroupLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ResolverOptions } from '../sandbox/resolver';
import type { FailedRunHandler } from '../solver/failed-run';
import type { ResourceUsage } from '../progress/events';

export type { OutputSpec };

/** Everything a build is asked to do. */
export interface BuildOptions extends RunSettings {
  readonly context: ContextSource;
  /** Named contexts: `--build-context name=value`. */
  readonly contexts?: Readonly<Record<string, string>> | undefined;
  /**
   * The Dockerfile: a path (relative ones are taken from the context's directory when they are
   * found there), or its text.
   */
  readonly dockerfile?: DockerfileSource | undefined;
  readonly ignoreFile?: string | undefined;
  /** Modes of the files of contexts: their own, or as git has them. */
  readonly contextModes?: ContextModes | undefined;
  /** Names of the image; with several targets as many, in the same order, or none. */
  readonly tags?: readonly string[] | undefined;
  readonly buildArgs?: Readonly<Record<string, string>> | undefined;
  /** `HTTP_PROXY` and the like, for every step; in no key and no history. */
  readonly proxies?: Readonly<Record<string, string>> | undefined;
  readonly target?: string | undefined;
  /**
   * Several targets: each is built, in one run, and what they share once. The first is `target`.
   */
  readonly targets?: readonly string[] | undefined;
  /**
   * Of several platforms each target is built for all; where images leave, an index has their name.
   */
  readonly platforms?: readonly Platform[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly annotations?: readonly Annotation[] | undefined;
  readonly noCache?: boolean | undefined;
  /** Line of the Dockerfile from which on nothing is taken from the cache. */
  readonly noCacheFrom?: number | undefined;
  /** Cache mounts begin empty and are not kept. */
  readonly noCacheMounts?: boolean | undefined;
  /** Stages that are not taken from the cache. */
  readonly noCacheFilter?: readonly string[] | undefined;
  /** Caches elsewhere that are asked for what the store lacks, in this order. */
  readonly cacheFrom?: readonly CacheSource[] | undefined;
  /** Where the build's steps are written to, for builds elsewhere. */
  readonly cacheTo?: readonly CacheTarget[] | undefined;
  readonly pull?: 'always' | 'missing' | 'never' | undefined;
  readonly network?: 'default' | 'host' | 'none' | undefined;
  readonly extraHosts?: readonly { readonly name: string; readonly ip: string }[] | undefined;
  /** How names are looked up, where it is not as on the host. */
  readonly resolver?: ResolverOptions | undefined;
  readonly ulimits?:
    readonly { readonly name: string; readonly soft: number; readonly hard: number }[] | undefined;
  readonly shmSize?: number | undefined;
  /** How much of the machine each RUN may use. What cannot be set here is warned of. */
  readonly limits?: CgroupLimits | undefined;
  /** Milliseconds after which a RUN is killed. */
  readonly stepTimeout?: number | undefined;
  /**
   * Bytes of each step's output that are kept in the build's log; 0 for all, 64 MiB when absent.
   */
  readonly stepLogLimit?: number | undefined;
  /** How often a RUN that fails is tried again; never when absent. */
  readonly stepRetries?: number | undefined;
  /** Bytes of trees of failed steps that are kept for a day; none when absent. */
  readonly keepFailed?: number | undefined;
  /** Asks a person what becomes of a RUN that failed. */
  readonly onFailedRun?: FailedRunHandler | undefined;
  readonly secrets?: readonly SecretSource[] | undefined;
  readonly ssh?: readonly SshSource[] | undefined;
  /**
   * `network.host`, `security.insecure`, `device` for all devices, `device=vendor/class[=name]`.
   */
  readonly allow?: readonly string[] | undefined;
  /** Folders of CDI specifications, instead of the usual ones. */
  readonly cdiSpecDirs?: readonly string[] | undefined;
  readonly outputs?: readonly OutputSpec[] | undefined;
  /** What is said of each image, where it goes with an index or as files; nothing by default. */
  readonly attestations?: AttestationOptions | undefined;
  /** BuildKit's source policy: which sources may be used, and what is used instead of some. */
  readonly sourcePolicyFile?: string | undefined;
  /** How many steps run at once, at most. */
  readonly jobs?: number | undefined;
  /** Seconds since the epoch. */
  readonly sourceDateEpoch?: number | undefined;
  readonly format?: 'oci' | 'docker' | undefined;
}

/** An SSH agent: the socket of one that runs, or private keys that one is started for. */
export interface SshSource {
  readonly id: string;
  readonly paths: readonly string[];
}

/** One `--secret`: its bytes come from a file or from a variable of the caller's environment. */
export interface SecretSource {
  readonly id: string;
  readonly path?: string | undefined;
  readonly env?: string | undefined;
}

/** How one step of the target came about. */
export interface StepResult {
  /** As in the progress output: `[build 2/4] RUN make`. */
  readonly name: string;
  readonly stage: string;
  /** Line in the Dockerfile. */
  readonly line: number;
  readonly cached: boolean;
  /** It was run, and left what an earlier step had left. */
  readonly kept?: boolean | undefined;
  /** How long it ran: now, or when the result in the cache was made. */
  readonly durationMs: number;
  readonly key: string;
  /** Why it was not taken from the cache, in words. */
  readonly missed?: readonly string[] | undefined;
  /** What a RUN took of the machine, if it ran now. */
  readonly usage?: ResourceUsage | undefined;
  /** The layer that it added, with the bytes of its files. */
  readonly layer?: { readonly diffId: string; readonly size: number } | undefined;
}

/** One image of a build. */
export interface BuiltImage {
  /** As it was asked for. */
  readonly target: string | undefined;
  /** `os/architecture[/variant]` */
  readonly platform: string;
  readonly imageId: Digest;
  readonly descriptor: Descriptor;
  readonly names: readonly string[];
  /** The predicate of its provenance, where that was asked for. */
  readonly provenance?: Readonly<Record<string, unknown>> | undefined;
}

/** What a build made. */
export interface BuildResult {
  /** Names the build's record: `mbuild explain`, `mbuild logs`. */
  readonly buildId: string;
  /** What the cache was good for. */
  readonly cache: CacheSummary;
  /**
   * The image id: digest of the config. Absent when only files were asked for
   * (`--output type=local` or `tar`).
   */
  readonly imageId: Digest | undefined;
  readonly descriptor: Descriptor;
  readonly names: readonly string[];
  /**
   * Each image that was made, by target and platform; `imageId`, `descriptor` and `names` tell of
   * the first, or of its index.
   */
  readonly images: readonly BuiltImage[];
  readonly steps: readonly StepResult[];
  readonly warnings: readonly Diagnostic[];
}
