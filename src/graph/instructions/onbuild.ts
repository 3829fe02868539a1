import type { InstructionOf } from '../../dockerfile/instruction';
import type { StageState } from '../state';

/**
 * `ONBUILD`: kept as text for builds that start from this image; the history does not mention it.
 */
export function planOnBuild({ trigger }: InstructionOf<'ONBUILD'>, state: StageState): StageState {
  return { ...state, triggers: state.triggers.with(trigger) };
}
