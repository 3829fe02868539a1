import type { Instruction } from '../../dockerfile/instruction';
import type { Rule } from '../rule';

const LAST_COUNTS = ['CMD', 'ENTRYPOINT', 'HEALTHCHECK'] as const;

/**
 * A shell between container and program keeps signals from it, unless SHELL was chosen on purpose.
 */
export const jsonArgsRecommended: Rule = {
  name: 'JSONArgsRecommended',
  description:
    'JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals',
  instruction: (instruction, scope, _subject, report) => {
    if (instruction.keyword !== 'CMD' && instruction.keyword !== 'ENTRYPOINT') return;
    if (instruction.command.form === 'exec' || scope.hasShell) return;
    report(
      instruction,
      `JSON arguments recommended for ${instruction.keyword} to prevent unintended behavior related to OS signals`,
    );
  },
};

/** Of several CMDs in a stage only the last does anything. */
export const multipleInstructionsDisallowed: Rule = {
  name: 'MultipleInstructionsDisallowed',
  description: 'Multiple instructions of the same type should not be used in the same stage',
  stage: (stage, _subject, report) => {
    const last = new Map<string, Instruction>();
    for (const instruction of stage.instructions) {
      if (!LAST_COUNTS.some((keyword) => keyword === instruction.keyword)) continue;
      const before = last.get(instruction.keyword);
      last.set(instruction.keyword, instruction);
      if (before !== undefined) {
        report(
          before,
          `Multiple ${before.keyword} instructions should not be used in the same stage because only the last one will be used`,
        );
      }
    }
  },
};
