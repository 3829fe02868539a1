import { heredocOfSource } from '../../dockerfile/heredoc';
import type { Instruction, InstructionOf } from '../../dockerfile/instruction';
import { nearestVariable } from '../nearest';
import type { Rule } from '../rule';
import type { StageScope } from '../scope';

/** Flags whose values are expanded. */
const EXPANDED_FLAGS = ['chown', 'chmod', 'checksum'];

/** A variable that neither the file nor the base image sets is empty. */
export const undefinedVar: Rule = {
  name: 'UndefinedVar',
  description: 'Variables should be defined before their use',
  instruction: (instruction, scope, _subject, report) => {
    if (!scope.knowsBase) return;
    for (const name of missingIn(instruction, scope)) {
      const near = nearestVariable(name, scope.variables());
      report(
        instruction,
        `Usage of undefined variable '$${name}'${near === undefined ? '' : ` (did you mean $${near}?)`}`,
      );
    }
  },
};

/**
 * Variables of an instruction that are not set, in order. Each argument of an ARG sees those before
 * it.
 */
function missingIn(instruction: Instruction, scope: StageScope): string[] {
  if (instruction.keyword === 'ARG') {
    const { args } = instruction;
    return args.flatMap(({ value }, index) =>
      scope
        .undefinedIn(value ?? '')
        .filter((name) => !args.slice(0, index).some((before) => before.name === name)),
    );
  }
  return [
    ...wordsOf(instruction).flatMap((word) => scope.undefinedIn(word)),
    ...heredocsOf(instruction).flatMap((body) => scope.undefinedInHeredoc(body)),
  ];
}

/**
 * The words of an instruction in which BuildKit replaces variables and looks at what is missing.
 */
function wordsOf(instruction: Instruction): readonly string[] {
  switch (instruction.keyword) {
    case 'ENV':
    case 'LABEL':
      return instruction.pairs.flatMap(({ name, value }) => [name, value]);
    case 'COPY':
    case 'ADD':
      return [
        ...flagWords(instruction),
        ...instruction.paths.filter(
          (word) => heredocOfSource(word, instruction.heredocs) === undefined,
        ),
      ];
    case 'RUN':
      return instruction.flags.flatMap(({ name, value }) =>
        name === 'mount' ? mountValues(value ?? '') : [],
      );
    case 'VOLUME':
      return instruction.words;
    case 'WORKDIR':
    case 'USER':
    case 'STOPSIGNAL':
      return [instruction.value];
    default:
      return [];
  }
}

function flagWords({ flags }: InstructionOf<'COPY' | 'ADD'>): string[] {
  return flags.flatMap(({ name, value }) => (EXPANDED_FLAGS.includes(name) ? (value ?? []) : []));
}

function mountValues(text: string): string[] {
  return text.includes('$')
    ? text
        .split(',')
        .flatMap((field) => (field.includes('=') ? field.slice(field.indexOf('=') + 1) : []))
    : [];
}

function heredocsOf(instruction: Instruction): readonly string[] {
  if (instruction.keyword !== 'COPY' && instruction.keyword !== 'ADD') return [];
  return instruction.heredocs.flatMap(({ expand, content }) => (expand ? content : []));
}
