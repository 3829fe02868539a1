import { disarmed, pictures } from '../diagnostics/visible';

// ECMA-48: CSI sequences; strings (OSC, DCS, SOS, PM, APC) up to their terminator; then any other
// escape.
const ESCAPES =
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|\x9b[0-?]*[ -/]*[@-~]/g;
const SPECIAL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

/**
 * One line of a program's output, safe to show: what a terminal would have made of it. Escape
 * sequences are gone, what a carriage return would have overwritten is gone too; the rest is as in
 * diagnostics/visible, but tabs stay.
 */
export function cleanLine(line: string): string {
  return disarmed(SPECIAL.test(line) ? printable(line) : line);
}

function printable(line: string): string {
  const plain = line.replace(ESCAPES, '').replace(/\r+$/, '');
  return plain
    .slice(plain.lastIndexOf('\r') + 1)
    .split('\t')
    .map(pictures)
    .join('\t');
}
