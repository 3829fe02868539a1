import path from 'node:path';
import type { Instruction, InstructionOf, Stage } from '../dockerfile/instruction';
import { stringFlag } from '../dockerfile/flags';

/** An instruction with what holds where it stands. */
export interface PlacedInstruction {
  readonly instruction: Instruction;
  /** The working directory; `undefined` where the base image decides it. */
  readonly cwd: string | undefined;
  /** USER was given, to another than root. */
  readonly isUser: boolean;
}

/** The instructions of a stage. */
export function placedInstructions(stage: Stage | undefined): PlacedInstruction[] {
  let cwd: string | undefined;
  let isUser = false;
  return (stage?.instructions ?? []).map((instruction) => {
    if (instruction.keyword === 'WORKDIR') cwd = directoryOf(cwd, instruction.value);
    if (instruction.keyword === 'USER') isUser = !/^(?:root|0)(?::|$)/.test(instruction.value);
    return { instruction, cwd, isUser };
  });
}

/** A path from a working directory; `undefined` where it is not known, or holds a variable. */
export function directoryOf(cwd: string | undefined, value: string): string | undefined {
  if (/\$/.test(value)) return undefined;
  if (value.startsWith('/')) return path.posix.normalize(value).replace(/(.)\/$/, '$1');
  return cwd === undefined ? undefined : path.posix.join(cwd, value).replace(/(.)\/$/, '$1');
}

/** A COPY or ADD of files of the context, without patterns and heredocs. */
export function contextCopy(instruction: Instruction): InstructionOf<'COPY' | 'ADD'> | undefined {
  if (instruction.keyword !== 'COPY' && instruction.keyword !== 'ADD') return undefined;
  const isPlain =
    stringFlag(instruction.flags, 'from') === undefined &&
    instruction.heredocs.length === 0 &&
    instruction.paths.every((word) => !/[$*?[\\]|:\/\//.test(word));
  return isPlain ? instruction : undefined;
}

/** The command of a RUN for a shell; `undefined` for others. */
export function shellLine(instruction: Instruction): string | undefined {
  return instruction.keyword === 'RUN' &&
    instruction.command.form === 'shell' &&
    instruction.heredocs.length === 0
    ? instruction.command.line
    : undefined;
}

/** Whether an instruction makes a step. */
export function isStep({ keyword }: Instruction): boolean {
  return keyword === 'RUN' || keyword === 'COPY' || keyword === 'ADD' || keyword === 'WORKDIR';
}
