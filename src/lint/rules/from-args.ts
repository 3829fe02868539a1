import { expandWord } from '../../dockerfile/expand';
import { stringFlag } from '../../dockerfile/flags';
import type { InstructionOf } from '../../dockerfile/instruction';
import { parseReference } from '../../oci/reference';
import { nearestVariable } from '../nearest';
import type { Rule, Subject } from '../rule';

/** Without `--build-arg` the name of the base would be empty or no name. */
export const invalidDefaultArgInFrom: Rule = {
  name: 'InvalidDefaultArgInFrom',
  description: 'Default value for global ARG results in an empty or invalid base image name',
  file: (subject, report) => {
    for (const { from } of subject.dockerfile.stages) {
      if (!from.image.includes('$')) continue;
      const name = expandFrom(from.image, subject, (variable) =>
        subject.globals.defaultValue(variable),
      )?.value;
      if (name === undefined || isBaseName(name)) continue;
      report(
        from,
        `Default value for ARG ${from.image} results in empty or invalid base image name`,
      );
    }
  },
};

/** FROM sees the ARGs above the first FROM alone. */
export const undefinedArgInFrom: Rule = {
  name: 'UndefinedArgInFrom',
  description: 'FROM command must use declared ARGs',
  file: (subject, report) => {
    for (const { from } of subject.dockerfile.stages) {
      for (const name of undeclared(from, subject)) {
        const near = nearestVariable(name, subject.globals.names);
        report(
          from,
          `FROM argument '${name}' is not declared${near === undefined ? '' : ` (did you mean ${near}?)`}`,
        );
      }
    }
  },
};

function undeclared(from: InstructionOf<'FROM'>, subject: Subject): string[] {
  return [from.image, stringFlag(from.flags, 'platform') ?? ''].flatMap((word) => {
    if (!word.includes('$')) return [];
    const unmatched =
      expandFrom(word, subject, (name) => subject.globals.value(name))?.unmatched ?? [];
    return unmatched.filter((name) => !subject.globals.names.has(name));
  });
}

/** `undefined` for what cannot be expanded: an error of the build. */
function expandFrom(
  word: string,
  { dockerfile }: Subject,
  lookup: (name: string) => string | undefined,
): ReturnType<typeof expandWord> | undefined {
  try {
    return expandWord(word, lookup, dockerfile.directives.escape);
  } catch {
    return undefined;
  }
}

function isBaseName(name: string): boolean {
  return name === 'scratch' || parseReference(name.replace(/^docker-image:\/\//, '')) !== undefined;
}
