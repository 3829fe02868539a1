/** What the reader of the text does with it besides showing it. */
export interface CleanOptions {
  /** The reader is GitHub's runner, which takes `::command::` and `##[command]` lines for orders. */
  readonly github?: boolean | undefined;
}

// ECMA-48: CSI sequences; strings (OSC, DCS, SOS, PM, APC) up to their terminator; then any other escape.
const ESCAPES =
  /\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|\x9b[0-?]*[ -/]*[@-~]/g;
const SPECIAL = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;

/**
 * One line of foreign output, safe to show: escape sequences are gone, what a carriage return would have
 * overwritten is gone too, other control characters show as their pictures (`␇`), bidirectional overrides as U+FFFD.
 * Tabs stay.
 */
export function cleanLine(line: string, options: CleanOptions = {}): string {
  const text = SPECIAL.test(line) ? printable(line) : line;
  return options.github === true ? disarm(text) : text;
}

function printable(line: string): string {
  const plain = line.replace(ESCAPES, '').replace(/\r+$/, '');
  return plain
    .slice(plain.lastIndexOf('\r') + 1)
    .replace(/[\x00-\x08\x0a-\x1f]/g, (character) =>
      String.fromCharCode(0x2400 + character.charCodeAt(0)),
    )
    .replace(/\x7f/g, '␡')
    .replace(/[\x80-\x9f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}

// GitHub Actions, "Workflow commands": `::name::` at the start of a line; the older `##[name]` anywhere in it.
function disarm(text: string): string {
  return text.replace(/^(\s*):(?=:)/, '$1: ').replace(/##(?=\[)/g, '# #');
}
