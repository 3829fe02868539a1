import type { CommandLine, Dockerfile, Flag, Instruction } from '../../dockerfile/instruction';

/** One instruction in the stable form of `mbuild parse`; see {@link instructionsToJson}. */
export interface InstructionJson {
  readonly instruction: string;
  /** As written, in order, with their dashes. */
  readonly flags: readonly string[];
  /**
   * The elements of an exec form; the words of COPY, ADD, EXPOSE, VOLUME, FROM and ARG; one string, the rest of the line with
   * continuations joined, for a shell form, USER, WORKDIR, MAINTAINER and STOPSIGNAL; for HEALTHCHECK its type, then the command.
   */
  readonly args: readonly string[];
  /** ENV and LABEL: name, value with its quotes, and `=` or nothing. */
  readonly pairs?: readonly (readonly [string, string, string])[];
  /** What ONBUILD triggers. */
  readonly child?: InstructionJson;
  readonly heredocs: readonly { readonly name: string; readonly content: string; readonly expand: boolean; readonly chomp: boolean; readonly fd: number }[];
  /** From 1. */
  readonly line: number;
  readonly endLine: number;
}

/** All instructions of a Dockerfile in their order in the file. */
export function instructionsToJson({ globalArgs, stages }: Dockerfile): InstructionJson[] {
  return [...globalArgs, ...stages.flatMap(({ from, instructions }) => [from, ...instructions])].map(instructionToJson);
}

/** One instruction; editors' and linters' contract. */
export function instructionToJson(instruction: Instruction): InstructionJson {
  const { keyword, flags, heredocs, range } = instruction;
  return {
    instruction: keyword,
    flags: flags.map(flagText),
    args: argsOf(instruction),
    ...(keyword === 'ENV' || keyword === 'LABEL' ? { pairs: instruction.pairs.map(({ name, value, separator }) => [name, value, separator] as const) } : {}),
    ...(keyword === 'ONBUILD' ? { child: instructionToJson(instruction.child) } : {}),
    heredocs: heredocs.map(({ name, content, expand, chomp, fd }) => ({ name, content, expand, chomp, fd })),
    line: range.start.line,
    endLine: range.end.column <= 1 && range.end.line > range.start.line ? range.end.line - 1 : range.end.line,
  };
}

function flagText({ name, value }: Flag): string {
  return value === undefined ? `--${name}` : `--${name}=${value}`;
}

function argsOf(instruction: Instruction): readonly string[] {
  switch (instruction.keyword) {
    case 'FROM':
      return instruction.as === undefined ? [instruction.image] : [instruction.image, 'AS', instruction.as];
    case 'RUN':
    case 'CMD':
    case 'ENTRYPOINT':
      return commandArgs(instruction.command);
    case 'COPY':
    case 'ADD':
      return instruction.paths;
    case 'ARG':
      return instruction.args.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`));
    case 'EXPOSE':
    case 'VOLUME':
      return instruction.words;
    case 'WORKDIR':
    case 'USER':
    case 'STOPSIGNAL':
    case 'MAINTAINER':
      return [instruction.value];
    case 'SHELL':
      return instruction.args;
    case 'HEALTHCHECK': {
      if (instruction.command === 'NONE') return ['NONE'];
      return [instruction.command.form === 'exec' ? 'CMD' : 'CMD-SHELL', ...commandArgs(instruction.command)];
    }
    case 'ENV':
    case 'LABEL':
    case 'ONBUILD':
      return [];
  }
}

function commandArgs(command: CommandLine): readonly string[] {
  return command.form === 'exec' ? command.args : [command.line];
}
