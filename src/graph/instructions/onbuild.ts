import type { InstructionOf } from '../../dockerfile/instruction';
import { withConfig, type StageState } from '../state';

/** `ONBUILD`: kept as text for builds that start from this image; the history does not mention it. */
export function planOnBuild(instruction: InstructionOf<'ONBUILD'>, state: StageState): StageState {
  return withConfig(state, { OnBuild: [...(state.config.OnBuild ?? []), instruction.trigger] });
}
