import { asForeseen, isMbuildError, type Diagnostic, type MbuildError } from './error';
import type { SourceFile, SourceRange } from './range';
import { visible } from './visible';

/** How errors are shown. */
export interface RenderOptions {
  /** ANSI colours. */
  readonly color?: boolean | undefined;
  /**
   * Columns of the terminal; longer source lines are cut around the range. Unlimited when absent.
   */
  readonly width?: number | undefined;
  /**
   * Makes a line of a command's output safe to show, as progress shows it (default: control
   * characters as their pictures).
   */
  readonly clean?: ((line: string) => string) | undefined;
  /** Stack traces of unforeseen errors. */
  readonly debug?: boolean | undefined;
}

/**
 * One error or warning in JSON: the stable form that scripts read. Lines and columns count from 1.
 */
export interface ErrorJson {
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly message: string;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
  readonly endLine?: number | undefined;
  readonly endColumn?: number | undefined;
  readonly hint?: string | undefined;
  readonly url?: string | undefined;
  /** The exit code of the step that failed. */
  readonly exitCode?: number | undefined;
  /** The last lines of the command that failed. */
  readonly output?: string | undefined;
  readonly cause?: string | undefined;
  readonly others?: readonly ErrorJson[] | undefined;
}

/** Lines shown before and after the marked ones, and the most lines that are marked one by one. */
const CONTEXT_LINES = 1;
const MAX_MARKED = 12;

/**
 * What a user sees of an error: place and message, the lines of the file with the meant ones
 * marked, the command's last output, then code and hint. Further diagnostics of the same pass
 * follow, each after an empty line. Ends without a line feed.
 */
export function renderError(thrown: unknown, options: RenderOptions = {}): string {
  const error = asForeseen(thrown);
  if (!isMbuildError(error)) return renderUnforeseen(error, options);
  const block = renderBlock(
    { ...pick(error), severity: 'error', code: error.code },
    detailsOf(error, options),
    options,
  );
  return [block, ...error.others.map((other) => renderDiagnostic(other, options))].join('\n\n');
}

/** One diagnostic, in the same form as an error. Ends without a line feed. */
export function renderDiagnostic(diagnostic: Diagnostic, options: RenderOptions = {}): string {
  return renderBlock(
    diagnostic,
    diagnostic.url === undefined ? [] : [`see ${visible(diagnostic.url)}`],
    options,
  );
}

/** The error as JSON; `undefined` members are left out by `JSON.stringify`. */
export function errorToJson(thrown: unknown): ErrorJson {
  const error = asForeseen(thrown);
  if (!isMbuildError(error))
    return {
      severity: 'error',
      code: 'INTERNAL',
      message: messageOf(error),
      cause: causeOf(error),
    };
  return {
    ...diagnosticToJson({ ...pick(error), severity: 'error', code: error.code }),
    exitCode: error.exitCode,
    output: error.output,
    cause: causeOf(error),
    others: error.others.length === 0 ? undefined : error.others.map(diagnosticToJson),
  };
}

/** A diagnostic as JSON. */
export function diagnosticToJson({
  severity,
  code,
  message,
  file,
  range,
  hint,
  url,
}: Diagnostic): ErrorJson {
  return {
    severity,
    code,
    message,
    file: file?.name,
    line: range?.start.line,
    column: range?.start.column,
    endLine: range?.end.line,
    endColumn: range?.end.column,
    hint,
    url,
  };
}

/** Headline, excerpt, details, then `[CODE] hint: …`. */
function renderBlock(
  diagnostic: Diagnostic,
  details: readonly string[],
  options: RenderOptions,
): string {
  const paint = painter(options.color === true);
  const { file, range, severity, message, code, hint } = diagnostic;
  const place =
    file === undefined
      ? severity
      : `${file.name}${range === undefined ? '' : `:${range.start.line}`}`;
  const accent = severity === 'warning' ? paint.yellow : paint.red;
  return [
    `${paint.bold(accent(visible(place)))}${separatorOf(diagnostic)}${visible(message)}`,
    ...(file === undefined || range === undefined ? [] : excerpt(file, range, options)),
    ...details,
    `${paint.dim(`[${code}]`)}${hint === undefined ? '' : ` ${paint.cyan('hint:')} ${visible(hint)}`}`,
  ].join('\n');
}

/** Between the place and the message. */
function separatorOf({ file, severity }: Diagnostic): string {
  if (file === undefined) return ': ';
  return severity === 'warning' ? ' — warning: ' : ' — ';
}

