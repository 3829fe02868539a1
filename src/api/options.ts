import type { BuildEvent } from '../progress/events';

/**
 * How a store is opened. What is absent is as on the command line, variables such as `MBUILD_ROOT`
 * included.
 */
export interface OpenOptions {
  /** Directory of the store; `/var/lib/mbuild` for root, `$XDG_DATA_HOME/mbuild` for others. */
  readonly root?: string | undefined;
  /** Read credentials only from this file. */
  readonly authFile?: string | undefined;
  /** Registries whose certificate is not checked: `host[:port]`. */
  readonly insecureRegistries?: readonly string[] | undefined;
  /** containers' policy.json; the user's or the machine's when absent. */
  readonly signaturePolicy?: string | undefined;
  /** Ask nothing of the network: what is not in the store is an error. */
  readonly offline?: boolean | undefined;
  /**
   * How RUN is isolated: `namespaces`, `user-namespace`, `single-id`, `oci`, `chroot`, `proot` or
   * `in-place`; the best that works.
   */
  readonly isolation?: string | undefined;
  /** The runtime of isolation `oci`: a name or a path. */
  readonly runtime?: string | undefined;
  /** How trees are kept: `overlay`, `fuse-overlayfs` or `copy`. */
  readonly snapshotter?: string | undefined;
  /** Directory that relative paths of all calls start from; the working directory at this time. */
  readonly cwd?: string | undefined;
  /** Environment of all calls; `process.env` at this time. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Takes the lines that the command line prints as `note: …`. */
  readonly onNote?: ((text: string) => void) | undefined;
}

/** What travels with a call. */
export interface Control {
  /** Stops the call, which rejects with an MbuildError of code `CANCELED` after it cleaned up. */
  readonly signal?: AbortSignal | undefined;
  /** Told what happens, in order. What it throws stops the call, which rejects with it. */
  readonly onEvent?: ((event: BuildEvent) => void) | undefined;
}

/** Fields of a flag that is written as `type=…,dest=…`. */
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * What a build is asked for. Each option is the flag of `mbuild build` with the same name, and has
 * its default.
 */
export interface BuildOptions {
  /**
   * A directory, the address of a repository or archive, or the bytes of a tar; the working
   * directory when absent.
   */
  readonly context?: string | Uint8Array | undefined;
  /** Path of the Dockerfile, or its text; `Dockerfile` in the context when absent. */
  readonly dockerfile?: string | { readonly text: string } | undefined;
  /** Names of the image. */
  readonly tags?: readonly string[] | undefined;
  /** The stages to build; the last one when absent. */
  readonly targets?: readonly string[] | undefined;
  /** `os/architecture[/variant]`, this machine's when absent. */
  readonly platforms?: readonly string[] | undefined;
  /** Values of ARG. `undefined` takes the variable of the environment. */
  readonly buildArgs?: Readonly<Record<string, string | undefined>> | undefined;
  /** Files of `KEY=VALUE` lines with values of ARG. */
  readonly buildArgFiles?: readonly string[] | undefined;
  /**
   * Further contexts by name: a directory, `docker-image://…`, `oci-layout://…`, an address,
   * `target:…`.
   */
  readonly buildContexts?: Readonly<Record<string, string>> | undefined;
  readonly ignoreFile?: string | undefined;
  /** Modes of the context's files: their own, or as git has them (0644, 0755). */
  readonly contextModes?: 'own' | 'git' | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Annotations of the manifest. */
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  /** Where the result goes; `{ type: 'oci', dest: 'app.tar' }`. Into the store when absent. */
  readonly outputs?: readonly (string | Fields)[] | undefined;
  /**
   * What is said of the image: `{ type: 'provenance', mode: 'max' }`, `{ type: 'sbom' }`. Nothing
   * when absent.
   */
  readonly attestations?: readonly (string | Fields)[] | undefined;
  /** Which sources may be used: a file with BuildKit's source policy. */
  readonly sourcePolicy?: string | undefined;
  /** Push the image under its names. */
  readonly push?: boolean | undefined;
  /** Ask the registries before the build whether it may push there. */
  readonly checkPush?: boolean | undefined;
  /** Also hand the image to docker or podman. */
  readonly load?: boolean | undefined;
  /** Media types of the image. */
  readonly format?: 'oci' | 'docker' | undefined;
  /** Caches elsewhere to read: a name, or `{ type: 'registry', ref: … }`. */
  readonly cacheFrom?: readonly (string | Fields)[] | undefined;
  /** Caches elsewhere to write: `{ type: 'registry', ref: …, mode: 'max' }`. */
  readonly cacheTo?: readonly (string | Fields)[] | undefined;
  /** Do not use the cache. */
  readonly noCache?: boolean | undefined;
  /** Stages that are not taken from the cache. */
  readonly noCacheFilter?: readonly string[] | undefined;
  /** Line of the Dockerfile from which on nothing is taken from the cache. */
  readonly noCacheFrom?: number | undefined;
  /** Cache mounts begin empty and are not kept. */
  readonly noCacheMounts?: boolean | undefined;
  /** Size beyond which results that no image needs are forgotten afterwards: `20gb`, or bytes. */
  readonly cacheLimit?: string | number | undefined;
  readonly cachePolicy?: 'value' | 'lru' | undefined;
  /** When the registry is asked for base images; what is missing when absent. */
  readonly pull?: 'always' | 'missing' | 'never' | undefined;
  /** Secrets: `{ id: 'npmrc', src: '/home/me/.npmrc' }`, `{ id: 'token', env: 'TOKEN' }`. */
  readonly secrets?: readonly (string | Fields)[] | undefined;
  /** SSH agents: `default`, `ID=SOCKET`, `ID=KEY[,KEY]` with private keys. */
  readonly ssh?: readonly string[] | undefined;
  /** `network.host`, `security.insecure`, `device`, `device=NAME`. */
  readonly allow?: readonly string[] | undefined;
  readonly cdiSpecDirs?: readonly string[] | undefined;
  /** Network for RUN. */
  readonly network?: 'default' | 'none' | 'host' | undefined;
  /** Lines of /etc/hosts: address by name. */
  readonly addHosts?: Readonly<Record<string, string>> | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly dnsOptions?: readonly string[] | undefined;
  readonly dnsSearch?: readonly string[] | undefined;
  readonly hostname?: string | undefined;
  /** Paths of this machine for each RUN: `PATH:TARGET[:ro]`. */
  readonly volumes?: readonly string[] | undefined;
  /** Limits of RUN. Sizes are bytes or a text with a unit: `2g`. */
  readonly memory?: string | number | undefined;
  readonly memorySwap?: string | number | undefined;
  readonly cpus?: number | undefined;
  readonly cpuShares?: number | undefined;
  readonly cpuQuota?: number | undefined;
  readonly cpuPeriod?: number | undefined;
  readonly cpusetCpus?: string | undefined;
  readonly cpusetMems?: string | undefined;
  readonly pidsLimit?: number | undefined;
  readonly shmSize?: string | number | undefined;
  /** `nofile=1024:2048` */
  readonly ulimits?: readonly string[] | undefined;
  readonly capAdd?: readonly string[] | undefined;
  readonly capDrop?: readonly string[] | undefined;
  readonly noNewPrivileges?: boolean | undefined;
  /** Cancel the whole build when it takes longer: milliseconds, or a text such as `30m`. */
  readonly timeout?: string | number | undefined;
  /** Kill a RUN that takes longer: milliseconds, or a text such as `10m`. */
  readonly stepTimeout?: string | number | undefined;
  /** How much of a step's output its log keeps on disk: bytes, or a text with a unit; 0 for all. */
  readonly stepLogLimit?: string | number | undefined;
  /** How often a RUN that fails is tried again. */
  readonly retryStep?: number | undefined;
  /** Size of the trees of failed steps that are kept for a day: `2gb`; `0` for none. */
  readonly keepFailed?: string | number | undefined;
  /** Run at most this many steps at once. */
  readonly jobs?: number | undefined;
  /** Timestamp of the image and its files: seconds since the epoch. */
  readonly sourceDateEpoch?: number | undefined;
  /** How often a transfer is tried again that fails for the moment. */
  readonly retry?: number | undefined;
  /** First pause before that: milliseconds, or a text. */
  readonly retryDelay?: string | number | undefined;
  /** Layers are pushed in pieces of this size, such as `4m`; as a whole when absent. */
  readonly pushChunkSize?: string | number | undefined;
  /** File for the page of HTML that `mbuild report` writes. */
  readonly report?: string | undefined;
  /** Flags of `mbuild build` as they are written there, for what has no option here. */
  readonly flags?: readonly string[] | undefined;
}

