import path from 'node:path';
import type { InstructionOf } from '../../dockerfile/instruction';
import { checkedPath } from './paths';
import {
  displayOf,
  expandIn,
  withConfig,
  withHistory,
  withStep,
  type StageScopeReader,
  type StageState,
} from '../state';

type WordInstruction = InstructionOf<'WORKDIR' | 'USER' | 'STOPSIGNAL' | 'MAINTAINER'>;

/**
 * `WORKDIR`: relative ones continue the one before, absolute ones stay as they are written, and an
 * empty one changes nothing. The directory is made if it is missing.
 */
export function planWorkdir(
  instruction: WordInstruction,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const value = expandIn(instruction.value, state, scope);
  const target = value.startsWith('/') ? value : absolute(value, state);
  const next = withConfig(state, { WorkingDir: target });
  if (target === '/') return withHistory(next, `WORKDIR ${target}`);
  const step = scope.makeStep(
    { kind: 'mkdir', path: absolute(target, state), user: state.config.User ?? '' },
    displayOf(instruction, state, scope),
    instruction.range,
  );
  return withStep(next, step, `WORKDIR ${target}`);
}

/**
 * A path of an instruction, taken from the working directory, cleaned.
 * @throws MbuildError DOCKERFILE_SEMANTIC.
 */
export function absolute(value: string, state: StageState): string {
  return checkedPath(path.posix.resolve('/', state.config.WorkingDir ?? '/', value));
}
