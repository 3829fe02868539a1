import type { MbuildError } from '../diagnostics/error';
import { isMbuildError } from '../diagnostics/error';
import type { RunOperation, Step } from '../graph/graph';
import type { VertexId } from '../progress/events';
import type { CgroupLimits } from '../sandbox/cgroups/cgroup-limits';
import type { ResolverOptions } from '../sandbox/resolver';
import type { ProcessSpec } from '../sandbox/sandbox';
import type { ActiveSnapshot, Stack } from '../snapshot/snapshotter';
import type { ResolvedUser } from '../snapshot/users';

/** The tree behind a mount, as long as the step has it. */
export interface MountedTree {
  /** Layers, bottom first. */
  readonly stack: Stack;
  /** What of it is mounted. */
  readonly subpath: string;
  /** A copy that was made for this step, which whoever wants to keep it commits; `stack` is empty then. */
  readonly copy?: ActiveSnapshot | undefined;
}

/** What a build says of all its RUNs, and what changes no key. */
export interface StepSettings {
  readonly limits: CgroupLimits;
  readonly ulimits: readonly {
    readonly name: string;
    readonly soft: number;
    readonly hard: number;
  }[];
  readonly shmSize?: number | undefined;
  readonly extraHosts: readonly { readonly name: string; readonly ip: string }[];
  readonly resolver: ResolverOptions;
}

/**
 * What a person made of a command that failed: it is done again on a fresh tree, or the tree is
 * taken as it is, for this build alone.
 */
export type Decided = 'retry' | 'take';

/**
 * A RUN whose command failed. Its process has ended; its tree, its mounts and its secrets are there
 * until the handler returns.
 */
export interface FailedRun {
  readonly step: Step;
  readonly vertex: VertexId;
  readonly settings: StepSettings;
  /** Values of secrets, which must not be written down. */
  readonly secrets: readonly Buffer[];
  readonly operation: RunOperation;
  /** What was run, on which tree, with secrets. */
  readonly spec: ProcessSpec;
  readonly user: ResolvedUser;
  readonly active: ActiveSnapshot;
  /** Trees that its mounts show, by the mount's place in the operation. */
  readonly trees: ReadonlyMap<number, MountedTree>;
  readonly error: MbuildError;
}

/**
 * Looks at a RUN that failed. It may take the tree over by committing it.
 * @returns what a person decided; `undefined` when the step has failed.
 */
export type FailedRunHandler = (failed: FailedRun) => Promise<Decided | undefined>;

/** Whether an error says that a command ended badly, or could not be executed. */
export function isCommandError(error: unknown): error is MbuildError {
  return (
    isMbuildError(error, 'EXEC_FAILED') ||
    isMbuildError(error, 'EXEC_NOT_FOUND') ||
    isMbuildError(error, 'STEP_TIMEOUT')
  );
}
