import type { BuildEvent, VertexId } from './events';
import { LineSplitter } from './lines';
import type { Renderer, Write } from './renderer';
import { cleanLine } from './sanitize';
import { humanSize, seconds } from './units';

/** A row of progress and what of it was not shown yet. */
interface Vertex {
  readonly id: VertexId;
  readonly name: string;
  number: number | undefined;
  started: number | undefined;
  /** Lines that wait until the vertex is shown. */
  pending: string[];
  dropped: number;
  readonly streams: Record<'stdout' | 'stderr', LineSplitter>;
  /** The last state shown of each part of a transfer. */
  readonly parts: Map<string, string>;
  finished: boolean;
}

/**
 * How long the shown vertex may be silent, and how long it may speak, while others have something
 * to say. Milliseconds.
 */
const SILENCE = 5_000;
const TURN = 10_000;
/** Lines held back per vertex; a step that writes without end cannot fill the memory. */
const MAX_PENDING = 10_000;

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
    const vertex = this.#vertexOf(event);
    if (vertex === undefined) return;
    this.#take(vertex, event);
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
      if (!vertex.finished) this.#flushStreams(vertex);
    }
    if (this.#current !== undefined) this.#speak(this.#current);
    for (const vertex of this.#waiting()) this.#show(vertex);
    this.#over = true;
  }

  #vertexOf(event: Exclude<BuildEvent, { kind: 'warning' }>): Vertex | undefined {
    if (event.kind !== 'vertex') return this.#vertices.get(event.id);
    if (this.#vertices.has(event.id)) return undefined;
    this.#vertices.set(event.id, {
      id: event.id,
      name: cleanLine(event.name.replace(/\n/g, ' ')),
      number: undefined,
      started: undefined,
      pending: [],
      dropped: 0,
      streams: { stdout: new LineSplitter(), stderr: new LineSplitter() },
      parts: new Map(),
      finished: false,
    });
    return undefined;
  }

  /** Puts what the event says into the vertex's pending lines. */
  #take(vertex: Vertex, event: BuildEvent): void {
    if (vertex.finished) return;
    switch (event.kind) {
      case 'started':
        vertex.started ??= event.time;
        break;
      case 'log':
        for (const line of vertex.streams[event.stream].push(event.data))
          this.#log(vertex, line, event.time);
        break;
      case 'status':
        this.#status(vertex, event);
        break;
      case 'note':
        this.#add(vertex, cleanLine(event.text));
        break;
      case 'done':
        this.#flushStreams(vertex);
        this.#add(
          vertex,
          event.cached ? 'CACHED' : `DONE ${seconds(event.time - (vertex.started ?? event.time))}`,
        );
        vertex.finished = true;
        break;
      case 'failed':
        this.#flushStreams(vertex);
        this.#add(
          vertex,
          event.canceled === true
            ? 'CANCELED'
            : `ERROR: ${cleanLine(event.error.replace(/\n/g, ' '))}`,
        );
        vertex.finished = true;
        break;
    }
  }

  #log(vertex: Vertex, line: string, time: number): void {
    const offset = ((time - (vertex.started ?? time)) / 1000).toFixed(3);
    this.#add(vertex, `${offset} ${cleanLine(line)}`.trimEnd());
  }

  #flushStreams(vertex: Vertex): void {
    for (const stream of [vertex.streams.stdout, vertex.streams.stderr]) {
      for (const line of stream.end()) this.#log(vertex, line, this.#now);
    }
  }

  /** A part of a transfer is told once per state, not at every byte. */
  #status(vertex: Vertex, event: Extract<BuildEvent, { kind: 'status' }>): void {
    if (vertex.parts.get(event.item) === event.state) return;
    vertex.parts.set(event.item, event.state);
    if (event.state === 'waiting') return;
    const size = sizeOf(event);
    const ended = event.state === 'exists' ? 'already exists' : event.state;
    this.#add(vertex, [cleanLine(event.item), ...(size === '' ? [] : [size]), ended].join(' '));
  }

  #add(vertex: Vertex, line: string): void {
    vertex.pending.push(line);
    if (vertex.pending.length > MAX_PENDING) {
      vertex.dropped += vertex.pending.length - MAX_PENDING / 2;
      vertex.pending = vertex.pending.slice(-MAX_PENDING / 2);
    }
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
    for (const vertex of waiting.filter((candidate) => candidate.finished)) this.#show(vertex);
    const next = waiting.find((candidate) => !candidate.finished);
    if (next !== undefined) this.#show(next);
  }

  /** Vertices with something to say, in the order they came into being. */
  #waiting(): Vertex[] {
    return [...this.#vertices.values()].filter(hasNews);
  }

  #show(vertex: Vertex): void {
    const left = this.#current;
    if (left !== undefined && left !== vertex && !left.finished)
      this.write(`#${left.number ?? 0} ...\n`);
    if (this.#written) this.write('\n');
    this.#written = true;
    vertex.number ??= this.#numbers += 1;
    this.write(`#${vertex.number} ${vertex.name}\n`);
    this.#current = vertex;
    this.#since = this.#spoke = this.#now;
    this.#flush(vertex);
    if (vertex.finished) this.#current = undefined;
  }

  #flush(vertex: Vertex): void {
    if (vertex.pending.length === 0) return;
    const prefix = `#${vertex.number ?? 0} `;
    const gap = vertex.dropped === 0 ? [] : [`[${vertex.dropped} lines not shown]`];
    this.write([...gap, ...vertex.pending].map((line) => `${prefix}${line}\n`).join(''));
    vertex.pending = [];
    vertex.dropped = 0;
    this.#spoke = this.#now;
  }
}

/** Bytes done and to do of a part of a transfer; empty where nothing is known of them. */
function sizeOf({ current, total }: Extract<BuildEvent, { kind: 'status' }>): string {
  if (total !== undefined) return `${humanSize(current)} / ${humanSize(total)}`;
  return current === 0 ? '' : humanSize(current);
}

/** A vertex that runs is named even before it says anything. */
function hasNews(vertex: Vertex): boolean {
  return vertex.pending.length > 0 || (vertex.started !== undefined && vertex.number === undefined);
}
