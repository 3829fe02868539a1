import type { BuildEvent, VertexId } from './events';
import type { Renderer, Write } from './renderer';
import { RowLines } from './row-lines';

/** The orders with which a CI service is told where a section of the log begins and ends. */
export interface SectionForm {
  open(section: Section): string;
  close(section: Section): string;
}

/** One section of the log. */
export interface Section {
  /** In one line, disarmed. */
  readonly title: string;
  /** Letters, digits and `_`; no other section of the job has it. */
  readonly key: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** Nobody has to look into it: its step is done, and has not failed. */
  readonly isQuiet: boolean;
}

/** Where a renderer of sections writes: orders must stand at the start of their line, other lines may begin with the time. */
export interface SectionWriter {
  readonly orders: Write;
  readonly lines: Write;
}

/** From so many milliseconds on the step that runs longest is shown while it runs. */
const LIVE_AFTER = 5_000;

/** A row, and the numbers that it is shown by. */
interface Row {
  readonly lines: RowLines;
  number: number | undefined;
  /** Sections that it had: one that was interrupted goes on in another. */
  parts: number;
  isOpen: boolean;
}

/**
 * Progress in sections that CI services fold. Sections can't interleave, so a step's section is written whole when the step ends;
 * the step that runs longest is shown while it runs, and goes on in a further section after another one that ended meanwhile.
 * A row without lines has no section, but a line: `#5 [2/4] COPY . . CACHED`.
 */
export function sectionRenderer(writer: SectionWriter, form: SectionForm): Renderer {
  return new SectionRenderer(writer, form);
}

class SectionRenderer implements Renderer {
  readonly #rows = new Map<VertexId, Row>();
  #numbers = 0;
  #live: Row | undefined;
  #now = 0;
  /** Begins the keys of this build's sections; a job may run several builds. */
  #prefix: string | undefined;
  #isOver = false;

  constructor(
    readonly writer: SectionWriter,
    readonly form: SectionForm,
  ) {}

  readonly events = (event: BuildEvent): void => {
    if (this.#isOver || event.kind === 'warning') return;
    if ('time' in event) this.#now = Math.max(this.#now, event.time);
    if (event.kind === 'vertex') return this.#add(event);
    const row = this.#rows.get(event.id);
    if (row === undefined || row.lines.end !== undefined) return;
    row.lines.take(event);
    if (row.lines.end !== undefined) this.#end(row);
    else if (row === this.#live) this.#flush(row);
  };

  tick(now: number): void {
    this.#now = Math.max(this.#now, now);
    if (this.#isOver || this.#live !== undefined) return;
    const oldest = this.#running()[0];
    if (oldest === undefined || this.#now - (oldest.lines.started ?? this.#now) < LIVE_AFTER)
      return;
    this.#live = oldest;
    this.#open(oldest);
    this.#flush(oldest);
  }

  finish(now: number): void {
    if (this.#isOver) return;
    this.#now = Math.max(this.#now, now);
    for (const row of this.#running()) row.lines.endLines(this.#now);
    for (const row of this.#running()) if (row.lines.hasPending) this.#end(row);
    if (this.#live !== undefined) this.#close(this.#live);
    this.#isOver = true;
  }

  #add({ id, name }: Extract<BuildEvent, { kind: 'vertex' }>): void {
    if (this.#rows.has(id)) return;
    this.#rows.set(id, {
      lines: new RowLines(name),
      number: undefined,
      parts: 0,
      isOpen: false,
    });
  }

  /** Rows that run, the oldest first. */
  #running(): Row[] {
    return [...this.#rows.values()]
      .filter(({ lines }) => lines.started !== undefined && lines.end === undefined)
      .sort((a, b) => (a.lines.started ?? 0) - (b.lines.started ?? 0));
  }

  /** Writes what of a row was not shown, and how it ended. */
  #end(row: Row): void {
    const { lines } = row;
    if (this.#live === row) this.#live = undefined;
    else if (this.#live !== undefined) this.#close(this.#live);
    const wasShown = row.parts > 0;
    if (!lines.hasPending && !wasShown) {
      if (lines.end !== undefined) this.writer.lines(`${this.#titleOf(row)} ${lines.end}\n`);
      return;
    }
    // How a step failed stands below its section, where it is seen at once.
    const isInTitle = !wasShown && !lines.hasFailed;
    if (isInTitle) this.#open(row);
    this.#flush(row);
    this.#close(row);
    if (!isInTitle && lines.end !== undefined)
      this.writer.lines(`#${row.number ?? 0} ${lines.end}\n`);
  }

  #flush(row: Row): void {
    if (!row.lines.hasPending) return;
    if (!row.isOpen) this.#open(row);
    this.writer.lines(
      row.lines
        .drain()
        .map((line) => `${line}\n`)
        .join(''),
    );
  }

  #open(row: Row): void {
    const { end, hasFailed } = row.lines;
    const ending = end === undefined || hasFailed || row.parts > 0 ? '' : ` ${end}`;
    const title = `${this.#titleOf(row)}${row.parts > 0 ? ' (continued)' : ''}${ending}`;
    row.parts += 1;
    row.isOpen = true;
    this.writer.orders(this.form.open(this.#sectionOf(row, title)));
  }

  #close(row: Row): void {
    if (!row.isOpen) return;
    row.isOpen = false;
    this.writer.orders(this.form.close(this.#sectionOf(row, '')));
  }

  #titleOf(row: Row): string {
    row.number ??= this.#numbers += 1;
    return `#${row.number} ${row.lines.name}`;
  }

  #sectionOf({ lines, number, parts }: Row, title: string): Section {
    this.#prefix ??= `mbuild_${this.#now.toString(36)}`;
    return {
      title,
      key: `${this.#prefix}_${number ?? 0}_${parts}`,
      time: this.#now,
      isQuiet: lines.end !== undefined && !lines.hasFailed,
    };
  }
}
