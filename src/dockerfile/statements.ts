import type { SourceFile, SourceRange } from '../diagnostics/range';
import { isSpace, trimStart } from './whitespace';

/**
 * One instruction of a file as text: its physical lines joined, comments and empty lines within
 * gone. Every character knows where it came from.
 */
export interface Statement {
  readonly text: string;
  /** 1-based. */
  readonly startLine: number;
  /** The last line that was joined (a heredoc's body is not part of the text). */
  readonly endLine: number;
  /** Empty lines between the joined ones: allowed, and warned about. */
  readonly emptyLines: readonly number[];
  /** Where the characters from `start` to `end` of the text stand. */
  rangeOf(start: number, end: number): SourceRange;
}

/** A stretch of a statement's text that came from one line. */
interface Segment {
  /** Offset in the statement's text. */
  readonly offset: number;
  /** Where it stands in the file, from 1. */
  readonly line: number;
  readonly column: number;
}

/**
 * Reads a file line by line, as BuildKit's parser does; a line ends at `\n`, and a `\r` before that
 * is no part of it.
 */
export class SourceReader {
  /** 1-based number of the next line. */
  line = 1;
  private position: number;

  constructor(private readonly file: SourceFile) {
    this.position = file.text.startsWith('\ufeff') ? 1 : 0;
  }

  get atEnd(): boolean {
    return this.position >= this.file.text.length;
  }

  /** Behind the last character of the line that was read last. */
  get lastLineEnd(): SourceRange['end'] {
    const { text } = this.file;
    const start = this.position < 2 ? 0 : text.lastIndexOf('\n', this.position - 2) + 1;
    return {
      line: this.line - 1,
      column: withoutLineEnd(text.slice(start, this.position)).length + 1,
    };
  }

  /** The next line with its line end; `undefined` at the end of the file. */
  readRaw(): string | undefined {
    const { text } = this.file;
    if (this.atEnd) return undefined;
    const newline = text.indexOf('\n', this.position);
    const end = newline === -1 ? text.length : newline + 1;
    const raw = text.slice(this.position, end);
    this.position = end;
    this.line++;
    return raw;
  }

  /** The next line without its line end, not consumed. */
  peek(): string | undefined {
    const { position, line } = this;
    const raw = this.readRaw();
    this.position = position;
    this.line = line;
    return raw === undefined ? undefined : withoutLineEnd(raw);
  }

  /** The next statement; `undefined` when only comments and empty lines are left. */
  readStatement(escape: string): Statement | undefined {
    for (let raw = this.readRaw(); raw !== undefined; raw = this.readRaw()) {
      const line = withoutLineEnd(raw);
      const first = trimStart(line);
      if (first !== '' && !first.startsWith('#'))
        return this.readContinued(first, line.length - first.length + this.bomWidth(), escape);
    }
    return undefined;
  }

  private readContinued(first: string, indent: number, escape: string): Statement {
    const startLine = this.line - 1;
    let joined = withoutContinuation(first, escape);
    if (joined === undefined)
      return new JoinedLines(
        first,
        [{ offset: 0, line: startLine, column: indent + 1 }],
        startLine,
        [],
      );
    const parts: string[] = [];
    const segments: Segment[] = [];
    const emptyLines: number[] = [];
    let length = 0;
    const add = (part: string, column: number): void => {
      segments.push({ offset: length, line: this.line - 1, column });
      parts.push(part);
      length += part.length;
    };
    add(joined, indent + 1);
    while (joined !== undefined) {
      const raw = this.readRaw();
      if (raw === undefined) break;
      const line = withoutLineEnd(raw);
      const content = trimStart(line);
      if (content === '') emptyLines.push(this.line - 1);
      if (content === '' || content.startsWith('#')) continue;
      joined = withoutContinuation(line, escape);
      add(joined ?? line, 1);
    }
    return new JoinedLines(parts.join(''), segments, this.line - 1, emptyLines);
  }

  /** The byte order mark takes a column of the first line. */
  private bomWidth(): number {
    return this.line === 2 && this.file.text.startsWith('\ufeff') ? 1 : 0;
  }
}

class JoinedLines implements Statement {
  constructor(
    readonly text: string,
    private readonly segments: readonly Segment[],
    readonly endLine: number,
    readonly emptyLines: readonly number[],
  ) {}

  get startLine(): number {
    return this.segments[0]?.line ?? this.endLine;
  }

  rangeOf(start: number, end: number): SourceRange {
    return {
      start: this.positionOf(start),
      end: end > start ? behind(this.positionOf(end - 1)) : this.positionOf(end),
    };
  }

  private positionOf(offset: number): SourceRange['start'] {
    let low = 0;
    let high = this.segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.segments[middle]?.offset ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    const segment = this.segments[low];
    return {
      line: segment?.line ?? this.startLine,
      column: (segment?.column ?? 1) + offset - (segment?.offset ?? 0),
    };
  }
}

function behind(position: SourceRange['start']): SourceRange['start'] {
  return { line: position.line, column: position.column + 1 };
}

/** `line` without the line end. */
export function withoutLineEnd(line: string): string {
  let end = line.length;
  while (end > 0 && (line[end - 1] === '\n' || line[end - 1] === '\r')) end--;
  return line.slice(0, end);
}

/**
 * `line` without the escape character that continues it on the next line (blanks may follow it);
 * `undefined` when the line ends here. Two escapes in a row continue nothing, and neither do three:
 * BuildKit looks at one character before.
 */
function withoutContinuation(line: string, escape: string): string | undefined {
  let end = line.length;
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t')) end--;
  if (line[end - 1] !== escape || line[end - 2] === escape) return undefined;
  return line.slice(0, end - 1);
}

/** The offset behind the white space that begins at `offset`. */
export function skipSpace(text: string, offset: number): number {
  let position = offset;
  while (position < text.length && isSpace(text.charAt(position))) position++;
  return position;
}
