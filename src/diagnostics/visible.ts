/**
 * Names, labels, messages and paths that others chose may hold line feeds, terminal escapes and
 * orders to the runner of a CI service. Everything that mbuild prints of them goes through
 * {@link visible} (text) or {@link jsonText} (JSON).
 */

/**
 * Bidirectional controls, and what other programs take for a line end: Unicode UAX #9, table 4;
 * U+2028 and U+2029.
 */
const UNSEEN = /[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
/** True for texts that are shown as they are: by far the most. */
const PLAIN = /^[\x20-\x7e]*$/;
const MAYBE_ORDER = /::|##|section_/;

/**
 * One line: tabs become four spaces, control characters (line feeds too) their pictures (U+2400 and
 * on), and what has no picture U+FFFD. What a CI service would take for an order is disarmed: see
 * {@link disarmed}. A second call changes nothing.
 */
export function visible(text: string): string {
  if (PLAIN.test(text)) return disarmed(text);
  return disarmed(pictures(text.replace(/\t/g, '    ')));
}

/** The same for a text whose line feeds are meant; `clean` may do more to each line. */
export function visibleLines(
  text: string,
  clean: (line: string) => string = (line) => line,
): string {
  return text
    .split('\n')
    .map((line) => clean(visible(line)))
    .join('\n');
}

/**
 * Data of arrays and plain objects, with every text in it as {@link visible} shows it: for reports
 * that are laid out as lines.
 */
export function visibleData<T>(data: T): T {
  return shownData(data) as T;
}

function shownData(data: unknown): unknown {
  if (typeof data === 'string') return visible(data);
  if (Array.isArray(data)) return data.map(shownData);
  if (typeof data !== 'object' || data === null || Object.getPrototypeOf(data) !== Object.prototype)
    return data;
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, shownData(value)]));
}

/** Control characters as pictures; tabs too. */
export function pictures(text: string): string {
  return text
    .replace(/[\x00-\x1f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)))
    .replace(/\x7f/g, '\u2421')
    .replace(UNSEEN, '\ufffd');
}

/**
 * A text of one or more lines in which no CI service finds an order, whichever runs us; a space
 * takes its meaning away.
 * - GitHub Actions: `::name::` at the start of a line, `##[name]` anywhere (actions/runner,
 *   src/Runner.Common/ActionCommand.cs);
 * - Azure Pipelines: `##vso[` and `##[` (microsoft/azure-pipelines-agent, docs "Logging commands");
 * - TeamCity: `##teamcity[` ("Service messages");
 * - GitLab: `section_start:TIME:NAME` and `section_end:` ("Custom collapsible sections").
 */
export function disarmed(text: string): string {
  if (!MAYBE_ORDER.test(text)) return text;
  return text
    .replace(/^([^\S\n]*):(?=:[^\n]*::)/gm, '$1: ')
    .replace(/##(?=[\w.-]*\[)/g, '# #')
    .replace(/section_(?=(?:start|end):)/g, 'section_ ');
}

/**
 * `JSON.stringify`, with escapes for everything that a terminal or a CI service would take for an
 * order. A reader gets the same values. Ends without a line feed.
 */
export function jsonText(value: unknown, indent?: number): string {
  return harmlessJson(JSON.stringify(value, undefined, indent) ?? 'null');
}

/** JSON as `JSON.stringify` makes it, made safe: see {@link jsonText}. */
export function harmlessJson(json: string): string {
  return json
    .replace(UNSEEN, escaped)
    .replace(/\x7f/g, escaped)
    .replace(/##(?=[\w.-]*\[)/g, '#\\u0023')
    .replace(/section_(?=(?:start|end):)/g, 'section\\u005f');
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
