import { heredocOfSource } from '../../dockerfile/heredoc';
import { toRaw } from '../../linux/paths';
import type { Rule } from '../rule';

/** COPY of a file that the context does not hold because the ignore file leaves it out. */
export const copyIgnoredFile: Rule = {
  name: 'CopyIgnoredFile',
  description: 'Attempting to Copy file that is excluded by .dockerignore',
  experimental: true,
  instruction: (instruction, scope, { options }, report) => {
    if (
      (instruction.keyword !== 'COPY' && instruction.keyword !== 'ADD') ||
      options.ignore === undefined
    )
      return;
    if (
      instruction.flags.some(
        ({ name, value }) => name === 'from' && value !== undefined && value !== '',
      )
    )
      return;
    const verb = instruction.keyword === 'COPY' ? 'Copy' : 'Add';
    for (const written of instruction.paths.slice(0, -1)) {
      if (heredocOfSource(written, instruction.heredocs) !== undefined) continue;
      const source = scope.expand(written) ?? '';
      if (
        source === '' ||
        (instruction.keyword === 'ADD' && /^(?:https?|git|ssh):\/\/|^git@/.test(source))
      )
        continue;
      if (options.ignore.match(toRaw(source), false).ignored)
        report(
          instruction,
          `Attempting to ${verb} file "${source}" that is excluded by .dockerignore`,
        );
    }
  },
};
