import type { Step } from '../graph/graph';

/**
 * An instruction as it stands in its file, in one line: variables as written, so that it is the
 * same whatever they are.
 */
export function instructionText({
  file,
  range,
  name,
}: Pick<Step, 'file' | 'range' | 'name'>): string {
  const lines = file.text.split('\n').slice(range.start.line - 1, range.end.line);
  const text = lines
    .map((line) => line.replace(/\\\s*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .join(' ')
    .replace(/\s+/g, ' ');
  // A trigger of the base image is not in the file.
  const shown = name.replace(/^\[.*?\] /, '');
  return keyword(text) === keyword(shown) ? text : shown;
}

function keyword(text: string): string {
  return (text.split(/\s/, 1)[0] ?? '').toUpperCase();
}