/** How an image is pulled or pushed. */
export interface TransferOptions {
  /** All tags of the repository. */
  readonly allTags?: boolean | undefined;
  readonly retry?: number | undefined;
  readonly retryDelay?: string | number | undefined;
}

/** How an image is pulled. */
export interface PullOptions extends TransferOptions {
  /** `os/architecture[/variant]`, this machine's when absent. */
  readonly platform?: string | undefined;
}

/** What `images` lists. */
export interface ImagesOptions {
  /**
   * As `mbuild images --filter`: `dangling=true`, `label=a=b`, `reference=app:*`, … Delete all of them
   * must hold.
   */
  readonly filters?: readonly string[] | undefined;
}

/** How images are written to an archive. */
export interface SaveOptions {
  /** The file. */
  readonly dest: string;
  /** `docker` when absent. */
  readonly format?: 'docker' | 'oci' | undefined;
}

/** What an archive holds for several platforms, and which of them is loaded. */
export interface LoadOptions {
  readonly platform?: string | undefined;
}

/** How a command is run in a new container, which is removed afterwards. */
export interface RunOptions {
  /** The command and its arguments; the image's when absent. */
  readonly command?: readonly string[] | undefined;
  readonly entrypoint?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  readonly workdir?: string | undefined;
  /** `PATH:TARGET[:ro]`, `NAME:TARGET` */
  readonly volumes?: readonly string[] | undefined;
  readonly tmpfs?: readonly string[] | undefined;
  readonly network?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly platform?: string | undefined;
  /** When the registry is asked for the image; what is missing when absent. */
  readonly pull?: 'always' | 'missing' | 'never' | undefined;
  /** What the command reads on its standard input; nothing when absent. */
  readonly input?: string | Uint8Array | undefined;
  /** Takes what the command writes, as it comes. Without it the result holds all of it. */
  readonly onOutput?: ((stream: 'stdout' | 'stderr', data: Uint8Array) => void) | undefined;
  /** Flags of `mbuild run` as they are written there, for what has no option here. */
  readonly flags?: readonly string[] | undefined;
}

/** What is removed. */
export interface PruneOptions {
  /** Also images with names that no container was made of, and all of the cache. */
  readonly all?: boolean | undefined;
  /** As `mbuild prune --filter`: `until=24h`, `label=a`. */
  readonly filters?: readonly string[] | undefined;
  /** Only tell what would go. */
  readonly dryRun?: boolean | undefined;
}
