import type { CommandLine, InstructionOf } from '../../dockerfile/instruction';
import type { ContainerConfig } from '../../oci/image';
import { goQuoteList } from '../go-format';
import { withConfig, withHistory, type StageState } from '../state';

const DEFAULT_SHELL = ['/bin/sh', '-c'];

/** The words that execute a command: those of the exec form, or the shell with the line. */
export function commandWords(command: CommandLine, config: ContainerConfig): string[] {
  return command.form === 'exec' ? [...command.args] : [...shellOf(config), command.line];
}

/** What the shell form is given to. */
export function shellOf(config: ContainerConfig): readonly string[] {
  return config.Shell !== undefined && config.Shell.length > 0 ? config.Shell : DEFAULT_SHELL;
}

/** `CMD`. */
export function planCmd(
  instruction: InstructionOf<'CMD' | 'ENTRYPOINT'>,
  state: StageState,
): StageState {
  const words = commandWords(instruction.command, state.config);
  // ArgsEscaped means nothing on Linux; BuildKit sets it with every CMD, and configs are compared.
  return withHistory(
    { ...withConfig(state, { Cmd: words, ArgsEscaped: true }), hasCmd: true },
    `CMD ${goQuoteList(words)}`,
  );
}

/** `ENTRYPOINT`: an inherited CMD was meant for another program, and goes. */
export function planEntrypoint(
  instruction: InstructionOf<'CMD' | 'ENTRYPOINT'>,
  state: StageState,
): StageState {
  const words = commandWords(instruction.command, state.config);
  const next = withConfig(state, {
    Entrypoint: words,
    ...(state.hasCmd ? {} : { Cmd: undefined }),
  });
  return withHistory(next, `ENTRYPOINT ${goQuoteList(words)}`);
}

/** `SHELL`. */
export function planShell(instruction: InstructionOf<'SHELL'>, state: StageState): StageState {
  return withHistory(
    withConfig(state, { Shell: instruction.args }),
    `SHELL [${instruction.args.join(' ')}]`,
  );
}
