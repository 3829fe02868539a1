import type { InstructionOf } from '../../dockerfile/instruction';
import { checkValue } from '../limits';
import {
  expandIn,
  withHistory,
  withVariable,
  type StageScopeReader,
  type StageState,
} from '../state';

/**
 * `ENV`: for later instructions and for containers. What one line sets, the same line does not see
 * yet.
 */
export function planEnv(
  instruction: InstructionOf<'ENV' | 'LABEL'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const pairs = instruction.pairs.map(
    (pair) => [expandIn(pair.name, state, scope), expandIn(pair.value, state, scope)] as const,
  );
  let next = state;
  for (const [name, value] of pairs) {
    checkValue('ENV', name, value);
    next = withVariable({ ...next, configEnv: next.configEnv.with(name, value) }, name, value);
  }
  return withHistory(next, `ENV ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`);
}
