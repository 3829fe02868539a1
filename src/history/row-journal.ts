import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatOwner } from '../content/owner';
import { ownIdentity } from '../linux/process';
import type { BuildEvent, ResourceUsage, VertexId } from '../progress/events';
import type { RowRecord } from './build-record';

/** A row of progress, and what of its output is not written yet. */
interface Row {
  readonly id: VertexId;
  readonly name: string;
  started?: number;
  ended?: number;
  state: RowRecord['state'];
  readonly notes: string[];
  usage?: ResourceUsage;
  log: Uint8Array[];
  logBytes: number;
  /** Of `log`, which is not written yet. */
  pending: number;
  /** It printed more than is kept. */
  isCut: boolean;
}

/** Bytes of a step's output that are kept, where nobody says otherwise. */
export const USUAL_LOG_LIMIT = 64 << 20;

/** Output is compressed and written in pieces of this size. */
const LOG_PIECE = 1 << 20;

/** Takes down the rows of progress of one build, and writes what their steps print. */
export class RowJournal {
  readonly #rows = new Map<VertexId, Row>();
  #writing: Promise<void> = Promise.resolve();

  /**
   * @param started milliseconds since the epoch.
   * @param logs the directory for output; it is made with the first piece.
   * @param limit bytes of each row's output that are kept; 0 for all.
   */
  constructor(
    private readonly started: number,
    private readonly logs: string,
    private readonly limit = USUAL_LOG_LIMIT,
  ) {}

  /** Takes down an event. */
  take(event: BuildEvent): void {
    if (event.kind === 'warning') return;
    if (event.kind === 'vertex') return this.#begin(event);
    const row = this.#rows.get(event.id);
    if (row !== undefined) this.#update(row, event);
  }

  /** The latest row of a name. */
  find(name: string): { readonly id: VertexId; readonly usage?: ResourceUsage } | undefined {
    return [...this.#rows.values()].findLast((row) => row.name === name);
  }

  /** Resolves when all output is on the disk. @throws what the disk has against it. */
  async flush(): Promise<void> {
    for (const row of this.#rows.values()) this.#flush(row);
    await this.#writing;
  }

  /** The rows as they are recorded. */
  records(): RowRecord[] {
    return [...this.#rows.values()].map((row) => this.#record(row));
  }

  #begin({ id, name }: Extract<BuildEvent, { kind: 'vertex' }>): void {
    this.#rows.set(id, {
      id,
      name,
      state: 'waiting',
      notes: [],
      log: [],
      logBytes: 0,
      pending: 0,
      isCut: false,
    });
  }

  #update(row: Row, event: Exclude<BuildEvent, { kind: 'warning' | 'vertex' }>): void {
    switch (event.kind) {
      case 'started':
        row.started ??= event.time;
        break;
      case 'note':
        row.notes.push(event.text);
        break;
      case 'usage':
        row.usage = event.usage;
        break;
      case 'log':
        this.#log(row, event.data);
        break;
      case 'done':
        row.ended = event.time;
        row.state = event.cached ? 'cached' : 'done';
        break;
      case 'failed':
        row.ended = event.time;
        row.state = event.canceled === true ? 'canceled' : 'failed';
        break;
      case 'status':
        break;
    }
  }

  #record(row: Row): RowRecord {
    const since = (time: number | undefined): number | undefined =>
      time === undefined ? undefined : time - this.started;
    return {
      id: row.id,
      name: row.name,
      start: since(row.started),
      end: since(row.ended),
      state: row.state,
      ...(row.notes.length === 0 ? {} : { notes: row.notes }),
      ...(row.logBytes === 0 ? {} : { logBytes: row.logBytes }),
    };
  }

  #log(row: Row, data: Uint8Array): void {
    if (row.isCut) return;
    const room = this.limit === 0 ? Infinity : this.limit - row.logBytes;
    if (data.length <= room) return this.#keep(row, data);
    row.isCut = true;
    const text = `the log ends here: --step-log-limit keeps only ${this.limit} bytes of a step's output`;
    row.notes.push(text);
    this.#keep(row, Buffer.concat([data.subarray(0, room), Buffer.from(`\n[${text}]\n`)]));
  }

  #keep(row: Row, data: Uint8Array): void {
    row.log.push(data);
    row.logBytes += data.length;
    row.pending += data.length;
    if (row.pending >= LOG_PIECE) this.#flush(row);
  }

  /** Appends what a row wrote as one more gzip member. */
  #flush(row: Row): void {
    if (row.pending === 0) return;
    const pieces = row.log;
    row.log = [];
    row.pending = 0;
    this.#writing = this.#writing.then(async () => {
      const { gzipSync } = await import('node:zlib');
      // The logs of a build that is killed are known by their owner.
      if (mkdirSync(this.logs, { recursive: true, mode: 0o700 }) !== undefined)
        writeFileSync(path.join(this.logs, 'owner'), formatOwner(ownIdentity()), { mode: 0o600 });
      appendFileSync(
        path.join(this.logs, `${row.id}.gz`),
        gzipSync(Buffer.concat(pieces), { level: 1 }),
        { mode: 0o600 },
      );
    });
  }
}
