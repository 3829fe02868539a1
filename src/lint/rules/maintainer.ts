import type { Rule } from '../rule';

/** A label can be asked for; the author of an image hardly. */
export const maintainerDeprecated: Rule = {
  name: 'MaintainerDeprecated',
  description:
    'The MAINTAINER instruction is deprecated, use a label instead to define an image author',
  file: ({ instructions }, report) => {
    for (const instruction of instructions) {
      if (instruction.keyword === 'MAINTAINER')
        report(instruction, 'Maintainer instruction is deprecated in favor of using label');
    }
  },
};
