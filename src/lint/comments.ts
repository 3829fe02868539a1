import type { Dockerfile, Instruction } from '../dockerfile/instruction';
import { trim } from '../dockerfile/whitespace';

const DIRECTIVE = /^#\s*(?:syntax|escape|check)\s*=\s*\S/i;

/** Finds the comment lines that stand directly above an instruction, without their `#` and trimmed. */
export function commentReader({ file, directives }: Dockerfile): (instruction: Instruction) => readonly string[] {
  const lines = file.text.replace(/^\ufeff/, '').split(/\r?\n/);
  const top = directives.check === undefined && directives.syntax === undefined && !DIRECTIVE.test(lines[0] ?? '') ? 0 : directiveLines(lines);
  return ({ range }) => {
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
  while (DIRECTIVE.test((lines[count] ?? '').trim())) count++;
  return count;
}
