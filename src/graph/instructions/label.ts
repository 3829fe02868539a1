import type { InstructionOf } from '../../dockerfile/instruction';
import { checkTotal, checkValue } from '../limits';
import { expandIn, withHistory, type StageScopeReader, type StageState } from '../state';

/** `LABEL`. */
export function planLabel(
  instruction: InstructionOf<'ENV' | 'LABEL'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  const pairs = instruction.pairs.map(
    (pair) => [expandIn(pair.name, state, scope), expandIn(pair.value, state, scope)] as const,
  );
  let { labels } = state;
  for (const [name, value] of pairs) {
    checkValue('LABEL', name, value);
    labels = labels.with(name, value);
    checkTotal('labels', labels.bytes);
  }
  return withHistory(
    { ...state, labels },
    `LABEL ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`,
  );
}
