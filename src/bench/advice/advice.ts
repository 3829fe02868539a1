import type { SourceFile } from '../../diagnostics/range';

/** Something that would have made the history's builds shorter. Nothing is changed by it: whether it may be done, a person must judge. */
export interface Advice {
  readonly kind: AdviceKind;
  /** The instruction, with its line in the last commit; of `ignore` the file. */
  readonly instruction: string;
  readonly line: number;
  /** Behind which instruction it would go, where it moves. */
  readonly behind?: string | undefined;
  readonly behindLine?: number | undefined;
  /** Over all commits that it was tried on. */
  readonly secondsSaved: number;
  readonly bytesSaved: number;
  readonly commits: number;
  /** `replayed`: the history was replayed with it. `modelled`: what it saves of a step that runs is a rule of thumb. */
  readonly proof: 'replayed' | 'modelled';
  /** What to do, and why it does no harm. */
  readonly what: string;
  readonly because: string;
  /** All of it in one line. */
  readonly text: string;
}

export type AdviceKind =
  'split-copy' | 'prefetch' | 'move-copy' | 'move-arg' | 'move-label' | 'ignore' | 'cache-mount';

/** A change to the files that a build reads; each commit has files of its own, which it may not fit. */
export interface Edit {
  /** The Dockerfile with the change; `undefined` where the change does not fit. */
  readonly dockerfile?: ((file: SourceFile) => string | undefined) | undefined;
  /** The ignore file with the change. */
  readonly ignore?: ((text: string | undefined) => string) | undefined;
}

/** An advice before it is tried. */
export interface Candidate extends Pick<
  Advice,
  'kind' | 'instruction' | 'line' | 'behind' | 'behindLine'
> {
  readonly edit: Edit;
  /** What to do. */
  readonly what: string;
  /** Why it does no harm. */
  readonly because: string;
  /** What a step that still runs is spared. */
  readonly spared?: Spared | undefined;
}

/** A step that takes less for a change. */
export interface Spared {
  /** The instruction as it is, and as it is after the change. */
  readonly before: string;
  readonly after: string;
  /** Part of its seconds that it no more takes. */
  readonly part: number;
}
