/** What a figure rests on. */
export type Basis =
  /** A file of `--durations`. */
  | 'given'
  /** A build of this store. */
  | 'recorded'
  /** The model of costs/model.ts. */
  | 'modelled'
  /** `--assume-run`. */
  | 'assumed'
  /** The bytes of what is copied. */
  | 'computed';

/** What a step costs when it is not found in a cache. */
export interface StepCost {
  readonly seconds: number;
  readonly timed: Basis;
  /** Of the layer that it leaves. */
  readonly bytes: number;
  readonly sized: Basis;
}
