import type { BuildEvent, VertexId } from './events';
import type { Renderer, Write } from './renderer';
import { RowLines } from './row-lines';

/** A row of progress and its number, once it was shown. */
interface Vertex {
  readonly lines: RowLines;
  number: number | undefined;
}

/**
 * How long the shown vertex may be silent, and how long it may speak, while others have something
 * to say. Milliseconds.
 */
const SILENCE = 5_000;
const TURN = 10_000;

/**
 * Progress as lines that only ever grow, in BuildKit's form (`#5 [build 2/4] RUN make`,
 * `#5 0.123 text`, `#5 DONE 1.2s`). One vertex speaks at a time; others wait until it ends, or has
 * been silent for five seconds, or has spoken for ten. A vertex that is left before its end is
 * closed with `#5 ...` and named again when it goes on.
 */
export function plainRenderer(write: Write): Renderer {
  return new PlainRenderer(write);
}

class PlainRenderer implements Renderer {
  readonly #vertices = new Map<VertexId, Vertex>();
  #numbers = 0;
  #current: Vertex | undefined;
  /** When the current vertex got the word, and when it last said something. */
  #since = 0;
  #spoke = 0;
  #now = 0;
  #written = false;
  #over = false;

  constructor(readonly write: Write) {}

  readonly events = (event: BuildEvent): void => {
    if (this.#over) return;
    if ('time' in event) this.#now = Math.max(this.#now, event.time);
    if (event.kind === 'warning') return;
    if (event.kind === 'vertex') return this.#add(event);
    const vertex = this.#vertices.get(event.id);
    if (vertex === undefined) return;
    const wasFinished = isFinished(vertex);
    vertex.lines.take(event);
    if (vertex.lines.end !== undefined && !wasFinished) vertex.lines.add(vertex.lines.end);
    this.#speak(vertex);
    if (event.kind === 'done' || event.kind === 'failed') this.#passOn(vertex);
    else this.tick(this.#now);
  };

  tick(now: number): void {
    this.#now = Math.max(this.#now, now);
    if (this.#over) return;
    if (
      this.#current !== undefined &&
      this.#now - this.#spoke < SILENCE &&
      this.#now - this.#since < TURN
    )
      return;
    const next = this.#waiting().find((vertex) => vertex !== this.#current);
    if (next !== undefined) this.#show(next);
  }

  finish(now: number): void {
    if (this.#over) return;
    this.#now = Math.max(this.#now, now);
    for (const vertex of this.#vertices.values()) {
      if (!isFinished(vertex)) vertex.lines.endLines(this.#now);
    }
    if (this.#current !== undefined) this.#speak(this.#current);
    for (const vertex of this.#waiting()) this.#show(vertex);
    this.#over = true;
  }

  #add({ id, name }: Extract<BuildEvent, { kind: 'vertex' }>): void {
    if (!this.#vertices.has(id))
      this.#vertices.set(id, { lines: new RowLines(name), number: undefined });
  }

  /** Shows the vertex if it has, or can have, the word. */
  #speak(vertex: Vertex): void {
    if (!hasNews(vertex)) return;
    if (this.#current === undefined) this.#show(vertex);
    else if (this.#current === vertex) this.#flush(vertex);
  }

  /** After the end of a vertex: what ended meanwhile is told, then one that runs goes on. */
  #passOn(ended: Vertex): void {
    if (this.#current !== ended) return;
    this.#current = undefined;
    const waiting = this.#waiting();
    for (const vertex of waiting.filter(isFinished)) this.#show(vertex);
    const next = waiting.find((candidate) => !isFinished(candidate));
    if (next !== undefined) this.#show(next);
  }

  /** Vertices with something to say, in the order they came into being. */
  #waiting(): Vertex[] {
    return [...this.#vertices.values()].filter(hasNews);
  }

  #show(vertex: Vertex): void {
    const left = this.#current;
    if (left !== undefined && left !== vertex && !isFinished(left))
      this.write(`#${left.number ?? 0} ...\n`);
    if (this.#written) this.write('\n');
    this.#written = true;
    vertex.number ??= this.#numbers += 1;
    this.write(`#${vertex.number} ${vertex.lines.name}\n`);
    this.#current = vertex;
    this.#since = this.#spoke = this.#now;
    this.#flush(vertex);
    if (isFinished(vertex)) this.#current = undefined;
  }

  #flush({ lines, number }: Vertex): void {
    if (!lines.hasPending) return;
    this.write(
      lines
        .drain()
        .map((line) => `#${number ?? 0} ${line}\n`)
        .join(''),
    );
    this.#spoke = this.#now;
  }
}

function isFinished({ lines }: Vertex): boolean {
  return lines.end !== undefined;
}

/** A vertex that runs is named even before it says anything. */
function hasNews({ lines, number }: Vertex): boolean {
  return lines.hasPending || (lines.started !== undefined && number === undefined);
}
