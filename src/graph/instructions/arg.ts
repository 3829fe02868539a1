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
 * `ARG` in a stage. The command line wins, then the default, then, for a name without one, the ARG
 * before the first FROM and the predefined platform arguments. An ARG behind an ENV of the same
 * name hides it until the next ENV. A default that is not needed is not expanded, and need not be
 * valid; names never are.
 */
export function planArg(
  instruction: InstructionOf<'ARG'>,
  state: StageState,
  scope: StageScopeReader,
): StageState {
  let next = state;
  const shown: string[] = [];
  for (const { name, value: written } of instruction.args) {
    const value =
      scope.buildArgs.get(name) ??
      (written === undefined
        ? (scope.globalArgs.get(name) ?? scope.platformArgs.get(name))
        : expandIn(written, next, scope));
    next = { ...next, args: next.args.with(name) };
    if (value !== undefined) {
      checkValue('ARG', name, value);
      next = withVariable(next, name, value);
    }
    shown.push(value === undefined ? name : `${name}=${value}`);
  }
  return withHistory(next, `ARG ${shown.join(' ')}`);
}
