import type { BuildEvent, VertexId } from './events';
import { LineSplitter } from './lines';
import type { Renderer, Write } from './renderer';
import { cleanLine } from './sanitize';
import { humanSize, seconds } from './units';
import { displayWidth, ellipsis } from './width';

/** The terminal that is drawn on. */
export interface TtyOptions {
  /** Asked before every frame, so that a resized window is used at once. */
  readonly size: () => { readonly columns: number; readonly rows: number };
  readonly color: boolean;
  /** Lines of a running step's output that are shown. */
  readonly logLines: number;
}

/** Part of a transfer. */
interface Part {
  readonly state: string;
  readonly current: number;
  readonly total?: number | undefined;
}

/** A row of the display and what hangs below it. */
interface Row {
  readonly name: string;
  started: number | undefined;
  ended: number | undefined;
  outcome: 'done' | 'cached' | 'failed' | 'canceled' | undefined;
  readonly streams: Record<'stdout' | 'stderr', LineSplitter>;
  tail: string[];
  readonly parts: Map<string, Part>;
  readonly notes: string[];
}

/** A line on the screen: text, what stands at the right edge, and its colour. */
interface ScreenLine {
  readonly text: string;
  readonly right: string;
  readonly color?: number | undefined;
}

const BLUE = 34;
const RED = 31;
const YELLOW = 33;
/** Milliseconds between two frames. */
const FRAME = 80;
const BAR = 20;

/**
 * Progress that is redrawn in place: a line per step, the last lines of what runs, bars of what is
 * transferred. Frames are drawn by `tick`, never wider or higher than the terminal; the last frame
 * lists every step.
 */
export function ttyRenderer(write: Write, options: TtyOptions): Renderer {
  return new TtyRenderer(write, options);
}

class TtyRenderer implements Renderer {
  readonly #rows = new Map<VertexId, Row>();
  /** Widths of the lines that stand on the screen. */
  #drawn: number[] = [];
  #begin: number | undefined;
  #lastFrame = 0;
  #over = false;

  constructor(
    readonly write: Write,
    readonly options: TtyOptions,
  ) {}

  readonly events = (event: BuildEvent): void => {
    if (this.#over || event.kind === 'warning') return;
    if ('time' in event) this.#begin ??= event.time;
    if (event.kind === 'vertex')
      this.#rows.set(
        event.id,
        newRow(cleanLine(event.name.replace(/\n/g, ' ')).replace(/\t/g, ' ')),
      );
    const row = this.#rows.get(event.id);
    if (row !== undefined) take(row, event, this.options.logLines);
  };

