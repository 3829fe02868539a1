import { readHead } from './head';
import type { CommandLine, Flag, Instruction } from './instruction';
import { splitHealthcheck } from './read-instruction';
import { trim } from './whitespace';
import { splitBlanks } from './words';

/** One instruction in the output of `mbuild parse --format json`: a stable interface. */
export interface InstructionJson {
  /** The keyword in capitals. */
  readonly instruction: string;
  /** `--name` or `--name=value`, in order, quotes and backslashes taken off. */
  readonly flags: readonly string[];
  /**
   * The elements of a JSON form; the words of COPY, ADD, EXPOSE, VOLUME, FROM and ARG as written;
   * one string, continuations joined, for other commands and values; HEALTHCHECK: its type, then
   * the command. Empty where nothing stands, for ENV and LABEL (see `pairs`), and for ONBUILD (see
   * `child`).
   */
  readonly args: readonly string[];
  /** ENV and LABEL: name, value, and `=` or the empty string between them; quotes kept. */
  readonly pairs?: readonly (readonly [name: string, value: string, separator: string])[];
  /** ONBUILD: the trigger. It has the heredocs of the ONBUILD as well. */
  readonly child?: InstructionJson;
  readonly heredocs: readonly HeredocJson[];
  /** 1-based. */
  readonly line: number;
  /** The last line, the end of a heredoc included. */
  readonly endLine: number;
}

/** A heredoc; `content` is as written: the tabs that `chomp` takes off are still there. */
export interface HeredocJson {
  readonly name: string;
  readonly content: string;
  readonly expand: boolean;
  readonly chomp: boolean;
  readonly fd: number;
}

/** What `mbuild parse --format json` prints. */
export function toParseJson(instructions: readonly Instruction[]): InstructionJson[] {
  return instructions.map(toJson);
}

function toJson(instruction: Instruction): InstructionJson {
  return {
    instruction: instruction.keyword,
    flags: instruction.flags.map(flagText),
    args: argsOf(instruction),
    ...(instruction.keyword === 'ENV' || instruction.keyword === 'LABEL'
      ? {
          pairs: instruction.pairs.map(
            ({ name, value, separator }) => [name, value, separator] as const,
          ),
        }
      : {}),
    ...(instruction.keyword === 'ONBUILD' ? { child: toJson(instruction.child) } : {}),
    heredocs: instruction.heredocs.map(({ name, raw, expand, chomp, fd }) => ({
      name,
      content: raw,
      expand,
      chomp,
      fd,
    })),
    line: instruction.range.start.line,
    endLine: instruction.range.end.line,
  };
}

function argsOf(instruction: Instruction): readonly string[] {
  switch (instruction.keyword) {
    case 'FROM':
      return splitBlanks(textBehindHead(instruction));
    case 'RUN':
    case 'CMD':
    case 'ENTRYPOINT':
      return commandArgs(instruction.command);
    case 'HEALTHCHECK': {
      const { type } = splitHealthcheck(textBehindHead(instruction));
      return instruction.command === 'NONE' ? [type] : [type, ...commandArgs(instruction.command)];
    }
    case 'COPY':
    case 'ADD':
      return instruction.paths;
    case 'EXPOSE':
    case 'VOLUME':
      return instruction.words;
    case 'ARG':
      return instruction.args.map(({ name, value }) =>
        value === undefined ? name : `${name}=${value}`,
      );
    case 'SHELL':
      return instruction.args;
    case 'WORKDIR':
    case 'USER':
    case 'STOPSIGNAL':
    case 'MAINTAINER':
      return [instruction.value];
    case 'ENV':
    case 'LABEL':
    case 'ONBUILD':
      return [];
  }
}

function commandArgs(command: CommandLine): readonly string[] {
  if (command.form === 'exec') return command.args;
  return command.line === '' ? [] : [command.line];
}

/** The arguments as written, where the typed instruction keeps less than that. */
function textBehindHead({ original }: Instruction): string {
  return trim(original.slice(readHead(original, new Map()).end));
}

function flagText({ name, value }: Flag): string {
  return value === undefined ? `--${name}` : `--${name}=${value}`;
}
