import path from 'node:path';
import type { IgnoreRules } from '../../context/ignore';
import { heredocOfSource } from '../../dockerfile/heredoc';
import { toRaw } from '../../linux/paths';
import type { Rule } from '../rule';

/** COPY of a file that the context does not hold because the ignore file leaves it out. */
export const copyIgnoredFile: Rule = {
  name: 'CopyIgnoredFile',
  description: 'Attempting to Copy file that is excluded by .dockerignore',
  instruction: (instruction, scope, { options: { ignore } }, report) => {
    if (instruction.keyword !== 'COPY' && instruction.keyword !== 'ADD') return;
    // What a `!` line brings back of a directory cannot be told from the text.
    if (ignore === undefined || ignore.isEmpty || ignore.hasExceptions) return;
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
      if (source === '' || (verb === 'Add' && isRemote(source))) continue;
      const clean = cleaned(source);
      if (isIgnored(clean, ignore))
        report(
          instruction,
          `Attempting to ${verb} file "${clean}" that is excluded by .dockerignore`,
        );
    }
  },
};

function isRemote(source: string): boolean {
  return /^(?:https?|git|ssh):\/\/|^git@/.test(source);
}

/** Go's filepath.Clean. */
function cleaned(source: string): string {
  return path.posix.normalize(source).replace(/(?<=.)\/$/, '');
}

/**
 * The root of the context is no file of it: it is left out where a pattern leaves out all that is
 * in it.
 */
function isIgnored(clean: string, ignore: IgnoreRules): boolean {
  if (clean === '.' || clean === '/')
    return ['*', '**', '**/*'].some((pattern) => ignore.patterns.includes(pattern));
  return ignore.match(toRaw(clean), false).ignored;
}
