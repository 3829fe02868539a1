import type { DeviceRequest } from '../dockerfile/device';
import type { SourceFile, SourceRange } from '../diagnostics/range';
import type { ContainerConfig, Descriptor, ImageConfig } from '../oci/image';
import type { Platform } from '../oci/platform';
import type { Capability } from '../sandbox/capabilities';
import type { NetworkMode } from '../sandbox/sandbox';
import type { Stack } from '../snapshot/snapshotter';

/**
 * An image that a stage starts from or copies from: its config is known, its layers are fetched
 * when they are needed.
 */
export interface BaseImage {
  /** As written, for messages. */
  readonly name: string;
  readonly config: ImageConfig;
  readonly descriptor: Descriptor;
  /** The unpacked layers; a second call gives the same. */
  readonly stack: () => Promise<Stack>;
}

/** What a `--build-context` stands for. */
export type NamedContext =
  | { readonly kind: 'files' }
  | { readonly kind: 'image'; readonly image: BaseImage }
  /** A stage of the Dockerfile. */
  | { readonly kind: 'stage'; readonly name: string };

/** A tree that files are taken from. */
export type TreeSource =
  /** The build context, or with a name one of `--build-context`. */
  | { readonly kind: 'context'; readonly name?: string | undefined }
  | { readonly kind: 'stage'; readonly stage: StagePlan }
  | { readonly kind: 'image'; readonly image: BaseImage };

/** One source word of COPY or ADD, expanded. */
export type CopySource =
  /** A path or pattern in the tree. */
  | { readonly kind: 'path'; readonly path: string }
  /** The body of a heredoc, as a file of that name. */
  | { readonly kind: 'inline'; readonly name: string; readonly content: string }
  /** ADD of an http(s) address. */
  | { readonly kind: 'http'; readonly url: string }
  /** ADD of a git repository. */
  | { readonly kind: 'git'; readonly url: string };

/** `COPY` and `ADD`. */
export interface CopyOperation {
  readonly kind: 'copy';
  readonly instruction: 'COPY' | 'ADD';
  readonly from: TreeSource;
  readonly sources: readonly CopySource[];
  /** Absolute; ends with a slash when it was written so, or when it is a directory for certain. */
  readonly dest: string;
  /** `user[:group]`, looked up in the tree that is copied to. */
  readonly chown?: string | undefined;
  /** Octal or symbolic. */
  readonly chmod?: string | undefined;
  readonly link: boolean;
  readonly parents: boolean;
  readonly exclude: readonly string[];
  /**
   * Whether archives are unpacked: as written, else `undefined` (ADD unpacks local archives, COPY
   * none).
   */
  readonly unpack?: boolean | undefined;
  readonly checksum?: string | undefined;
  readonly keepGitDir: boolean;
}

/** Something that `RUN --mount` brings into a step. */
export type RunMount =
  | {
      readonly kind: 'bind';
      readonly target: string;
      readonly from: TreeSource;
      readonly source: string;
      readonly readonly: boolean;
    }
  | {
      readonly kind: 'cache';
      readonly target: string;
      readonly id: string;
      readonly sharing: 'shared' | 'private' | 'locked';
      /** What an empty cache starts with. */
      readonly from?: TreeSource | undefined;
      readonly source: string;
      readonly readonly: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly size?: number | undefined;
      readonly readonly: boolean;
    }
  | {
      readonly kind: 'secret';
      readonly id: string;
      readonly target?: string | undefined;
      readonly env?: string | undefined;
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | {
      readonly kind: 'ssh';
      readonly id: string;
      readonly target: string;
      readonly required: boolean;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  /** A script of a heredoc, where it has an interpreter line. */
  | { readonly kind: 'script'; readonly target: string; readonly content: string };

/**
 * What the command line says of every RUN, and what may change what comes out; absent is the
 * default.
 */
export interface RunSettings {
  /** What the step may do as root. */
  readonly capabilities?: readonly Capability[] | undefined;
  readonly noNewPrivileges?: boolean | undefined;
  readonly hostname?: string | undefined;
  readonly volumes?: readonly HostVolume[] | undefined;
}

/**
 * A path of the host that steps see, and write to unless it is read-only. What is in it is no part
 * of any key.
 */
export interface HostVolume {
  /** Absolute, on the host. */
  readonly source: string;
  /** Absolute, in the step's tree. */
  readonly target: string;
  readonly readonly: boolean;
}

/** `RUN`. */
export interface RunOperation extends RunSettings {
  readonly kind: 'run';
  readonly args: readonly string[];
  /** ENV and ARG in scope, `NAME=value`. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** As USER has it; empty is root. Looked up in the tree that the step runs on. */
  readonly user: string;
  readonly mounts: readonly RunMount[];
  readonly network: NetworkMode;
  readonly insecure: boolean;
  /** Devices of the host; absent when there are none. */
  readonly devices?: readonly DeviceRequest[] | undefined;
}

/** `WORKDIR`: a directory that must be there. */
export interface MkdirOperation {
  readonly kind: 'mkdir';
  readonly path: string;
  /** Owner of what is made. */
  readonly user: string;
}

/** What a step does to the tree. The solver knows these, not instructions. */
export type Operation = RunOperation | CopyOperation | MkdirOperation;

/** A node of the build graph: an operation on the tree that the step before it left. */
export interface Step {
  /** Unique in the graph, in order of the Dockerfile. */
  readonly id: number;
  /** As progress shows it: `[build 2/4] RUN make`. */
  readonly name: string;
  readonly stage: string;
  readonly file: SourceFile;
  readonly range: SourceRange;
  readonly operation: Operation;
}

/** One line of the image's history. Without a step it changed the config alone. */
export interface HistoryItem {
  readonly createdBy: string;
  readonly step?: Step | undefined;
}

/** What a stage begins with. */
export type StageBase =
  | { readonly kind: 'scratch' }
  | {
      readonly kind: 'image';
      readonly image: BaseImage;
      /** `[build 1/4] FROM …` */ readonly stepName: string;
      readonly range: SourceRange;
    }
  | { readonly kind: 'stage'; readonly stage: StagePlan };

/** A stage, planned: what is done to the tree, and the config that comes out. */
export interface StagePlan {
  /** Unique in the graph. */
  readonly index: number;
  /** The name behind AS, else `stage-N`. */
  readonly name: string;
  readonly platform: Platform;
  readonly base: StageBase;
  readonly steps: readonly Step[];
  readonly history: readonly HistoryItem[];
  readonly config: ContainerConfig;
  readonly author?: string | undefined;
  /** ENV and ARG at the end, `NAME=value`: what a stage built on this one begins with. */
  readonly scope: StageScope;
}

/** The variables of a stage. */
export interface StageScope {
  /** Everything that RUN sees and words expand with, in order of last assignment. */
  readonly env: readonly (readonly [name: string, value: string])[];
  /** ARGs declared so far, in order: history shows them in front of a RUN. */
  readonly args: readonly string[];
}

/** The part of a Dockerfile that its targets need. */
export interface Graph {
  /** Stages before those that use them; unreachable ones are not here. */
  readonly stages: readonly StagePlan[];
  /** What was asked for first. */
  readonly target: StagePlan;
  /** All that was asked for, in that order. */
  readonly targets: readonly StagePlan[];
}