/** The marked lines with one line around them: `> 7 │ RUN npm ci`. */
function excerpt(file: SourceFile, range: SourceRange, options: RenderOptions): string[] {
  const paint = painter(options.color === true);
  const lines = file.text.split(/\r\n|\n/);
  if (lines.at(-1) === '') lines.pop();
  const first = Math.max(1, range.start.line);
  const end = Math.max(
    first,
    range.end.column <= 1 && range.end.line > first ? range.end.line - 1 : range.end.line,
  );
  const from = Math.max(1, first - CONTEXT_LINES);
  const to = Math.min(lines.length, end + CONTEXT_LINES);
  const digits = String(to).length;
  const shown: string[] = [];
  for (let number = from; number <= to; number += 1) {
    const marked = number >= first && number <= end;
    if (marked && end - first >= MAX_MARKED && number >= first + MAX_MARKED - 2 && number < end) {
      if (number === first + MAX_MARKED - 2) shown.push(`  ${'⋮'.padStart(digits)} │`);
      continue;
    }
    const text = visible(lines[number - 1] ?? '');
    const room = options.width === undefined ? undefined : Math.max(20, options.width - digits - 5);
    const cut =
      room === undefined ? text : cutAround(text, number === first ? range.start.column : 1, room);
    const row = `${marked ? '>' : ' '} ${String(number).padStart(digits)} │ ${cut}`.trimEnd();
    shown.push(marked ? paint.bold(row) : row);
  }
  return shown;
}

/** A window of a long line that holds the given column (from 1); `…` stands for what was cut. */
function cutAround(text: string, column: number, room: number): string {
  const characters = [...text];
  if (characters.length <= room) return text;
  const start = Math.min(Math.max(0, column - 1 - Math.floor(room / 3)), characters.length - room);
  const head = start > 0 ? '…' : '';
  const tail = start + room < characters.length ? '…' : '';
  return head + characters.slice(start + head.length, start + room - tail.length).join('') + tail;
}

/** Output of the failed command, and the cause where the message does not name it already. */
function detailsOf(error: MbuildError, options: RenderOptions): string[] {
  const clean = options.clean ?? visible;
  const output =
    error.output === undefined ? [] : error.output.replace(/\n+$/, '').split('\n').map(clean);
  const cause = causeOf(error);
  return [
    ...(output.length === 1 && output[0] === '' ? [] : output),
    ...(cause === undefined || error.message.includes(cause) ? [] : [`because: ${clean(cause)}`]),
    ...(options.debug === true && error.stack !== undefined ? [error.stack] : []),
  ];
}

function renderUnforeseen(error: unknown, options: RenderOptions): string {
  const stack =
    options.debug === true && error instanceof Error && error.stack !== undefined
      ? [error.stack]
      : [];
  const hint =
    'this is a bug in mbuild: run it again with MBUILD_DEBUG=1 and report what it prints';
  return renderBlock(
    { severity: 'error', code: 'INTERNAL', message: messageOf(error), hint },
    stack,
    options,
  );
}

/** The messages of the chain of causes, outermost first. */
function causeOf(error: unknown): string | undefined {
  const messages: string[] = [];
  let cause = (error as { cause?: unknown } | undefined)?.cause;
  for (let depth = 0; cause !== undefined && cause !== null && depth < 5; depth += 1) {
    const message = messageOf(cause);
    if (!messages.some((known) => known.includes(message))) messages.push(message);
    cause = (cause as { cause?: unknown }).cause;
  }
  return messages.length === 0 ? undefined : messages.join(': ');
}

function messageOf(error: unknown): string {
  if (
    typeof error === 'object' &&
    error !== null &&
    typeof (error as { message?: unknown }).message === 'string'
  ) {
    return (error as Error).message || (error as Error).name;
  }
  return String(error);
}

function pick({
  message,
  file,
  range,
  hint,
}: MbuildError): Pick<Diagnostic, 'message' | 'file' | 'range' | 'hint'> {
  return { message, file, range, hint };
}

type Paint = (text: string) => string;

function painter(
  color: boolean,
): Readonly<Record<'bold' | 'dim' | 'red' | 'yellow' | 'cyan', Paint>> {
  const sgr =
    (on: number, off: number): Paint =>
    (text) =>
      color ? `\x1b[${on}m${text}\x1b[${off}m` : text;
  return {
    bold: sgr(1, 22),
    dim: sgr(2, 22),
    red: sgr(31, 39),
    yellow: sgr(33, 39),
    cyan: sgr(36, 39),
  };
}
