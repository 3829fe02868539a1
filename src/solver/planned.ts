import type { CacheKey, KeyInput, KeyValue } from '../cache/key';
import type { DescribedSelection, SelectionManifest } from '../cache/manifest';
import type { Step } from '../graph/graph';
import type { TarSummary } from '../layer/layer';
import type { RawPath } from '../linux/paths';
import type { BuildScope, VertexId } from '../progress/events';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import type { Decided } from './failed-run';
import type { StepServices } from './services';
import type { Tree } from './tree';

/** What an operation depends on, and how it is done. */
export interface PlannedOperation {
  readonly inputs: Readonly<Record<string, KeyValue>>;
  /** What the digests of selections among them stand for. */
  readonly manifests?: readonly DescribedSelection[] | undefined;
  /** Those that were remembered, by name. */
  readonly digests?: ReadonlyMap<string, string> | undefined;
  /** A snapshot in which that is done already; it is there to be taken or discarded. */
  readonly done?: DoneAhead | undefined;
  /**
   * Writes into the snapshot what the operation leaves.
   * @returns nothing, but where a person decided what becomes of a command that failed.
   */
  readonly execute: (active: ActiveSnapshot, attempt: Attempt) => Promise<Decided | undefined>;
}

/** One of perhaps several times that a step is done. */
export interface Attempt {
  /** Of a copy: what the one that it was edited from left. */
  readonly earlier?: EarlierCopy | undefined;
  /** False where a command that fails is tried again by itself. */
  readonly isLast: boolean;
}

/** A step with its key. */
export interface PlannedStep {
  readonly key: CacheKey;
  readonly input: KeyInput;
  readonly manifests: ReadonlyMap<string, () => Promise<SelectionManifest>>;
  readonly digests: ReadonlyMap<string, string>;
  readonly done?: DoneAhead | undefined;
  readonly execute: PlannedOperation['execute'];
}

/** Everything that an operation is planned with. */
export interface StepContext {
  readonly step: Step;
  readonly parent: Tree;
  readonly services: StepServices;
  readonly scope: BuildScope;
  readonly vertex: VertexId;
  /**
   * True for a step that cannot be taken from a cache and is going to be executed: that may begin
   * while it is planned.
   */
  readonly mustRun: boolean;
}

/** What was done before it was known to be needed. */
export interface DoneAhead {
  readonly active: ActiveSnapshot;
  /** What its layer comes to, where that is being found out already. */
  readonly hashed?: Promise<TarSummary> | undefined;
}

/** What a copy left before its sources were edited: the files that were not are there already. */
export interface EarlierCopy {
  /** The directory of its layer. */
  readonly dir: RawPath;
  /**
   * Whether a file that the copy brings, by its path below the destination, is what it was then.
   */
  readonly isUnchanged: (path: RawPath) => boolean;
}
