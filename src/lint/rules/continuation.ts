import type { Instruction } from '../../dockerfile/instruction';
import type { Rule } from '../rule';

/** An empty line behind a backslash goes on with the instruction, which few who read it expect. */
export const noEmptyContinuation: Rule = {
  name: 'NoEmptyContinuation',
  description: 'Empty continuation lines will become errors in a future release',
  file: (subject, report) => {
    for (const instruction of subject.instructions) {
      const { start } = instruction.range;
      const end = lastJoinedLine(instruction);
      if (end === start.line) continue;
      const lines = subject.lines();
      // BuildKit names the line on which the instruction ends, not the empty one.
      if (lines.slice(start.line, end).some((line) => line.trim() === '')) {
        report(instruction, 'Empty continuation line', {
          start: { line: end, column: 1 },
          end: { line: end, column: (lines[end - 1] ?? '').length + 1 },
        });
      }
    }
  },
};

/**
 * The last line of the instruction itself: bodies of heredocs follow it, each with its closing
 * delimiter.
 */
function lastJoinedLine({ range, heredocs }: Instruction): number {
  return heredocs.reduce((line, { raw }) => line - raw.split('\n').length, range.end.line);
}
