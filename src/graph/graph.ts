import type { SourceFile, SourceRange } from '../diagnostics/range';
import type { ContainerConfig, Descriptor, ImageConfig } from '../oci/image';
import type { Platform } from '../oci/platform';
import type { Stack } from '../snapshot/snapshotter';
import type { Operation } from './operation';

/** An image that a stage starts from or copies from: its config is known, its layers are fetched when they are needed. */
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
  readonly env: ReadonlyMap<string, string>;
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
