import type { Instruction } from '../dockerfile/instruction';
import { trim } from '../dockerfile/whitespace';

const DIRECTIVE = /^#\s*(?:syntax|escape|check)\s*=\s*\S/i;

/**
 * Finds the comment lines that stand directly above an instruction, without their `#` and trimmed.
 */
export function commentReader(
  linesOf: () => readonly string[],
): (instruction: Instruction) => readonly string[] {
  let top: number | undefined;
  return ({ range }) => {
    const lines = linesOf();
    top ??= directiveLines(lines);
    const comments: string[] = [];
    for (let index = range.start.line - 2; index >= top; index--) {
      const line = trim(lines[index] ?? '');
      if (!line.startsWith('#')) break;
      comments.push(trim(line.slice(1)));
    }
    return comments.reverse();
  };
}

/** Those that may describe what is below: a `check=` among them is for the checks. */
export function descriptionLines(comments: readonly string[]): readonly string[] {
  return comments.filter((comment) => !/^check\s*=/i.test(comment));
}

/** How many lines at the top are parser directives; a `#!` line may come before them. */
function directiveLines(lines: readonly string[]): number {
  let count = lines[0]?.startsWith('#!') === true ? 1 : 0;
  while (DIRECTIVE.test(trim(lines[count] ?? ''))) count++;
  return count;
}
