import type { CacheKey } from '../cache/key';
import type { Step } from '../graph/graph';
import type { Tree, TreeLayer } from './tree';

/** How a step came about. */
export interface StepOutcome {
  readonly step: Step;
  readonly key: CacheKey;
  /**
   * Digests of selections that its key is made of, by the names under which they are remembered.
   */
  readonly digests: ReadonlyMap<string, string>;
  readonly cached: boolean;
  /** It was run, and left what an earlier step had left. */
  readonly kept: boolean;
  /** It failed, and its tree was taken as a person left it. */
  readonly taken?: boolean | undefined;
  readonly durationMs: number;
  /** RFC 3339: when the layer was first made. */
  readonly created: Promise<string>;
  /** The layer that the step added; `undefined` when it changed nothing. */
  readonly layer: Promise<
    | { readonly diffId: TreeLayer['diffId']; readonly size: number; readonly contentSize: number }
    | undefined
  >;
}

/** What a graph came to. */
export interface Solution {
  /** By index of the stage. */
  readonly trees: ReadonlyMap<number, Tree>;
  /** By step id. */
  readonly outcomes: ReadonlyMap<number, StepOutcome>;
}