  tick(now: number): void {
    if (this.#over || now - this.#lastFrame < FRAME || this.#rows.size === 0) return;
    this.#lastFrame = now;
    const { columns, rows } = this.options.size();
    this.#draw(fit(this.#lines(now, true), Math.max(3, rows - 1)), columns);
  }

  finish(now: number): void {
    if (this.#over) return;
    if (this.#rows.size > 0) this.#draw(this.#lines(now, false), this.options.size().columns);
    this.#over = true;
  }

  /** The head, then the steps in the order in which they began. */
  #lines(now: number, live: boolean): ScreenLine[] {
    const rows = [...this.#rows.values()]
      .filter((row) => row.started !== undefined || row.outcome !== undefined)
      .sort((a, b) => (a.started ?? a.ended ?? 0) - (b.started ?? b.ended ?? 0));
    const ended = [...this.#rows.values()].filter((row) => row.outcome !== undefined).length;
    const finished = !live && ended === this.#rows.size ? ' FINISHED' : '';
    const elapsed = seconds(now - (this.#begin ?? now));
    const head = {
      text: `[+] Building ${elapsed} (${ended}/${this.#rows.size})${finished}`,
      right: '',
      color: finished === '' ? undefined : BLUE,
    };
    return [head, ...rows.flatMap((row) => linesOf(row, now, live))];
  }

  /** Goes back to the top of the last frame and writes the new one over it, in one write. */
  #draw(lines: readonly ScreenLine[], columns: number): void {
    // A terminal that was made narrower has wrapped the lines of the last frame.
    const height = this.#drawn.reduce(
      (sum, width) => sum + Math.max(1, Math.ceil(width / columns)),
      0,
    );
    const up = height === 0 ? '' : `\x1b[${height}A\r`;
    const texts = lines.map((line) => layOut(line, columns));
    const body = texts.map((text, i) => `${this.#paint(text, lines[i]?.color)}\x1b[K\n`).join('');
    this.write(`${up}${body}\x1b[J`);
    this.#drawn = texts.map(displayWidth);
  }

  #paint(text: string, color: number | undefined): string {
    return this.options.color && color !== undefined ? `\x1b[${color}m${text}\x1b[39m` : text;
  }
}

function newRow(name: string): Row {
  return {
    name,
    started: undefined,
    ended: undefined,
    outcome: undefined,
    streams: { stdout: new LineSplitter(), stderr: new LineSplitter() },
    tail: [],
    parts: new Map(),
    notes: [],
  };
}

function take(row: Row, event: BuildEvent, logLines: number): void {
  switch (event.kind) {
    case 'started':
      row.started ??= event.time;
      break;
    case 'log':
      row.tail = [
        ...row.tail,
        ...row.streams[event.stream]
          .push(event.data)
          .map((line) => cleanLine(line).replace(/\t/g, '    ')),
      ].slice(-Math.max(1, logLines));
      break;
    case 'status':
      row.parts.set(event.item, event);
      break;
    case 'note':
      row.notes.push(cleanLine(event.text));
      break;
    case 'done':
      row.ended = event.time;
      row.outcome = event.cached ? 'cached' : 'done';
      break;
    case 'failed':
      row.ended = event.time;
      row.outcome = event.canceled === true ? 'canceled' : 'failed';
      break;
  }
}

/** A step's own line, its notes, the parts of its transfer and, while it runs, its last output. */
function linesOf(row: Row, now: number, live: boolean): ScreenLine[] {
  const marks = { done: '', cached: 'CACHED ', failed: 'ERROR ', canceled: 'CANCELED ' } as const;
  const colors = { done: undefined, cached: BLUE, failed: RED, canceled: YELLOW } as const;
  const time = seconds((row.ended ?? now) - (row.started ?? row.ended ?? now));
  const color = row.outcome === undefined ? undefined : colors[row.outcome];
  const running = live && row.outcome === undefined;
  return [
    {
      text: ` => ${row.outcome === undefined ? '' : marks[row.outcome]}${row.name}`,
      right: time,
      color,
    },
    ...row.notes.map((note) => ({ text: ` => => ${note}`, right: '', color })),
    ...[...row.parts]
      .filter(([, part]) => running || part.state !== 'waiting')
      .map(([item, part]) => partLine(item, part)),
    ...(running ? row.tail.map((line) => ({ text: ` => => # ${line}`, right: '' })) : []),
  ];
}

function partLine(item: string, { state, current, total }: Part): ScreenLine {
  const moving = state === 'downloading' || state === 'uploading' || state === 'extracting';
  const share = total === undefined || total === 0 ? 0 : Math.min(1, current / total);
  const filled = Math.round(share * BAR);
  const bar =
    moving && total !== undefined ? ` [${'='.repeat(filled)}${' '.repeat(BAR - filled)}]` : '';
  return { text: ` => => ${cleanLine(item)} ${state}${bar}`, right: sizeOf(current, total) };
}

function sizeOf(current: number, total: number | undefined): string {
  if (total !== undefined) return `${humanSize(current)} / ${humanSize(total)}`;
  return current === 0 ? '' : humanSize(current);
}

/** So many lines at most: the head stays, of the steps the latest. */
function fit(lines: readonly ScreenLine[], height: number): ScreenLine[] {
  return lines.length <= height
    ? [...lines]
    : [...lines.slice(0, 1), ...lines.slice(lines.length - height + 1)];
}

/**
 * Text at the left, cut where it must be, and `right` at the right edge; never a full row, for that
 * would wrap on some terminals.
 */
function layOut({ text, right }: ScreenLine, columns: number): string {
  const room = Math.max(1, columns - 1);
  const left = ellipsis(text, Math.max(1, room - (right === '' ? 0 : right.length + 1)));
  return right === ''
    ? left
    : `${left}${' '.repeat(Math.max(1, room - displayWidth(left) - right.length))}${right}`;
}
