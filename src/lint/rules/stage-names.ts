import type { Rule } from '../rule';

const RESERVED = ['context', 'scratch'];

/** Of two stages with one name the upper one cannot be named any more. */
export const duplicateStageName: Rule = {
  name: 'DuplicateStageName',
  description: 'Stage names should be unique',
  file: ({ dockerfile }, report) => {
    const seen = new Set<string>();
    for (const { name, from } of dockerfile.stages) {
      if (name === undefined) continue;
      if (seen.has(name))
        report(from, `Duplicate stage name "${name}", stage names should be unique`);
      seen.add(name);
    }
  },
};

/** `FROM scratch` means the empty image, whatever a stage is called. */
export const reservedStageName: Rule = {
  name: 'ReservedStageName',
  description: 'Reserved words should not be used as stage names',
  file: ({ dockerfile }, report) => {
    for (const { name, from } of dockerfile.stages) {
      if (name !== undefined && RESERVED.includes(name))
        report(from, `Stage name should not use the same name as reserved stage "${name}"`);
    }
  },
};
