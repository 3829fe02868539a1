import { cacheKey, type CacheKey, type KeyInput, type KeyValue } from '../cache/key';
import type { DescribedSelection, SelectionManifest } from '../cache/manifest';
import type { Step } from '../graph/graph';
import type { BuildScope, VertexId } from '../progress/events';
import type { ActiveSnapshot } from '../snapshot/snapshotter';
import type { DoneAhead } from './copy-into';
import { planCopyStep } from './copy-step';
import type { EarlierCopy } from './earlier-copy';
import { planMkdir } from './mkdir';
import { planRunStep } from './run';
import type { StepServices } from './solver';
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
  /** Writes into the snapshot what the operation leaves. @param earlier of a copy: what the one that it was edited from left. */
  readonly execute: (active: ActiveSnapshot, earlier?: EarlierCopy) => Promise<void>;
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
  /** True for a step that cannot be taken from a cache and is going to be executed: that may begin while it is planned. */
  readonly mustRun: boolean;
}

/** Finds out what a step depends on: files are read and hashed here, and copied where the step must run; nothing is run. */
export async function planStep(
  step: Step,
  parent: Tree,
  services: StepServices,
  scope: BuildScope,
  vertex: VertexId,
  mustRun = false,
): Promise<PlannedStep> {
  const context: StepContext = { step, parent, services, scope, vertex, mustRun };
  const { inputs, manifests, digests = new Map(), done, execute } = await planOperation(context);
  const { sourceDateEpoch } = services.options;
  const input: KeyInput = {
    kind: step.operation.kind,
    parent: parent.result,
    inputs: { ...inputs, ...(sourceDateEpoch === undefined ? {} : { sourceDateEpoch }) },
  };
  return { key: cacheKey(input), input, manifests: new Map(manifests), digests, done, execute };
}

function planOperation(context: StepContext): Promise<PlannedOperation> | PlannedOperation {
  const { operation } = context.step;
  switch (operation.kind) {
    case 'run':
      return planRunStep(operation, context);
    case 'copy':
      return planCopyStep(operation, context);
    case 'mkdir':
      return planMkdir(operation, context);
  }
}
