import { descriptionLines } from '../comments';
import type { Rule } from '../rule';

/**
 * The comment above a stage or an argument is its description in `--call outline`; it must then
 * begin with the name.
 */
export const invalidDefinitionDescription: Rule = {
  name: 'InvalidDefinitionDescription',
  description:
    'Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.',
  experimental: true,
  file: (subject, report) => {
    for (const instruction of subject.instructions) {
      if (instruction.keyword !== 'ARG' && instruction.keyword !== 'FROM') continue;
      const names =
        instruction.keyword === 'ARG'
          ? instruction.args.map(({ name }) => name)
          : [instruction.as?.toLowerCase() ?? ''];
      const comment = descriptionLines(subject.commentsOf(instruction)).at(-1) ?? '';
      const [first = ''] = comment.split(' ');
      if (names[0] === '' || comment === '' || names.includes(first)) continue;
      const shown = names.length === 1 ? (names[0] ?? '') : '<arg_key>';
      report(
        instruction,
        `Comment for ${instruction.keyword} should follow the format: \`# ${shown} <description>\``,
      );
    }
  },
};
