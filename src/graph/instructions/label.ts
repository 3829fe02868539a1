import type { InstructionOf } from '../../dockerfile/instruction';
import {
  expandIn,
  withConfig,
  withHistory,
  type StageScopeReader,
  type StageState,
} from '../state';

/** `LABEL`. */
export function planLabel(
  instruction: InstructionOf<'ENV' | 'LABEL'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const pairs = instruction.pairs.map(
    (pair) => [expandIn(pair.name, state, scope), expandIn(pair.value, state, scope)] as const,
  );
  const next = withConfig(state, {
    Labels: { ...state.config.Labels, ...Object.fromEntries(pairs) },
  });
  return withHistory(next, `LABEL ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`);
}
