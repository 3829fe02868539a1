import { cacheKey, type KeyInput } from '../cache/key';
import { planCopyStep } from './copy-step';
import { planMkdir } from './mkdir';
import type { PlannedOperation, PlannedStep, StepContext } from './planned';
import { planRunStep } from './run';

/**
 * Finds out what a step depends on: files are read and hashed here, and copied where the step must
 * run; nothing is run.
 */
export async function planStep(context: StepContext): Promise<PlannedStep> {
  const { step, parent } = context;
  const { inputs, manifests, digests = new Map(), done, execute } = await planOperation(context);
  const input: KeyInput = { kind: step.operation.kind, parent: parent.result, inputs };
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
