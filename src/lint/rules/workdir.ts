import type { Rule } from '../rule';

/** A relative directory goes on from what the base image has chosen. */
export const workdirRelativePath: Rule = {
  name: 'WorkdirRelativePath',
  description:
    'Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes',
  instruction: (instruction, scope, _subject, report) => {
    if (instruction.keyword !== 'WORKDIR' || scope.hasWorkdir) return;
    const path = scope.expand(instruction.value);
    if (path !== undefined && !path.startsWith('/'))
      report(
        instruction,
        `Relative workdir "${path}" can have unexpected results if the base image changes`,
      );
  },
};
