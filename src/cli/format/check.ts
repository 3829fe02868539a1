import type { CheckResult } from '../../pipeline/check';
import type { Diagnostic } from '../../diagnostics/error';
import type { SourceFile, SourceRange } from '../../diagnostics/range';
import { jsonText, visible, visibleLines } from '../../diagnostics/visible';
import { findRule, RULES } from '../../lint/rules';
import { ruleUrl } from '../../lint/rule';

const RULER = '-'.repeat(20);

/** What `docker build --check` prints. Ends with a line feed. */
export function checkText({ file, warnings }: CheckResult): string {
  if (warnings.length === 0) return 'Check complete, no warnings found.\n';
  const count = warnings.length === 1 ? '1 warning has' : `${warnings.length} warnings have`;
  const blocks = warnings.map(
    ({ code, message, url, range }) =>
      `\nWARNING: ${code} - ${url ?? ''}\n${visibleLines(message)}\n${place(file, range)}`,
  );
  return `Check complete, ${count} been found!\n${blocks.join('')}`;
}

/**
 * The last lines of a build that was warned: ` 2 warnings found:` and one line each. Ends with a
 * line feed; empty without warnings.
 */
export function warningSummary(
  warnings: readonly Diagnostic[],
  clean?: (line: string) => string,
): string {
  if (warnings.length === 0) return '';
  const lines = warnings.map(
    ({ code, message, range }) =>
      ` - ${code}: ${visibleLines(message, clean)}${range === undefined ? '' : ` (line ${range.start.line})`}\n`,
  );
  return `\n ${warnings.length} warning${warnings.length === 1 ? '' : 's'} found:\n${lines.join('')}`;
}

/** The members of BuildKit's lint result, but for the build's own definition. */
export function checkJson({ file, warnings, error }: CheckResult): string {
  return toJson({
    warnings:
      warnings.length === 0
        ? null
        : warnings.map(({ code, message, url, range }) => ({
            ruleName: code,
            description: findRule(code)?.description,
            url,
            detail: message,
            location: location(range),
          })),
    sources: [
      {
        filename: file.name,
        language: 'Dockerfile',
        data: Buffer.from(file.text).toString('base64'),
      },
    ],
    ...(error === undefined
      ? {}
      : { buildError: { message: error.message, location: location(error.range) } }),
  });
}

/**
 * SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html), for code
 * scanning.
 */
export function checkSarif({ file, warnings, error }: CheckResult, version: string): string {
  const artifactLocation = { uri: uriOf(file.name) };
  const result = (
    ruleId: string,
    level: 'warning' | 'error',
    message: string,
    range: SourceRange | undefined,
  ): object => ({
    ruleId,
    level,
    message: { text: message },
    locations: [
      {
        physicalLocation: {
          artifactLocation,
          ...(range === undefined ? {} : { region: region(range) }),
        },
      },
    ],
  });
  return toJson({
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'mbuild',
            semanticVersion: version,
            rules: RULES.map(({ name, description }) => ({
              id: name,
              shortDescription: { text: description },
              helpUri: ruleUrl(name),
              defaultConfiguration: { level: 'warning' },
            })),
          },
        },
        // Columns are counted in UTF-16 code units here.
        columnKind: 'utf16CodeUnits',
        artifacts: [{ location: artifactLocation, sourceLanguage: 'dockerfile' }],
        results: [
          ...warnings.map(({ code, message, range }) => result(code, 'warning', message, range)),
          ...(error === undefined ? [] : [result(error.code, 'error', error.message, error.range)]),
        ],
      },
    ],
  });
}

/**
 * `{ ranges: [{ start: { line: 1 }, end: { line: 1 } }] }`: one range for each line, as BuildKit
 * has it.
 */
export function location(range: SourceRange | undefined): object {
  if (range === undefined) return {};
  const lines = Array.from(
    { length: range.end.line - range.start.line + 1 },
    (_, i) => range.start.line + i,
  );
  return { ranges: lines.map((line) => ({ start: { line }, end: { line } })) };
}

/** Indented by two, with a line feed at the end. */
export function toJson(value: object): string {
  return `${jsonText(value, 2)}\n`;
}

/** File and line, and the lines around with the meant ones marked. */
function place(file: SourceFile, range: SourceRange | undefined): string {
  if (range === undefined) return '';
  const lines = file.text.split('\n');
  const [from, to] = around(range, lines.length);
  const shown = lines.slice(from - 1, to).map((text, i) => {
    const line = from + i;
    const mark = line >= range.start.line && line <= range.end.line ? '>>>' : '   ';
    return `${String(line).padStart(4)} | ${mark} ${visible(text.replace(/\r$/, ''))}\n`;
  });
  return `${visible(file.name)}:${range.start.line}\n${RULER}\n${shown.join('')}${RULER}\n`;
}

/** The first and last line to show: for one line two on either side, for several one. */
function around({ start, end }: SourceRange, count: number): [from: number, to: number] {
  const margin = start.line === end.line ? 2 : 1;
  return [Math.max(1, start.line - margin), Math.min(count, end.line + margin)];
}

/** A line end belongs to the line: a region of SARIF ends before it. */
function region({ start, end }: SourceRange): object {
  return {
    startLine: start.line,
    startColumn: start.column,
    endLine: end.line,
    endColumn: Math.max(end.column, end.line === start.line ? start.column : 1),
  };
}

function uriOf(name: string): string {
  return name === '-' ? 'stdin' : name.split('/').map(encodeURIComponent).join('/');
}
