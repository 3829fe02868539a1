import type { BuildEvent } from './events';
import { LineSplitter } from './lines';
import { cleanLine } from './sanitize';
import { humanSize, seconds } from './units';

/** Lines held back per row; a step that writes without end cannot fill the memory. */
const MAX_PENDING = 10_000;

/** A row of progress as lines of text, safe to show, and those of them that nobody was shown yet. */
export class RowLines {
  /** `[build 2/4] RUN make`, in one line. */
  readonly name: string;
  /** Milliseconds since the epoch. */
  started: number | undefined;
  /** How it ended: `CACHED`, `DONE 1.2s`, `CANCELED` or `ERROR: …`. */
  end: string | undefined;
  hasFailed = false;
  readonly #streams = { stdout: new LineSplitter(), stderr: new LineSplitter() };
  /** The last state shown of each part of a transfer. */
  readonly #parts = new Map<string, string>();
  #pending: string[] = [];
  #dropped = 0;

  constructor(name: string) {
    this.name = cleanLine(name.replace(/\n/g, ' '));
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Adds what the event says. After the end nothing is added. */
  take(event: Exclude<BuildEvent, { kind: 'warning' | 'vertex' }>): void {
    if (this.end !== undefined) return;
    switch (event.kind) {
      case 'started':
        this.started ??= event.time;
        break;
      case 'log':
        for (const line of this.#streams[event.stream].push(event.data))
          this.#log(line, event.time);
        break;
      case 'status':
        this.#status(event);
        break;
      case 'note':
        this.add(cleanLine(event.text));
        break;
      case 'done':
        this.endLines(event.time);
        this.end = event.cached
          ? 'CACHED'
          : `DONE ${seconds(event.time - (this.started ?? event.time))}`;
        break;
      case 'failed':
        this.endLines(event.time);
        this.hasFailed = event.canceled !== true;
        this.end = this.hasFailed
          ? `ERROR: ${cleanLine(event.error.replace(/\n/g, ' '))}`
          : 'CANCELED';
        break;
    }
  }

  /** Takes what was written without a line feed for lines. */
  endLines(now: number): void {
    for (const stream of [this.#streams.stdout, this.#streams.stderr])
      for (const line of stream.end()) this.#log(line, now);
  }

  add(line: string): void {
    this.#pending.push(line);
    if (this.#pending.length > MAX_PENDING) {
      this.#dropped += this.#pending.length - MAX_PENDING / 2;
      this.#pending = this.#pending.slice(-MAX_PENDING / 2);
    }
  }

  /** The lines that were not shown yet; they count as shown then. */
  drain(): string[] {
    const gap = this.#dropped === 0 ? [] : [`[${this.#dropped} lines not shown]`];
    const lines = [...gap, ...this.#pending];
    this.#pending = [];
    this.#dropped = 0;
    return lines;
  }

  #log(line: string, time: number): void {
    const offset = ((time - (this.started ?? time)) / 1000).toFixed(3);
    this.add(`${offset} ${cleanLine(line)}`.trimEnd());
  }

  /** A part of a transfer is told once per state, not at every byte. */
  #status(event: Extract<BuildEvent, { kind: 'status' }>): void {
    if (this.#parts.get(event.item) === event.state) return;
    this.#parts.set(event.item, event.state);
    if (event.state === 'waiting') return;
    const size = sizeOf(event);
    const ended = event.state === 'exists' ? 'already exists' : event.state;
    this.add([cleanLine(event.item), ...(size === '' ? [] : [size]), ended].join(' '));
  }
}

/** Bytes done and to do of a part of a transfer; empty where nothing is known of them. */
function sizeOf({ current, total }: Extract<BuildEvent, { kind: 'status' }>): string {
  if (total !== undefined) return `${humanSize(current)} / ${humanSize(total)}`;
  return current === 0 ? '' : humanSize(current);
}
